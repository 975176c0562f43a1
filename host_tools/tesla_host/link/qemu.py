"""A firmware on a board that QEMU emulates, with the face of a serial port.

In: how QEMU emulates the board, and an ELF. Out: its bytes on the emulated UART. Refuses a missing
QEMU with a `ToolchainError`, and one that ends with a `DeviceError` that holds its last words.

The UART is one end of a pair of sockets that QEMU inherits: no port to race for, no path to clean
up, nothing to reach from outside. QEMU is the child of a shell that kills it when its own input
ends, which it does when this process is gone, however it went.
"""

import contextlib
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from tesla_embed.errors import DeviceError, ToolchainError
from tesla_host.catalogue import Qemu
from tesla_host.compilers import first_line
from tesla_host.link.pipes import DescriptorPipe

_PACKAGES = {"qemu-system-arm": "qemu-system-arm", "qemu-system-riscv32": "qemu-system-misc"}
"""Debian's package of each QEMU that the catalogue names."""
PROGRAM = "qemu-system-arm"
_SERIAL_DESCRIPTOR = 3
# The shell gets the socket as its standard output and hands it on, or its end would stay open.
_KEEPER = (
    f'"$@" {_SERIAL_DESCRIPTOR}>&1 >&2 </dev/null & child=$!; exec >&2; '
    "read -r _; kill -9 $child; wait $child"
)
_LEAVE_S = 5


def find_qemu(program: str = PROGRAM) -> str:
    """The path of QEMU for an architecture. Raises `ToolchainError` when it is missing."""
    path = shutil.which(program)
    if path is None:
        package = _PACKAGES.get(program, "qemu-system")
        raise ToolchainError(f"no {program}: apt install {package} (or: brew install qemu)")
    return path


def qemu_version(program: str = PROGRAM) -> str:
    """QEMU's own words about its version."""
    return first_line((find_qemu(program), "--version"))


def command_line(board: Qemu, elf: Path, trace: Path | None = None) -> list[str]:
    """The call of QEMU; its UART is a connected socket that it inherits.

    The file `trace` gets a line for every block of code that is translated or executed.
    """
    traced = () if trace is None else ("-d", "exec,nochain,in_asm", "-D", str(trace))
    return [
        find_qemu(board.program),
        *(
            "-M",
            board.machine,
            *board.options,
            "-nodefaults",
            "-display",
            "none",
            "-monitor",
            "none",
        ),
        *("-icount", f"shift={board.icount_shift}"),
        *(word for _ in range(board.serial) for word in ("-serial", "null")),
        *("-chardev", f"socket,id=uart,fd={_SERIAL_DESCRIPTOR}", "-serial", "chardev:uart"),
        *("-kernel", str(elf)),
        *traced,
    ]


class QemuPipe(DescriptorPipe):
    """A `Pipe` to a firmware under QEMU. `timeout` counts seconds of the wall clock."""

    def __init__(
        self, board: Qemu, elf: Path, timeout: float | None = 1.0, trace: Path | None = None
    ) -> None:
        if not elf.is_file():
            raise DeviceError(f"cannot run {elf}: there is no such file; build it first")
        self._name = f"{board.program} -M {board.machine}"
        ours, theirs = socket.socketpair()
        self._socket = ours
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the pipe
        try:
            with theirs:
                self._keeper = subprocess.Popen(
                    ["sh", "-c", _KEEPER, "sh", *command_line(board, elf, trace)],
                    stdin=subprocess.PIPE,
                    stdout=theirs.fileno(),
                    stderr=self._words,
                )
        except (OSError, ToolchainError) as error:
            ours.close()
            self._words.close()
            if isinstance(error, ToolchainError):
                raise
            raise DeviceError(f"cannot start {self._name}: {error.strerror}") from error
        super().__init__(ours.fileno(), ours.fileno(), self._gone, timeout)

    def close(self) -> None:
        """End QEMU; harmless when repeated."""
        self._end()
        self._socket.close()
        self._words.close()

    def _end(self) -> None:
        if self._keeper.stdin is not None:
            with contextlib.suppress(OSError):
                self._keeper.stdin.close()
        try:
            self._keeper.wait(timeout=_LEAVE_S)
        except subprocess.TimeoutExpired:
            self._keeper.kill()
            self._keeper.wait()

    def _gone(self) -> DeviceError:
        self._end()
        self._words.seek(0)
        lines = self._words.read().decode(errors="replace").strip().splitlines()
        said = " | ".join(line.strip() for line in lines[-3:]) or "without a message"
        return DeviceError(f"{self._name} ended: {said}")
