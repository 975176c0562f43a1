"""How to flash a user's own board: the table `programmers` of its file.

In: the path of a board's file. Out: a `FlashBoard`. Refuses a file without the table, and what
`catalogue.user` refuses, with `ConfigError`.
"""

from pathlib import Path

from tesla_embed.errors import ConfigError
from tesla_host.catalogue.user import read_board
from tesla_host.flash.boards import FlashBoard, Uf2


def user_flash_board(path: Path) -> FlashBoard:
    """The row that `path` describes; a model is built for the very same file."""
    board = read_board(path)
    known = board.programmers
    if known is None:
        raise ConfigError(
            f"{path} does not say how to flash {board.name}; add a table [programmers] with what "
            "openocd, pyocd or jlink call it"
        )
    drive = known.uf2
    return FlashBoard(
        name=board.name,
        target=str(path),
        openocd=known.openocd,
        pyocd=known.pyocd,
        jlink=known.jlink,
        stlink=known.stlink,
        rom_uart=known.rom_uart,
        nordic=known.nordic,
        west=known.west,
        uf2=Uf2(family=drive.family, board_id=drive.board_id) if drive else None,
    )
