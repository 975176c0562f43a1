"""Boards that show up as a drive and take UF2 files.

In: what the system has mounted. Out: folders whose INFO_UF2.TXT names the board; a file written
there. Refuses, with `DeviceError`, no such drive, several, and one that does not take the file.
"""

import contextlib
import os
import string
import sys
from pathlib import Path

from tesla_embed.errors import DeviceError
from tesla_host.flash.boards import FLASH_BOARDS, FlashBoard

INFO = "INFO_UF2.TXT"
_MOUNTS = Path("/proc/mounts")
_FILE_SYSTEMS = ("vfat", "msdos")
"""What such drives have. A look into others may wait for a server, or mount something."""
_INFO_BYTES = 4096


def find_drives(board: FlashBoard) -> list[Path]:
    """The mounted drives of boards like this one."""
    return [folder for folder in _mounted() if is_drive(folder, board)]


def uf2_drives() -> list[tuple[Path, str, list[str]]]:
    """All mounted drives that take UF2 files: the folder, its Board-ID, and our boards like it."""
    found = []
    for folder in _mounted():
        for board_id in _board_ids(folder)[:1]:
            names = [board.name for board in FLASH_BOARDS if _is_of(board_id, board)]
            found.append((folder, board_id, names))
    return found


def is_drive(folder: Path, board: FlashBoard) -> bool:
    """Whether `folder` is the drive of such a board."""
    return any(_is_of(board_id, board) for board_id in _board_ids(folder))


def _board_ids(folder: Path) -> list[str]:
    try:
        with (folder / INFO).open("rb") as stream:
            text = stream.read(_INFO_BYTES).decode(errors="replace")
    except OSError:
        return []
    lines = (line.partition(":") for line in text.splitlines())
    return [name.strip() for key, _, name in lines if key == "Board-ID"]


def _is_of(board_id: str, board: FlashBoard) -> bool:
    return board.uf2 is not None and board.uf2.board_id.lower() in board_id.lower()


def choose_drive(board: FlashBoard, wanted: Path | None) -> Path:
    """The drive asked for, or the only one there is."""
    if wanted is not None:
        if not is_drive(wanted, board):
            raise DeviceError(f"{wanted} is no drive of a {board.name}: its {INFO} says otherwise")
        return wanted
    found = find_drives(board)
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(map(str, found))
        raise DeviceError(f"there are {len(found)} drives of a {board.name}: {names}; give --drive")
    raise DeviceError(
        f"no drive of a {board.name} is mounted; hold its boot button while you plug it in, or "
        "give --drive"
    )


def copy_to_drive(image: bytes, drive: Path, name: str) -> None:
    """Write a UF2 file. The board restarts with its last block, and the drive is gone."""
    path = drive / name
    rest = memoryview(image)
    try:
        with path.open("wb", buffering=0) as file:
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
    except OSError as error:
        if not rest and not (drive / INFO).exists():
            return
        raise DeviceError(f"cannot write {path}: {error.strerror}; plug the board in again") from (
            error
        )


def _mounted() -> list[Path]:
    if sys.platform == "win32":
        return [Path(f"{letter}:/") for letter in string.ascii_uppercase]
    if _MOUNTS.exists():
        text = os.fsdecode(_MOUNTS.read_bytes())
        fields = [line.split(" ") for line in text.split("\n")]
        return [Path(_unescape(f[1])) for f in fields if len(f) > 2 and f[2] in _FILE_SYSTEMS]
    with contextlib.suppress(OSError):
        return sorted(Path("/Volumes").iterdir())
    return []


def _unescape(text: str) -> str:
    """Linux writes a space in the name of a folder as \\040."""
    for code in (0o40, 0o11, 0o12, 0o134):
        text = text.replace(f"\\{code:03o}", chr(code))
    return text
