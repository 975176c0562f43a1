"""Run a plan: programs as child processes that are given a time and never left behind."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tesla_embed.errors import DeviceError
from tesla_host.flash.commands import Plan
from tesla_host.flash.drives import copy_to_drive

_GRACE_S = 3.0
_POSIX = os.name == "posix"


class ProgrammerFailed(DeviceError):
    """A programmer ended with an error; `output` is all that it said."""

    def __init__(self, message: str, output: str) -> None:
        super().__init__(message)
        self.output = output


def run_plan(plan: Plan) -> None:
    """Write the firmware. Raises `DeviceError`, of a program's failure `ProgrammerFailed`."""
    if plan.drive is not None:
        copy_to_drive(plan.image.read_bytes(), plan.drive, plan.image.name)
        return
    for command in plan.commands:
        _call(command, plan.programmer.timeout_s, plan.programmer.advice)


def _call(command: Sequence[str], timeout_s: float, advice: str) -> None:
    """Run one program to its end; however this ends, the program has ended, too."""
    name = os.path.basename(command[0])  # noqa: PTH119 - a name on PATH, not a file of ours
    process: subprocess.Popen[bytes] | None = None
    try:
        with _interrupts_wait():
            # In a group of its own: what the program started itself goes with it, and Ctrl-C
            # reaches it through us, once.
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=_POSIX,
            )
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        said = _end(process) if process else ""
        raise ProgrammerFailed(f"{name} did not end within {timeout_s:g} s; {advice}", said) from (
            error
        )
    except OSError as error:
        raise DeviceError(f"cannot start {command[0]}: {error.strerror}; install it again") from (
            error
        )
    except BaseException:
        if process:
            _end(process)
        raise
    if process.returncode != 0:
        said = output.decode(errors="replace")
        raise ProgrammerFailed(f"{name} failed with status {process.returncode}; {advice}", said)


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back, so that none comes between a program's start and our knowing
    of it; they are delivered at the end."""
    if threading.current_thread() is not threading.main_thread():  # where Python delivers none
        yield
        return
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda n, _: came.append(n)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for which in came:
            signal.raise_signal(which)


def _end(process: "subprocess.Popen[bytes]") -> str:
    """End a program and what it started: kindly, then for certain. Returns what it said."""
    _signal(process, signal.SIGTERM)
    try:
        output, _ = process.communicate(timeout=_GRACE_S)
    except subprocess.TimeoutExpired:
        _signal(process, getattr(signal, "SIGKILL", signal.SIGTERM))
        process.kill()
        output, _ = process.communicate()
    return output.decode(errors="replace")


def _signal(process: "subprocess.Popen[bytes]", number: int) -> None:
    try:
        if _POSIX:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
    except ProcessLookupError:
        pass
