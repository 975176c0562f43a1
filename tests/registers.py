"""Boards that nothing emulates, as far as their boot needs: registers, ready bits, and a UART.

In: a linked ELF and its row. Out: what it sends. The registers were modelled from the reference
manuals, by those who wrote the drivers: this finds mistakes of programming, not of reading.
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
_MODELS = {"Cortex-M0+": "CORTEX_M0", "Cortex-M4": "CORTEX_M4", "Cortex-M7": "CORTEX_M7"}

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
    """The ready bits of a chip that works, by address; `clock` is its UART's, in Hz."""

    ready: dict[int, Read] = field(default_factory=dict)
    uart: Uart
    clock: int


class Board:
    """A `Pipe` to a board, which runs whenever it is written to.

    Without `alive` no ready bit ever comes: such a board only boots.
    """

    def __init__(self, row: Target, elf: Path, chip: Chip, *, alive: bool) -> None:
        assert row.flash is not None and row.ram is not None
        self.timeout: float | None = None
        self.written: dict[int, int] = {}
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


def _f446() -> Chip:
    ready, uart = stm32(0x4000_4400, new=False)
    ready[0x4002_3800] = _follows(0x4002_3800, {1 << 16: 1 << 17, 1 << 24: 1 << 25}, always=2)
    ready[0x4002_3808] = _selected(0x4002_3808, 3, 2)
    return Chip(ready=ready, uart=uart, clock=42_000_000)


def _h743() -> Chip:
    ready, uart = stm32(0x4000_4800, new=True)
    ready[0x5802_4400] = _follows(0x5802_4400, {1 << 16: 1 << 17, 1 << 24: 1 << 25}, always=4)
    ready[0x5802_4410] = _selected(0x5802_4410, 7, 3)
    ready[0x5802_4804] = lambda *_: 1 << 13
    ready[0x5802_4818] = _follows(0x5802_4818, {3 << 14: 1 << 13})
    return Chip(ready=ready, uart=uart, clock=100_000_000)


def _l4r5() -> Chip:
    ready, uart = stm32(0x4000_8000, new=True, steps=256)
    ready[0x4002_1000] = _follows(0x4002_1000, {1 << 8: 1 << 10, 1 << 24: 1 << 25}, always=2)
    ready[0x4002_1008] = _selected(0x4002_1008, 3, 2)
    return Chip(ready=ready, uart=uart, clock=120_000_000)


def _nrf52840() -> Chip:
    ready, uart = nrf(0x4000_2000)
    ready[0x4000_0100] = lambda written, _: written.get(0x4000_0000, 0)
    ready[0x4000_040C] = lambda *_: 1 << 16 | 1
    return Chip(ready=ready, uart=uart, clock=16_000_000)


def _rp2(row: Target) -> Chip:
    numbers = dict(row.constants)
    clocks, crystal, pll, resets = (
        numbers[name] for name in ("CLOCKS", "CRYSTAL", "PLL", "RESETS")
    )
    ready, uart = pl011(numbers["UART"])
    ready[crystal + 4] = lambda written, _: (written.get(crystal, 0) >> 12 == 0xFAB) << 31
    for control in (clocks + 0x30, clocks + 0x3C):
        ready[control + 8] = lambda written, _, at=control: 1 << (written.get(at, 0) & 3)
    ready[pll] = lambda written, _: (
        written.get(pll, 0) | (written.get(pll + 4, 0x2D) & 33 == 0) << 31
    )
    ready[pll + 4] = lambda written, _: written.get(pll + 4, 0x2D)
    ready[resets] = lambda written, _: written.get(resets, 0x1FFF_FFFF)
    ready[resets + 8] = lambda written, _: ~written.get(resets, 0x1FFF_FFFF) & 0x1FFF_FFFF
    return Chip(ready=ready, uart=uart, clock=row.clock_hz)


def chip_of(row: Target) -> Chip:
    """The model of a row's chip."""
    known = {
        "nucleo-f446re": _f446,
        "nucleo-h743zi": _h743,
        "nucleo-l4r5zi": _l4r5,
        "nrf52840-dk": _nrf52840,
    }
    return known[row.name]() if row.name in known else _rp2(row)
