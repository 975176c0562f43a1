"""Boards that nothing emulates, as far as their boot needs: registers, ready bits, and a UART.

In: a linked ELF and its row. Out: what it sends, and what it set up otherwise than the board is
wired. The registers were modelled from the reference manuals, by those who wrote the drivers: this
finds mistakes of programming, not of reading.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import unicorn
from unicorn import arm_const

from tesla_host.catalogue import Target
from tesla_host.elf import read_image

_DEVICES, _PRIVATE = (0x4000_0000, 0x5900_0000), (0xE000_0000, 0xE010_0000)
_SYSTICK_VALUE, _DWT_CYCLES, VECTORS = 0xE000_E018, 0xE000_1004, 0xE000_ED08
_MOST_INSTRUCTIONS = 50_000_000
_ENABLED_INTERRUPTS = range(0xE000_E100, 0xE000_E120, 4)  # writing a 0 there changes nothing
_MODELS = {
    "Cortex-M0": "CORTEX_M0",
    "Cortex-M0+": "CORTEX_M0",
    "Cortex-M3": "CORTEX_M3",
    "Cortex-M4": "CORTEX_M4",
    "Cortex-M7": "CORTEX_M7",
}

Read = Callable[[dict[int, int], int], int]
"""A register's value, of all that was written by address, and the time."""


@dataclass(frozen=True, kw_only=True)
class Uart:
    """Where bytes go in and out, and the speed that was set, in bits a second of a `clock`."""

    receive: int
    send: int
    baud: Callable[[dict[int, int], int], float]


@dataclass(kw_only=True)
class Chip:
    """The ready bits of a chip that works, by address; `clock` is its UART's, in Hz.

    `at_reset` is what registers hold that do not begin with 0, `wiring` what those of pins, gates
    and interrupts must hold after the boot, `cleared` the bits that must be 0 then. `clocks` is
    what those of PLLs must hold where the ready bits came.
    """

    ready: dict[int, Read] = field(default_factory=dict)
    uart: Uart
    clock: int
    at_reset: dict[int, int] = field(default_factory=dict)
    wiring: dict[int, int] = field(default_factory=dict)
    cleared: dict[int, int] = field(default_factory=dict)
    clocks: dict[int, int] = field(default_factory=dict)


