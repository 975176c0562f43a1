"""Estimated cycles where the target itself estimates none: from a trace of QEMU.

In: a firmware, what to have it do, and the instructions that it then counted. Out: cycles by the
model of `emulator.vector_timing`, or `None` for a core without a model. A trace that holds other
instructions than the firmware counted is refused with `DeviceError`.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

from tesla_embed.errors import DeviceError
from tesla_host.catalogue.cores import CORTEX_M55
from tesla_host.emulator.traces import Stretch, read_stretches
from tesla_host.link.client import LinkClient
from tesla_host.link.qemu import QemuPipe
from tesla_host.targets import Target

_READING = "tesla_board_read_counters"
_MOST_OVERHEAD = 200
"""Instructions of reading the counters and calling back, which the firmware does not count."""


def can_trace(target: Target) -> bool:
    """Whether there is a model of the target's core, and a trace."""
    return target.core == CORTEX_M55 and target.qemu is not None


def traced_layer(
    target: Target, elf: Path, prepare: Callable[[LinkClient], object], layer: int, counted: int
) -> int | None:
    """Cycles of one layer, of which the firmware counted `counted` instructions.

    `prepare` selects the region and loads the input.
    """
    if not can_trace(target):
        return None
    layers = 0

    def run(client: LinkClient) -> None:
        nonlocal layers
        prepare(client)
        layers = len(client.layer_ticks())

    stretches = _trace(target, elf, run)
    return _cycles(stretches[2 * (layer - layers)], counted)  # every other one is a reading


def traced_run(
    target: Target, elf: Path, prepare: Callable[[LinkClient], object], counted: int
) -> int | None:
    """As `traced_layer`, of a whole run."""
    if not can_trace(target):
        return None

    def run(client: LinkClient) -> None:
        prepare(client)
        client.run()

    return _cycles(_trace(target, elf, run)[-1], counted)


def _trace(target: Target, elf: Path, run: Callable[[LinkClient], object]) -> list[Stretch]:
    assert target.qemu is not None
    with tempfile.TemporaryDirectory(prefix="tesla-embed-") as folder:
        trace = Path(folder) / "trace"
        with LinkClient(QemuPipe(target.qemu, elf, trace=trace)) as client:
            run(client)
        return read_stretches(trace, elf, _READING)


def _cycles(stretch: Stretch, counted: int) -> int:
    """Without what reading the counters takes: a cycle each, as none of it is a vector's."""
    overhead = stretch.instructions - counted
    if not 0 <= overhead <= _MOST_OVERHEAD:
        raise DeviceError(
            f"QEMU traced {stretch.instructions:,} instructions where the firmware counted "
            f"{counted:,}; use another version of QEMU"
        )
    return stretch.cycles - overhead
