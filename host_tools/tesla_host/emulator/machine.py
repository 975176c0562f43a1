"""An emulated Cortex-M4 board that runs a firmware ELF, with the face of a serial port.

In: an ELF built for the `emulator` target. Out: its bytes on the emulated UART, exact instruction
counts and estimated cycles. Refuses an ELF of another memory map and a missing Unicorn, and turns a
CPU fault into a `DeviceError` that names the address and the function.

Everything happens in the caller's thread: `read` runs the CPU until it has the bytes, until the
firmware waits for more, or until `timeout` seconds of EMULATED time (one instruction per clock)
have passed. The same calls therefore always give the same bytes and counts.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from tesla_embed.errors import DeviceError, ToolchainError
from tesla_host.catalogue import Memory, Target
from tesla_host.elf import read_image

try:
    unicorn: Any = import_module("unicorn")  # its own type hints are too incomplete to help
    arm_const: Any = import_module("unicorn.arm_const")
    from tesla_host.emulator.blocks import BlockCounter
except ImportError as error:
    raise ToolchainError(
        f"the emulator needs {error.name}: pip install 'tesla-embed[emulator]'"
    ) from error

_PAGE = 0x1000
_SYSTEM_CONTROL = 0xE000_E000
"""The core's own registers: they keep what start-up code writes, and do nothing."""
_UART_RECEIVE, _UART_SEND, _IDLE, _LATCH, _COUNTERS = 0x00, 0x04, 0x08, 0x0C, 0x10
_BYTE_VALID = 0x100
_MOST_UNREAD_BYTES = 1 << 20
_NEVER = 0xFFFF_FFFE

_ACCESS = {
    unicorn.UC_MEM_READ_UNMAPPED: "read of",
    unicorn.UC_MEM_WRITE_UNMAPPED: "write to",
    unicorn.UC_MEM_FETCH_UNMAPPED: "jump to",
    unicorn.UC_MEM_READ_PROT: "read of protected",
    unicorn.UC_MEM_WRITE_PROT: "write to read-only",
    unicorn.UC_MEM_FETCH_PROT: "jump to non-executable",
}


