"""From a workbench and what the user asked for to the boards that share the work.

In: names of ports, or how many boards of the workbench's target. Out: stations to connect to.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from tesla_embed.errors import ConfigError
from tesla_embed.ir.graph import Model
from tesla_embed.ir.store import digest
from tesla_host.fleet import Station
from tesla_host.isolated import separate_link
from tesla_host.link.client import ExpectedModel, LinkClient
from tesla_host.link.ports import connection, is_connection, resolve
from tesla_host.targets import find_target, open_link
from tesla_host.workbench import Workbench


def expected_model(model: Model) -> ExpectedModel:
    """What a board must say that it runs."""
    return ExpectedModel(name=model.name, digest=bytes.fromhex(digest(model)))


def resolve_ports(model: Model, ports: Sequence[str], baud: int) -> list[str]:
    """Targets of what `--port` named; `auto` stands for every board that runs `model`."""
    return resolve([connection(port) for port in ports], expected_model(model), baud)


def stations_of(
    bench: Workbench, targets: Sequence[str], boards: int, baud: int = 115_200
) -> list[Station]:
    """One station for each of the `targets`; without any, `boards` of the workbench's target.

    Of several, each runs in a process of its own.
    """
    expected = expected_model(bench.model)

    def through(name: str) -> Callable[[], LinkClient]:
        elf = None if bench.device is None else bench.device.elf
        return lambda: _greeted(open_link(name, elf, expected, baud=baud))

    if targets:
        return [Station(name, through(name)) for name in targets]
    if boards == 1:
        return [Station(bench.target, through(bench.target))]
    if is_connection(bench.target) or bench.device is None:
        raise ConfigError(f"--boards {boards}: {bench.target} is one board; name each with --port")
    device = bench.device

    in_qemu = find_target(bench.target).qemu is not None

    def alone(number: int) -> LinkClient:
        with on_one_core(number) if in_qemu else contextlib.nullcontext():
            return _greeted(separate_link(bench.target, device.elf, expected))

    return [
        Station(f"{bench.target} {number + 1}", partial(alone, number)) for number in range(boards)
    ]


@contextlib.contextmanager
def on_one_core(number: int) -> Iterator[None]:
    """Processes that this thread starts run on one core, a different one for the next number.

    Two of QEMU's threads take turns for every byte of the UART. On one core that costs half as much
    as between two, and several emulators keep all cores busy anyway. Which core is the first
    differs from process to process. Nothing happens where the system does not let one choose.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    cores = sorted(before)
    try:
        os.sched_setaffinity(0, {cores[(os.getpid() + number) % len(cores)]})
        yield
    finally:
        os.sched_setaffinity(0, before)


def _greeted(client: LinkClient) -> LinkClient:
    try:
        client.hello()
    except BaseException:
        client.close()
        raise
    return client
