"""Ports: from what a user typed, or from nothing at all, to boards that run a model.

In: `/dev/ttyACM0`, `COM3`, `serial:...`, `socket://HOST:PORT`, `rfc2217://HOST:PORT`, or `auto`.
Out: a `Port`, which can be opened again after its board was plugged in anew. Refuses, with
`DeviceError`, when no board that runs the model answers.

Looking for boards is safe for other devices: a port that another program uses is left alone, and
all that is sent is HELLO, at most three times, without a byte that ends a line.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from serial.tools import list_ports

from tesla_embed.errors import DeviceError
from tesla_host.link.client import ExpectedModel, LinkClient
from tesla_host.link.pipes import Pipe, SerialPipe
from tesla_host.link.replies import Hello

AUTO = "auto"
_NETWORK = ("socket://", "rfc2217://")
_PROBE_S = 0.3
_PROBE_RETRIES = 2
_MOST_PROBES = 16

Identity = tuple[int, int, str, str]


def is_connection(name: str) -> bool:
    """Whether a target names a way to a firmware that runs already, not a row to build for."""
    return name == AUTO or name.startswith(("serial:", *_NETWORK))


def connection(port: str) -> str:
    """The target that `--port` means."""
    return port if is_connection(port) else f"serial:{port}"


class Port:
    """A serial port or socket that can be opened more than once.

    A USB device is found again by its serial number: another name, or another socket of the
    computer, is no other board.
    """

    def __init__(self, target: str, baud: int = 115_200) -> None:
        self._url = target.removeprefix("serial:")
        self._baud = baud
        self._identity: Identity | None = None

    def open(self) -> Pipe:
        """Open it. Raises `DeviceError`."""
        known = {identity: name for name, identity in _identities().items()}
        url = self._url
        if self._identity is not None:
            url = known.get(self._identity, url)
        pipe = SerialPipe(url, self._baud)
        self._identity = self._identity or _identities().get(url)
        return pipe


@dataclass(frozen=True, slots=True)
class Found:
    """What one port said: HELLO, or why there was none."""

    target: str
    hello: Hello | None
    reason: str


def candidates() -> list[str]:
    """Targets of all serial ports that have hardware behind them."""
    return sorted(f"serial:{info.device}" for info in list_ports.comports() if info.hwid != "n/a")


def probe(target: str, baud: int = 115_200) -> Found:
    """Ask one port HELLO, briefly. Raises nothing."""
    try:
        pipe = SerialPipe(target.removeprefix("serial:"), baud)
    except DeviceError as error:
        return Found(
            target, None, str(error).removesuffix("is the board plugged in, and the port free?")
        )
    try:
        hello = LinkClient(pipe, timeout_s=_PROBE_S, retries=_PROBE_RETRIES, baud=baud).hello()
    except DeviceError as error:
        return Found(target, None, "no answer" if "no answer" in str(error) else str(error))
    finally:
        pipe.close()
    return Found(target, hello, f"runs {hello.model} ({hello.digest.hex()[:12]})")


def probe_all(targets: Sequence[str], baud: int = 115_200) -> list[Found]:
    """Ask several ports at once."""
    with ThreadPoolExecutor(_MOST_PROBES) as pool:
        return list(pool.map(lambda target: probe(target, baud), targets))


def find_boards(
    expected: ExpectedModel, baud: int = 115_200, targets: Sequence[str] | None = None
) -> list[str]:
    """Targets of all boards that run the model; `targets` are asked, else all serial ports.

    Raises `DeviceError`, which tells what each port said, when there is none.
    """
    found = probe_all(candidates() if targets is None else targets, baud)
    right = [one.target for one in found if one.hello and one.hello.digest == expected.digest]
    if not right:
        said = "; ".join(f"{one.target.removeprefix('serial:')}: {one.reason}" for one in found)
        raise DeviceError(
            f"no board runs {expected.name} ({expected.digest.hex()[:12]}): "
            f"{said or 'there is no serial port'}; plug it in, load the firmware, or name the port"
        )
    return right


def resolve(targets: Sequence[str], expected: ExpectedModel, baud: int = 115_200) -> list[str]:
    """The targets, each once, with `auto` replaced by all boards that run the model."""
    named = [target for target in targets if target != AUTO]
    if AUTO in targets:
        named += find_boards(expected, baud)
    return list(dict.fromkeys(named))


def _identities() -> dict[str, Identity]:
    """What tells USB devices apart, by device name, of those that have a serial number."""
    return {
        info.device: (
            info.vid or 0,
            info.pid or 0,
            info.serial_number,
            (info.location or "").rpartition(":")[2],  # which of the device's ports it is
        )
        for info in list_ports.comports()
        if info.serial_number
    }