class Machine:
    """A `Pipe` to a firmware on an emulated Cortex-M."""

    def __init__(self, elf: Path, target: Target) -> None:
        assert target.flash is not None and target.ram is not None
        self.timeout: float | None = 1.0
        self._clock_hz = target.clock_hz
        self._image = read_image(elf)
        self._to_firmware = bytearray()
        self._from_firmware = bytearray()
        self._latched = bytes(16)
        self._waiting = False
        self._fault: str | None = None
        self._access = ""
        self.cpu: Any = unicorn.Uc(
            unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS
        )
        self.cpu.ctl_set_cpu_model(getattr(arm_const, f"UC_CPU_ARM_{target.unicorn}"))
        self._counter = BlockCounter(lambda at, size: bytes(self.cpu.mem_read(at, size)))
        self._load(elf, target.name, target.flash, target.ram)
        devices = dict(target.constants)["DEVICES"]
        self.cpu.mmio_map(devices, _PAGE, self._device_read, None, self._device_write, None)
        self.cpu.hook_add(unicorn.UC_HOOK_BLOCK, self._counter.enter)
        self.cpu.hook_add(unicorn.UC_HOOK_MEM_INVALID, self._on_invalid)

    @property
    def instructions(self) -> int:
        """Instructions executed since reset; exact."""
        return self._counter.instructions

    @property
    def cycles(self) -> int:
        """Cycles of a Cortex-M4 since reset; estimated (see `timing`). Of no other CPU's."""
        return self._counter.cycles()

    def classes(self) -> dict[str, int]:
        """Instructions executed since reset, by class of `timing.CYCLES`."""
        return self._counter.classes()

    @property
    def in_waiting(self) -> int:
        """Bytes that `read` would give at once."""
        return len(self._from_firmware)

    def read(self, size: int = 1) -> bytes:
        """Up to `size` bytes; runs the CPU if there are fewer. Raises `DeviceError` on a fault."""
        if len(self._from_firmware) < size:
            self._run()
        data = bytes(self._from_firmware[:size])
        del self._from_firmware[:size]
        return data

    def write(self, data: bytes) -> int:
        """Put bytes before the UART's receiver; the CPU sees them during the next `read`."""
        self._to_firmware += data
        return len(data)

    def reset_input_buffer(self) -> None:
        """Forget what was received and not yet read."""
        self._from_firmware.clear()

    def close(self) -> None:
        """Nothing to close: the machine is part of this process."""

    def _load(self, elf: Path, name: str, flash: Memory, ram: Memory) -> None:
        image = self._image
        execute = unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC
        self.cpu.mem_map(flash.origin, flash.bytes, execute)
        self.cpu.mem_map(ram.origin, ram.bytes, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE)
        self.cpu.mem_map(_SYSTEM_CONTROL, _PAGE, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE)
        if image.machine != "ARM":
            raise DeviceError(f"{elf} is for {image.machine}; build it for the target {name}")
        for segment in image.segments:
            end = segment.address + len(segment.data)
            if segment.address < flash.origin or end > flash.origin + flash.bytes:
                raise DeviceError(
                    f"{elf} puts bytes at 0x{segment.address:08x}, outside the emulator's flash; "
                    f"build it for the target {name}"
                )
            self.cpu.mem_write(segment.address, segment.data)
        vectors = bytes(self.cpu.mem_read(flash.origin, 8))
        self.cpu.reg_write(arm_const.UC_ARM_REG_SP, int.from_bytes(vectors[:4], "little"))
        self._pc = int.from_bytes(vectors[4:], "little")

    def _run(self) -> None:
        if self._fault is not None:
            raise DeviceError(self._fault)
        if self._waiting and not self._to_firmware:
            return
        self._waiting = False
        seconds = 3600.0 if self.timeout is None else self.timeout
        self._counter.limit = self._counter.instructions + int(seconds * self._clock_hz)
        try:
            with self._interrupt_between_blocks():
                self.cpu.emu_start(self._pc | 1, _NEVER)
        except unicorn.UcError as error:
            pc = self.cpu.reg_read(arm_const.UC_ARM_REG_PC)
            self._fault = (
                f"the emulated CPU faulted in {self._image.symbols.function_at(pc)} at "
                f"0x{pc:08x}: {self._access or error}; open the emulator again to restart it"
            )
            raise DeviceError(self._fault) from error
        finally:  # so that the next call goes on where this one stopped
            self._pc = self.cpu.reg_read(arm_const.UC_ARM_REG_PC)

    @contextlib.contextmanager
    def _interrupt_between_blocks(self) -> Iterator[None]:
        """Have Ctrl-C stop the CPU: raised inside a hook, it would get lost, and a block too.

        A process that ignores Ctrl-C goes on doing so.
        """
        ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        if ignored or threading.current_thread() is not threading.main_thread():
            yield
            return
        asked: list[int] = []

        def stop(number: int, _frame: object) -> None:
            asked.append(number)
            self._counter.limit = 0

        previous = signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous)
        if asked:
            raise KeyboardInterrupt

    def _on_invalid(
        self, _: Any, access: int, address: int, size: int, value: int, data: object
    ) -> bool:
        self._access = f"{_ACCESS.get(access, 'access to')} {size} bytes at 0x{address:08x}"
        return False

    def _device_read(self, _: Any, offset: int, size: int, data: object) -> int:
        if offset == _UART_RECEIVE:
            return _BYTE_VALID | self._to_firmware.pop(0) if self._to_firmware else 0
        if _COUNTERS <= offset < _COUNTERS + len(self._latched):
            word = self._latched[offset - _COUNTERS : offset - _COUNTERS + 4]
            return int.from_bytes(word, "little")
        return 0

    def _device_write(self, _: Any, offset: int, size: int, value: int, data: object) -> None:
        # Stopping the CPU here would make it repeat this store later: it stops at the next block.
        if offset == _UART_SEND:
            self._from_firmware.append(value & 0xFF)
            if len(self._from_firmware) >= _MOST_UNREAD_BYTES:
                self._counter.limit = 0
        elif offset == _IDLE:
            if not self._to_firmware:
                self._waiting = True
                self._counter.limit = 0
        elif offset == _LATCH:
            self._latched = b"".join(
                count.to_bytes(8, "little") for count in (self.instructions, self.cycles)
            )
