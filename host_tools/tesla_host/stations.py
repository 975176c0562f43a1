"""From a workbench and what the user asked for to the boards that share the work.

In: names of ports, or how many boards of the workbench's target. Out: stations to connect to.
"""

from collections.abc import Callable, Sequence

from tesla_embed.errors import ConfigError
from tesla_embed.ir.graph import Model
from tesla_embed.ir.store import digest
from tesla_host.fleet import Station
from tesla_host.isolated import separate_link
from tesla_host.link.client import ExpectedModel, LinkClient
from tesla_host.link.ports import connection, is_connection, resolve
from tesla_host.targets import open_link
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

    def alone() -> LinkClient:
        return _greeted(separate_link(bench.target, device.elf, expected))

    return [Station(f"{bench.target} {number + 1}", alone) for number in range(boards)]


def _greeted(client: LinkClient) -> LinkClient:
    try:
        client.hello()
    except BaseException:
        client.close()
        raise
    return client