class Board:
    """A `Pipe` to a board, which runs whenever it is written to.

    Without `alive` no ready bit ever comes: such a board only boots.
    """

    def __init__(self, row: Target, elf: Path, chip: Chip, *, alive: bool) -> None:
        assert row.flash is not None and row.ram is not None
        self.timeout: float | None = None
        self.written = dict(chip.at_reset)
        self.sent = bytearray()
        self._chip, self._alive, self._time = chip, alive, 0
        self._incoming: int | None = None
        image = read_image(elf)
        self.functions = dict(zip(image.symbols.names, image.symbols.starts, strict=True))
        self.cpu: Any = unicorn.Uc(
            unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS
        )
        model = _MODELS.get(row.cpu, "CORTEX_M33")
        self.cpu.ctl_set_cpu_model(getattr(arm_const, f"UC_CPU_ARM_{model}"))
        self.cpu.mem_map(row.flash.origin, row.flash.bytes)
        self.cpu.mem_map(row.ram.origin, row.ram.bytes)
        for segment in image.segments:
            self.cpu.mem_write(segment.address, segment.data)
        for start, end in (_DEVICES, _PRIVATE, (0x1800_0000, 0x1800_1000)):
            self.cpu.mmio_map(start, end - start, self._read, start, self._write, start)

    def boot(self, vectors: int) -> None:
        """Start at a vector table and stop where the firmware waits for the first byte."""
        stack, start = (self.word(vectors + at) for at in (0, 4))
        self.cpu.reg_write(arm_const.UC_ARM_REG_SP, stack)
        self.run(start, self.functions["tesla_board_idle"])

    @property
    def in_waiting(self) -> int:
        """Bytes that `read` would give at once."""
        return len(self.sent)

    def read(self, size: int = 1) -> bytes:
        """What was sent, at most `size` bytes."""
        data = bytes(self.sent[:size])
        del self.sent[:size]
        return data

    def write(self, data: bytes) -> int:
        """Have the UART's interrupt take each byte, then go on until all are read."""
        idle = self.functions["tesla_board_idle"]
        back = self.cpu.reg_read(arm_const.UC_ARM_REG_LR)
        for byte in data:
            self._incoming = byte
            self.cpu.reg_write(arm_const.UC_ARM_REG_LR, idle | 1)
            self.run(self.functions["tesla_uart_interrupt"], idle)
            assert self._incoming is None
        self.cpu.reg_write(arm_const.UC_ARM_REG_R0, 1)
        self.run(back, idle)
        return len(data)

    def reset_input_buffer(self) -> None:
        """Forget what was sent."""
        self.sent.clear()

    def close(self) -> None:
        """Nothing to close."""

    def run(self, start: int, end: int) -> None:
        """Execute from one address to another, which must come within a number of instructions."""
        self.cpu.emu_start(start | 1, end, count=_MOST_INSTRUCTIONS)
        assert self.cpu.reg_read(arm_const.UC_ARM_REG_PC) == end, "it hangs"

    def baud(self) -> float:
        """The speed of the UART."""
        return self._chip.uart.baud(self.written, self._chip.clock)

    def wrongly_wired(self) -> dict[str, tuple[str, str]]:
        """Registers that do not fit the board: what is there, and what should be."""
        wanted = {at: (0xFFFF_FFFF, value) for at, value in self._chip.wiring.items()}
        wanted |= {at: (mask, 0) for at, mask in self._chip.cleared.items()}
        clocks = self._chip.clocks if self._alive else {}
        wanted |= {at: (0xFFFF_FFFF, value) for at, value in clocks.items()}
        found = {at: self.written.get(at, 0) & mask for at, (mask, _) in wanted.items()}
        return {
            f"0x{at:08x}": (hex(found[at]), hex(value))
            for at, (_, value) in wanted.items()
            if found[at] != value
        }

    def word(self, address: int) -> int:
        """What memory holds there."""
        return int.from_bytes(self.cpu.mem_read(address, 4), "little")

    def _read(self, _: Any, offset: int, _size: int, base: int) -> int:
        address = base + offset
        self._time += 1
        if address == _DWT_CYCLES:
            return self._time
        if address == _SYSTICK_VALUE:
            return -self._time & 0xFF_FFFF
        if address == self._chip.uart.receive:
            byte, self._incoming = self._incoming, None
            return byte or 0
        if self._alive and address in self._chip.ready:
            return self._chip.ready[address](self.written, int(self._incoming is not None))
        return self.written.get(address, 0)

    def _write(self, _: Any, offset: int, _size: int, value: int, base: int) -> None:
        address = base + offset
        if address == self._chip.uart.send:
            self.sent.append(value & 0xFF)
        elif address in _ENABLED_INTERRUPTS:
            self.written[address] = self.written.get(address, 0) | value
        else:
            self.written[address] = value


def _follows(register: int, pairs: dict[int, int], always: int = 0) -> Read:
    """Bits that come up when others are set, in the same register."""

    def read(written: dict[int, int], _: int) -> int:
        value = written.get(register, 0) | always
        return value | sum(ready for on, ready in pairs.items() if value & on == on)

    return read


def _selected(register: int, mask: int, shift: int) -> Read:
    """A switch of clocks that says where it stands."""

    def read(written: dict[int, int], _: int) -> int:
        value = written.get(register, 0)
        return value | (value & mask) << shift

    return read


def stm32(uart: int, *, new: bool, steps: int = 1) -> tuple[dict[int, Read], Uart]:
    """A USART of either kind: ready to send, and with a byte received when one waits."""
    status, receive, send, divider = (0x1C, 0x24, 0x28, 0x0C) if new else (0x00, 0x04, 0x04, 0x08)

    def read(_: dict[int, int], waiting: int) -> int:
        return 1 << 7 | waiting << 5

    def baud(written: dict[int, int], clock: int) -> float:
        return clock * steps / written[uart + divider]

    return {uart + status: read}, Uart(receive=uart + receive, send=uart + send, baud=baud)


