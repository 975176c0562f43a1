"""What flashing has to know of a board: one row of data per board, and nothing but data.

Out: `FLASH_BOARDS`. A row names the board in the language of each programmer; a programmer supports
a board when its fields are there. Refuses an unknown name with a `ConfigError` that lists what
exists. Nothing here has been tried on hardware: the files were looked up in OpenOCD 0.12, the chips
in pyOCD; those that pyOCD lacks come with `pyocd pack install`.
"""

from dataclasses import dataclass
from pathlib import Path

from tesla_embed.errors import ConfigError
from tesla_host.catalogue.rows import Memory
from tesla_host.catalogue.user import names_file
from tesla_host.targets import find_target


@dataclass(frozen=True, slots=True, kw_only=True)
class Uf2:
    """A board that shows up as a drive: UF2's number of its chip, and the drive's Board-ID."""

    family: int
    board_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Esp:
    """A chip of Espressif's, by esptool's name, and where in flash its application begins."""

    chip: str
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FlashBoard:
    """One board. Where a programmer cannot reach it, its field stays empty.

    `target` names the row of the catalogue that a model is built for. `openocd` are arguments that
    configure OpenOCD, `pyocd` and `jlink` the chip's names there, `stlink` whether an ST-LINK
    reaches it, `rom_uart` whether its ROM speaks ST's AN3155 over a UART, `nordic` whether nrfutil
    knows it, `west` Zephyr's name of the board.
    """

    name: str
    target: str
    openocd: tuple[str, ...] = ()
    pyocd: str = ""
    jlink: str = ""
    stlink: bool = False
    rom_uart: bool = False
    esp: Esp | None = None
    uf2: Uf2 | None = None
    nordic: bool = False
    west: str = ""

    @property
    def flash(self) -> Memory:
        """The addresses that a firmware may occupy: those that it is linked for."""
        memory = find_target(self.target).flash
        if memory is None:
            raise ConfigError(f"{self.target} has no flash to write; name a board")
        return memory


def _openocd(interface: str, *rest: str) -> tuple[str, ...]:
    """OpenOCD's arguments: configuration files end in .cfg, all else are commands."""
    files = (f"interface/{interface}.cfg", *rest)
    return tuple(a for word in files for a in ("-f" if word.endswith(".cfg") else "-c", word))


FLASH_BOARDS = (
    FlashBoard(
        name="nucleo-f446re",
        target="nucleo-f446re",
        openocd=_openocd("stlink", "target/stm32f4x.cfg"),
        pyocd="stm32f446retx",
        jlink="STM32F446RE",
        stlink=True,
        rom_uart=True,
        west="nucleo_f446re",
    ),
    FlashBoard(
        name="nucleo-h743zi",
        target="nucleo-h743zi",
        openocd=_openocd("stlink", "target/stm32h7x_dual_bank.cfg"),
        pyocd="stm32h743xx",
        jlink="STM32H743ZI",
        stlink=True,
        rom_uart=True,
        west="nucleo_h743zi",
    ),
    FlashBoard(
        name="nucleo-l4r5zi",
        target="nucleo-l4r5zi",
        openocd=_openocd("stlink", "target/stm32l4x.cfg"),
        pyocd="stm32l4r5zitx",
        jlink="STM32L4R5ZI",
        stlink=True,
        rom_uart=True,
        west="nucleo_l4r5zi",
    ),
    FlashBoard(
        name="nrf52840-dk",
        target="nrf52840-dk",
        openocd=_openocd("jlink", "transport select swd", "target/nrf52.cfg"),
        pyocd="nrf52840",
        jlink="nRF52840_xxAA",
        nordic=True,
        west="nrf52840dk/nrf52840",
    ),
    FlashBoard(
        name="microbit",
        target="microbit",
        openocd=_openocd("cmsis-dap", "target/nrf51.cfg"),
        pyocd="nrf51822",
        jlink="nRF51822_xxAA",
        west="bbc_microbit",
    ),
    FlashBoard(
        name="stm32vldiscovery",
        target="stm32vldiscovery",
        openocd=_openocd("stlink", "transport select hla_swd", "target/stm32f1x.cfg"),
        pyocd="stm32f100rbtx",
        jlink="STM32F100RB",
        rom_uart=True,  # STM32_Programmer_CLI does not know the ST-LINK/V1
        west="stm32vl_disco",
    ),
    FlashBoard(
        name="netduinoplus2",
        target="netduinoplus2",
        openocd=_openocd("stlink", "target/stm32f4x.cfg"),
        pyocd="stm32f405rgtx",
        jlink="STM32F405RG",
        stlink=True,
        rom_uart=True,
    ),
    FlashBoard(
        name="pico",
        target="pico",
        openocd=_openocd("cmsis-dap", "adapter speed 5000", "target/rp2040.cfg"),
        pyocd="rp2040",
        jlink="RP2040_M0_0",
        uf2=Uf2(family=0xE48B_FF56, board_id="RPI-RP2"),
        west="rpi_pico",
    ),
    FlashBoard(
        name="pico2",
        target="pico2",
        # target/rp2350.cfg came after OpenOCD 0.12.
        openocd=_openocd("cmsis-dap", "adapter speed 5000", "target/rp2350.cfg"),
        pyocd="rp2350",
        jlink="RP2350_M33_0",
        uf2=Uf2(family=0xE48B_FF59, board_id="RP2350"),
        west="rpi_pico2/rp2350a/m33",
    ),
)


def find_flash_board(name: str) -> FlashBoard:
    """The row of that name, or of the file `PATH.toml`. Raises `ConfigError` without one."""
    if names_file(name):
        from tesla_host.flash.user import user_flash_board  # which needs the types of this module

        return user_flash_board(Path(name))
    for board in FLASH_BOARDS:
        if board.name == name:
            return board
    known = ", ".join(board.name for board in FLASH_BOARDS)
    raise ConfigError(f"nothing is known about flashing a {name!r}; there are {known}")
