"""What USB devices of boards and debug probes call themselves: one row of data each.

Out: `USB_IDS`, found through `identify`. A row without a product stands for every product of its
vendor that has no row. Nothing here talks to a device; a name is what its maker registered, and
says nothing of what is wired to it.
"""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a device is to somebody with firmware to load."""

    PROBE = "probe"
    """A debug probe, alone or on a board."""
    BOARD = "board"
    BOOT = "boot loader"
    BRIDGE = "serial bridge"
    CURRENT = "current probe"


@dataclass(frozen=True, slots=True)
class UsbId:
    """One device: vendor, product (`None`: any), what it is called, and what it is."""

    vendor: int
    product: int | None
    name: str
    kind: Kind


USB_IDS = (
    UsbId(0x0483, 0x3744, "ST-LINK/V1", Kind.PROBE),
    UsbId(0x0483, 0x3748, "ST-LINK/V2", Kind.PROBE),
    UsbId(0x0483, 0x374A, "ST-LINK/V2-1, as on Nucleo boards", Kind.PROBE),
    UsbId(0x0483, 0x374B, "ST-LINK/V2-1, as on Nucleo boards", Kind.PROBE),
    UsbId(0x0483, 0x3752, "ST-LINK/V2-1, as on Nucleo boards", Kind.PROBE),
    UsbId(0x0483, 0x374D, "STLINK-V3 in its boot loader", Kind.PROBE),
    UsbId(0x0483, 0x374E, "STLINK-V3, as on newer Nucleo boards", Kind.PROBE),
    UsbId(0x0483, 0x374F, "STLINK-V3, as on newer Nucleo boards", Kind.PROBE),
    UsbId(0x0483, 0x3753, "STLINK-V3, as on newer Nucleo boards", Kind.PROBE),
    UsbId(0x0483, 0x3754, "STLINK-V3, as on newer Nucleo boards", Kind.PROBE),
    UsbId(0x0483, 0xDF11, "STM32 in its boot loader (DFU)", Kind.BOOT),
    UsbId(0x0483, 0x5740, "STM32 with a serial port over USB", Kind.BOARD),
    UsbId(0x1366, None, "SEGGER J-Link, as on Nordic's kits", Kind.PROBE),
    UsbId(0x0D28, 0x0204, "CMSIS-DAP (DAPLink), as on the micro:bit", Kind.PROBE),
    UsbId(0x2E8A, 0x000C, "Raspberry Pi Debug Probe, CMSIS-DAP", Kind.PROBE),
    UsbId(0x2E8A, 0x0003, "RP2040 (Pico) in its boot loader", Kind.BOOT),
    UsbId(0x2E8A, 0x000F, "RP2350 (Pico 2) in its boot loader", Kind.BOOT),
    UsbId(0x2E8A, 0x000A, "RP2040 (Pico) with a serial port over USB", Kind.BOARD),
    UsbId(0x2E8A, 0x0009, "RP2350 (Pico 2) with a serial port over USB", Kind.BOARD),
    UsbId(0x2E8A, None, "Raspberry Pi microcontroller", Kind.BOARD),
    UsbId(0x1FC9, 0x0090, "NXP LPC-Link2, CMSIS-DAP", Kind.PROBE),
    UsbId(0x1FC9, 0x0143, "NXP MCU-Link, CMSIS-DAP", Kind.PROBE),
    UsbId(0x03EB, 0x2111, "Microchip EDBG, CMSIS-DAP", Kind.PROBE),
    UsbId(0x03EB, 0x2141, "Atmel-ICE, CMSIS-DAP", Kind.PROBE),
    UsbId(0x0451, 0xBEF3, "TI XDS110, CMSIS-DAP", Kind.PROBE),
    UsbId(0x1D50, 0x6018, "Black Magic Probe", Kind.PROBE),
    UsbId(0x303A, 0x1001, "Espressif chip with USB serial and JTAG", Kind.BOARD),
    UsbId(0x303A, None, "Espressif chip", Kind.BOARD),
    UsbId(0x2341, None, "Arduino board", Kind.BOARD),
    UsbId(0x239A, None, "Adafruit board", Kind.BOARD),
    UsbId(0x16C0, 0x0478, "Teensy in its boot loader", Kind.BOOT),
    UsbId(0x16C0, 0x0483, "Teensy with a serial port over USB", Kind.BOARD),
    UsbId(0x10C4, 0xEA60, "CP210x, as on many ESP32 boards", Kind.BRIDGE),
    UsbId(0x1A86, 0x7523, "CH340, as on many ESP32 boards", Kind.BRIDGE),
    UsbId(0x1A86, 0x55D4, "CH9102, as on many ESP32 boards", Kind.BRIDGE),
    UsbId(0x0403, None, "FTDI serial bridge", Kind.BRIDGE),
    UsbId(0x1915, 0xC00A, "Nordic Power Profiler Kit II", Kind.CURRENT),
)

_CMSIS_DAP = "CMSIS-DAP"
"""What the standard has every such probe put into the name of its product or interface."""


def identify(vendor: int, product: int, names: str = "") -> UsbId | None:
    """The row of a device; `names` are what it calls itself, which gives unknown probes away."""
    rows = {row.product: row for row in USB_IDS if row.vendor == vendor}
    if product in rows:
        return rows[product]
    if _CMSIS_DAP in names.upper():  # says more than the vendor alone
        return UsbId(vendor, product, f"{_CMSIS_DAP} probe", Kind.PROBE)
    return rows.get(None)