def pl011(uart: int) -> tuple[dict[int, Read], Uart]:
    def read(_: dict[int, int], waiting: int) -> int:
        return 0 if waiting else 1 << 4

    def baud(written: dict[int, int], clock: int) -> float:
        return clock / (16 * (written[uart + 0x24] + written[uart + 0x28] / 64))

    return {uart + 0x18: read}, Uart(receive=uart, send=uart, baud=baud)


def nrf(uart: int) -> tuple[dict[int, Read], Uart]:
    def received(_: dict[int, int], waiting: int) -> int:
        return waiting

    def baud(written: dict[int, int], _: int) -> float:
        return written[uart + 0x524] * 16e6 / 2**32

    ready: dict[int, Read] = {uart + 0x108: received, uart + 0x11C: lambda *_: 1}
    return ready, Uart(receive=uart + 0x518, send=uart + 0x51C, baud=baud)


def enabled(interrupt: int) -> dict[int, int]:
    """The NVIC's register after this interrupt alone was enabled."""
    return {_ENABLED_INTERRUPTS[interrupt // 32]: 1 << interrupt % 32}


def stm32_pins(
    port: int, pins: tuple[int, int], function: int, mode: int
) -> tuple[dict[int, int], dict[int, int]]:
    """A port's registers at reset, and with two pins at an alternate function: medium, pulled up.

    `mode` is what MODER holds at reset.
    """
    at_reset = {port: mode}
    wiring = {port: mode}
    for pin in pins:
        half, four = port + 0x20 + 4 * (pin // 8), 4 * (pin % 8)
        wiring[port] = wiring[port] & ~(3 << 2 * pin) | 2 << 2 * pin
        wiring[half] = wiring.get(half, 0) | function << four
        for speed_or_pull in (port + 0x08, port + 0x0C):
            wiring[speed_or_pull] = wiring.get(speed_or_pull, 0) | 1 << 2 * pin
    return at_reset, wiring


_HSE_FED_IN = 1 << 24 | 1 << 18 | 1 << 17 | 1 << 16
"""Of RCC_CR of F4 and H7, last written as the PLL starts: from a clock that the ST-LINK makes."""


def _f405() -> Chip:
    """USART6 on PC6 and PC7, alternate function 8."""
    ready, uart = stm32(0x4001_1400, new=False)
    at_reset, pins = stm32_pins(0x4002_0800, (6, 7), 8, 0)
    gates = {0x4002_3830: 1 << 2, 0x4002_3844: 1 << 5}
    return Chip(
        ready=ready,
        uart=uart,
        clock=84_000_000,
        at_reset=at_reset,
        wiring=pins | gates | enabled(71),
    )


def _f446() -> Chip:
    """USART2 on PA2 and PA3, alternate function 7; PA13 to PA15 are the debugger's at reset."""
    ready, uart = stm32(0x4000_4400, new=False)
    ready[0x4002_3800] = _follows(0x4002_3800, {1 << 16: 1 << 17, 1 << 24: 1 << 25}, always=2)
    ready[0x4002_3808] = _selected(0x4002_3808, 3, 2)
    at_reset, pins = stm32_pins(0x4002_0000, (2, 3), 7, 0xA800_0000)
    gates = {0x4002_3830: 1 << 0, 0x4002_3840: 1 << 17}
    clocks = {0x4002_3800: _HSE_FED_IN | 2, 0x4002_3804: 7 << 24 | 1 << 22 | 336 << 6 | 8}
    return Chip(
        ready=ready,
        uart=uart,
        clock=42_000_000,
        at_reset=at_reset,
        clocks=clocks,
        wiring=pins | gates | enabled(38),
    )


def _f100() -> Chip:
    """USART1 on PA9, an alternate output of 50 MHz, and PA10, an input pulled up."""
    ready, uart = stm32(0x4001_3800, new=False)
    wiring = {0x4001_0804: 0x4444_48B4, 0x4001_0810: 1 << 10, 0x4002_1018: 1 << 14 | 1 << 2}
    return Chip(
        ready=ready,
        uart=uart,
        clock=24_000_000,
        at_reset={0x4001_0804: 0x4444_4444},
        wiring=wiring | enabled(37),
    )


def _h743() -> Chip:
    """USART3 on PD8 and PD9, alternate function 7."""
    ready, uart = stm32(0x4000_4800, new=True)
    ready[0x5802_4400] = _follows(0x5802_4400, {1 << 16: 1 << 17, 1 << 24: 1 << 25}, always=4)
    ready[0x5802_4410] = _selected(0x5802_4410, 7, 3)
    ready[0x5802_4804] = lambda *_: 1 << 13
    ready[0x5802_4818] = _follows(0x5802_4818, {3 << 14: 1 << 13})
    at_reset, pins = stm32_pins(0x5802_0C00, (8, 9), 7, 0xFFFF_FFFF)
    gates = {0x5802_44E0: 1 << 3, 0x5802_44E8: 1 << 18}
    factors = 1 << 24 | 1 << 16 | 1 << 9 | 399
    return Chip(
        ready=ready,
        uart=uart,
        clock=100_000_000,
        at_reset=at_reset,
        wiring=pins | gates | enabled(39),
        clocks={0x5802_4400: _HSE_FED_IN | 4, 0x5802_4428: 4 << 4 | 2, 0x5802_4430: factors},
    )


def _l4r5() -> Chip:
    """LPUART1 on PG7 and PG8, alternate function 8; port G has a supply of its own."""
    ready, uart = stm32(0x4000_8000, new=True, steps=256)
    ready[0x4002_1000] = _follows(0x4002_1000, {1 << 8: 1 << 10, 1 << 24: 1 << 25}, always=2)
    ready[0x4002_1008] = _selected(0x4002_1008, 3, 2)
    at_reset, pins = stm32_pins(0x4800_1800, (7, 8), 8, 0xFFFF_FFFF)
    gates = {0x4002_104C: 1 << 6, 0x4002_105C: 1 << 0, 0x4000_7004: 1 << 9}
    wiring = pins | gates | enabled(70)
    return Chip(ready=ready, uart=uart, clock=120_000_000, at_reset=at_reset, wiring=wiring)


def nrf_pins(uart: int, send: int, receive: int) -> dict[int, int]:
    """PSEL.TXD and PSEL.RXD, no flow control; TX driven high before, RX pulled up."""
    nowhere, port = 0xFFFF_FFFF, 0x5000_0000
    selected = {uart + 0x508: nowhere, uart + 0x50C: send, uart + 0x510: nowhere}
    levels = {port + 0x508: 1 << send, port + 0x518: 1 << send, port + 0x700 + 4 * receive: 0xC}
    return {**selected, uart + 0x514: receive, **levels}


def _nrf51822() -> Chip:
    """The micro:bit's interface chip at P0.24 and P0.25; TIMER0 has interrupt 8."""
    ready, uart = nrf(0x4000_2000)
    interrupts = {_ENABLED_INTERRUPTS[0]: 1 << 2 | 1 << 8}
    wiring = nrf_pins(0x4000_2000, 24, 25) | interrupts
    return Chip(ready=ready, uart=uart, clock=16_000_000, wiring=wiring)


def _nrf52840() -> Chip:
    """The development kit's J-Link at P0.06 and P0.08."""
    ready, uart = nrf(0x4000_2000)
    ready[0x4000_0100] = lambda written, _: written.get(0x4000_0000, 0)
    ready[0x4000_040C] = lambda *_: 1 << 16 | 1
    wiring = nrf_pins(0x4000_2000, 6, 8) | enabled(2)
    return Chip(ready=ready, uart=uart, clock=16_000_000, wiring=wiring)


def _lm3s6965() -> Chip:
    """UART0 on PA0 and PA1: alternate functions, digital."""
    ready, uart = pl011(0x4000_C000)
    gates = {0x400F_E104: 1 << 0, 0x400F_E108: 1 << 0}
    wiring = {0x4000_4420: 3, 0x4000_451C: 3} | gates | enabled(5)
    return Chip(ready=ready, uart=uart, clock=50_000_000, wiring=wiring)


@dataclass(frozen=True, kw_only=True)
class _Rp2:
    """Where a chip of Raspberry Pi's differs: addresses, and bits of the resets."""

    clock: int
    clocks: int
    resets: int
    pins: int
    pads: int
    crystal: int
    pll: int
    uart: int
    interrupt: int
    pll_reset: int
    other_resets: tuple[int, ...]
    dividers: tuple[int, int]


_RP2040 = _Rp2(
    clock=125_000_000,
    clocks=0x4000_8000,
    resets=0x4000_C000,
    pins=0x4001_4000,
    pads=0x4001_C000,
    crystal=0x4002_4000,
    pll=0x4002_8000,
    uart=0x4003_4000,
    interrupt=20,
    pll_reset=12,
    other_resets=(5, 8, 22),  # of IO_BANK0, PADS_BANK0, UART0
    dividers=(6, 2),  # of 1,500 MHz
)
_RP2350 = _Rp2(
    clock=150_000_000,
    clocks=0x4001_0000,
    resets=0x4002_0000,
    pins=0x4002_8000,
    pads=0x4003_8000,
    crystal=0x4004_8000,
    pll=0x4005_0000,
    uart=0x4007_0000,
    interrupt=33,
    pll_reset=14,
    other_resets=(6, 9, 26),
    dividers=(5, 2),
)


def _rp2(chip: _Rp2) -> Chip:
    """UART0 on GPIO 0 and 1: function 2; pads of 4 mA with a Schmitt trigger, RX pulled up."""
    ready, uart = pl011(chip.uart)
    crystal, pll, resets, held = chip.crystal, chip.pll, chip.resets, 0x1FFF_FFFF
    ready[crystal + 4] = lambda written, _: (written.get(crystal, 0) >> 12 == 0xFAB) << 31
    for control in (chip.clocks + 0x30, chip.clocks + 0x3C):
        ready[control + 8] = lambda written, _, at=control: 1 << (written.get(at, 0) & 3)
    ready[pll] = lambda written, _: (
        written.get(pll, 0)
        | (written[pll + 4] & 33 == 0 and not written[resets] >> chip.pll_reset & 1) << 31
    )
    ready[resets + 8] = lambda written, _: ~written[resets] & held
    pads = {chip.pads + 0x04: 0x52, chip.pads + 0x08: 0x5A}
    pins = {chip.pins + 0x04: 2, chip.pins + 0x0C: 2}
    return Chip(
        ready=ready,
        uart=uart,
        clock=chip.clock,
        at_reset={resets: held, pll + 4: 0x2D},
        wiring=pads | pins | enabled(chip.interrupt),
        cleared={resets: sum(1 << bit for bit in chip.other_resets)},
        clocks={pll + 0x08: 125, pll + 0x0C: chip.dividers[0] << 16 | chip.dividers[1] << 12},
    )


def chip_of(row: Target) -> Chip:
    """The model of a row's chip, wired as on its board.

    Nothing here is read from the row, whose numbers it is to try. Of chips that QEMU models, the
    ready bits are missing.
    """
    known: dict[str, Callable[[], Chip]] = {
        "netduinoplus2": _f405,
        "nucleo-f446re": _f446,
        "stm32vldiscovery": _f100,
        "nucleo-h743zi": _h743,
        "nucleo-l4r5zi": _l4r5,
        "microbit": _nrf51822,
        "nrf52840-dk": _nrf52840,
        "lm3s6965evb": _lm3s6965,
        "pico": lambda: _rp2(_RP2040),
        "pico2": lambda: _rp2(_RP2350),
    }
    return known[row.name]()
