"""Programmers: one row of data per program that writes firmware into a board.

Out: `PROGRAMMERS`, in the order in which they are tried. A row holds what the program needs of a
board, the image that it reads, and its command line. Words in braces stand for values of
`commands.render`; a word that is nothing but a brace may stand for several arguments, or none.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from tesla_embed.errors import ConfigError
from tesla_host.flash.boards import FlashBoard


class Form(StrEnum):
    """The form of an image: the suffix of its file."""

    ELF = "elf"
    HEX = "hex"
    BIN = "bin"
    UF2 = "uf2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Programmer:
    """One program. `executables` are its names on PATH, the first one found is taken; none where it
    is part of this package.

    `version` are the arguments that make it tell its version and nothing else, if it has such;
    `probe` selects one of several debug probes by its serial number, or names a gdb server;
    `script` is the text of a file
    that the command line names; `advice` is what to look at when it fails; one that is not
    `automatic` is used only where it is asked for. A program that runs longer than `timeout_s`
    seconds is ended.
    """

    name: str
    executables: tuple[str, ...]
    install: str
    supports: Callable[[FlashBoard], bool]
    form: Form
    commands: tuple[tuple[str, ...], ...]
    version: tuple[str, ...] = ()
    probe: tuple[str, ...] = ()
    script: str = ""
    needs_port: bool = False
    needs_probe: bool = False
    automatic: bool = True
    advice: str = "is the board plugged in?"
    timeout_s: float = 180.0


UF2 = Programmer(
    name="uf2",
    executables=(),
    install="",
    supports=lambda board: board.uf2 is not None,
    form=Form.UF2,
    commands=(("cp", "{file}", "{drive}"),),  # shown, not run: see `drives`
)

PROGRAMMERS = (
    UF2,
    Programmer(
        name="openocd",
        executables=("openocd",),
        install="apt install openocd, or brew install openocd",
        version=("--version",),
        supports=lambda board: bool(board.openocd),
        form=Form.ELF,
        commands=(
            (
                *("{tool}", "{openocd}", "{probe}", "{extra}"),
                *("-c", "program {{{file}}} verify reset exit"),
            ),
        ),
        probe=("-c", "adapter serial {serial}"),
    ),
    Programmer(
        name="pyocd",
        executables=("pyocd",),
        install="pip install pyocd",
        version=("--version",),
        supports=lambda board: bool(board.pyocd),
        form=Form.ELF,
        commands=(
            (
                *("{tool}", "load", "--no-wait", "--target", "{pyocd}", "{probe}", "{extra}"),
                *("--format", "elf", "{file}"),
            ),
        ),
        probe=("--uid", "{serial}"),
        advice="is the board plugged in? A chip that pyOCD does not know: pyocd pack install CHIP",
    ),
    Programmer(
        name="jlink",
        executables=("JLinkExe", "JLink"),
        install="get the J-Link software from https://www.segger.com/downloads/jlink",
        supports=lambda board: bool(board.jlink),
        form=Form.HEX,
        commands=(
            (
                *("{tool}", "-NoGui", "1", "-ExitOnError", "1", "-AutoConnect", "1"),
                *("-Device", "{jlink}", "-If", "SWD", "-Speed", "4000"),
                *("{probe}", "{extra}", "-CommandFile", "{script}"),
            ),
        ),
        probe=("-USB", "{serial}"),
        script='r\nloadfile "{file}"\nr\ng\nexit\n',
    ),
    Programmer(
        name="stm32cube",
        executables=("STM32_Programmer_CLI",),
        install="get STM32CubeProgrammer from https://www.st.com/stm32cubeprog and put its bin/ on "
        "PATH",
        version=("--version",),
        supports=lambda board: board.stlink,
        form=Form.HEX,
        commands=(
            ("{tool}", "-c", "port=SWD", "{probe}", "{extra}", "-w", "{file}", "-v", "-rst"),
        ),
        probe=("sn={serial}",),
    ),
    Programmer(
        name="nrfutil",
        executables=("nrfutil",),
        install="get nRF Util from https://www.nordicsemi.com and run: nrfutil install device",
        version=("--version",),
        supports=lambda board: board.nordic,
        form=Form.HEX,
        commands=(
            (
                *("{tool}", "device", "program", "--firmware", "{file}", "--options"),
                "chip_erase_mode=ERASE_RANGES_TOUCHED_BY_FIRMWARE,verify=VERIFY_READ,"
                "reset=RESET_SYSTEM",
                *("{probe}", "{extra}"),
            ),
        ),
        probe=("--serial-number", "{serial}"),
    ),
    Programmer(
        name="stm32flash",
        executables=("stm32flash",),
        install="apt install stm32flash, or brew install stm32flash",
        supports=lambda board: board.rom_uart,
        form=Form.BIN,
        commands=(
            (
                *("{tool}", "-b", "{baud}", "{extra}", "-w", "{file}", "-v"),
                *("-S", "{base}", "-g", "{base}", "{port}"),
            ),
        ),
        needs_port=True,
        advice="hold BOOT0 high and reset the board, so that its ROM answers",
    ),
    Programmer(
        name="esptool",
        executables=("esptool", "esptool.py"),
        install="pip install esptool",
        version=("version",),
        supports=lambda board: board.esp is not None,
        form=Form.ELF,
        commands=(
            ("{tool}", "--chip", "{esp}", "elf2image", "-o", "{converted}", "{file}"),
            (
                *("{tool}", "--chip", "{esp}", "--port", "{port}", "--baud", "{baud}"),
                *("{extra}", "write_flash", "{offset}", "{converted}"),
            ),
        ),
        needs_port=True,
        advice="hold the boot button while the board resets",
    ),
    Programmer(
        name="gdb",
        executables=("gdb-multiarch", "arm-none-eabi-gdb"),
        install="apt install gdb-multiarch",
        version=("--version",),
        supports=lambda board: board.esp is None,
        form=Form.ELF,
        commands=(("{tool}", "-nx", "-batch", "{extra}", "-x", "{script}", "{file}"),),
        probe=("{serial}",),
        # Not every server resets: begin as the core does, with the first two words of flash.
        script="target extended-remote {serial}\nload\ncompare-sections\n"
        "set $sp = *(unsigned int *){base}\nset $xpsr = 0x01000000\n"
        "set $pc = *(unsigned int *)({base} + 4) & ~1\ndetach\n",
        needs_probe=True,
        automatic=False,  # it needs to be told where a gdb server is
        advice="does a gdb server listen there?",
    ),
    Programmer(
        name="west",
        executables=("west",),
        install="pip install west",
        version=("--version",),
        supports=lambda board: bool(board.west),
        form=Form.HEX,
        commands=(("{tool}", "flash", "--skip-rebuild", "{extra}", "--hex-file", "{file}"),),
        automatic=False,  # it needs a Zephyr build folder of the board
        advice="it needs a build folder of Zephyr's: --programmer-arg=--build-dir=FOLDER",
    ),
)


def find_programmer(name: str) -> Programmer:
    """The row of that name. Raises `ConfigError` when there is none."""
    for programmer in PROGRAMMERS:
        if programmer.name == name:
            return programmer
    known = ", ".join(programmer.name for programmer in PROGRAMMERS)
    raise ConfigError(f"there is no programmer {name!r}; there are {known}")
