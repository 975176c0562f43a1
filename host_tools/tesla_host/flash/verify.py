"""Ask a board, after it was flashed, whether it runs what was written.

In: the ELF and the serial port. Out: the port that answered. Raises `WrongFirmware` when another
firmware answers, and `DeviceError` when none does.
"""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Section, Symbol, SymbolTableSection

from tesla_embed.errors import DeviceError, ToolchainError, WrongFirmware
from tesla_host.apps import LINK, MLPERF_TINY, App
from tesla_host.link.ports import connection, probe_all
from tesla_host.targets import open_target

_DIGEST_BYTES = 32
_SHORT_BYTES = 8
"""How much of the digest MLPerf Tiny's `name` tells."""
_PATIENCE_S = 15.0
_ANSWER_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a firmware says of itself: its model, and which application answers."""

    model: str
    digest: bytes
    app: App


def read_identity(elf: Path) -> Identity:
    """Find the model's digest in an ELF. Raises `ToolchainError` when it holds none."""
    with elf.open("rb") as stream:
        file = ELFFile(stream)
        table = file.get_section_by_name(".symtab")
        symbols = list(table.iter_symbols()) if isinstance(table, SymbolTableSection) else []
        app = MLPERF_TINY if any(s.name == "tesla_mlperf_start" for s in symbols) else LINK
        for symbol in symbols:
            match = re.fullmatch(r"tesla_(\w+)_digest", symbol.name)
            if match and symbol["st_size"] == _DIGEST_BYTES:
                digest = _content(file.get_section(symbol["st_shndx"]), symbol)
                return Identity(model=match[1], digest=digest, app=app)
    raise ToolchainError(f"{elf} does not tell which model it holds; flash it with --no-verify")


def verify_board(identity: Identity, port: str | None, patience_s: float = _PATIENCE_S) -> str:
    """Ask on `port`, or on every USB serial port, until the firmware answers or patience ends."""
    deadline = time.monotonic() + patience_s
    other: WrongFirmware | None = None
    reason = "no answer"
    asked: Sequence[str] = ()
    while True:
        asked = [port] if port is not None else _usb_ports()
        for name, answer in _ask_all(identity, asked):
            if answer is None:
                return name
            if isinstance(answer, WrongFirmware):
                other = answer
            else:
                reason = str(answer)
        if time.monotonic() >= deadline:
            break
        time.sleep(0.2)
    if other is not None:
        raise other
    if not asked:
        raise DeviceError("written, but there is no USB serial port to ask; give --port")
    raise DeviceError(f"written, but nothing answered on {' or '.join(asked)}: {reason}")


def _ask_all(identity: Identity, ports: Sequence[str]) -> Iterator[tuple[str, DeviceError | None]]:
    """What each port answers: nothing to complain of, another firmware, or no answer."""
    if identity.app is MLPERF_TINY:
        for port in ports:
            try:
                _ask_name(identity, port)
            except DeviceError as error:
                yield port, error
            else:
                yield port, None
        return
    for port, found in zip(ports, probe_all([connection(port) for port in ports]), strict=True):
        if found.hello is None:
            yield port, DeviceError(found.reason)
        elif found.hello.digest == identity.digest:
            yield port, None
        else:
            yield (
                port,
                WrongFirmware(
                    f"{port} {found.reason}, not {identity.model} ({identity.digest.hex()[:12]}); "
                    "flash it again"
                ),
            )


def _ask_name(identity: Identity, port: str) -> None:
    """Ask a firmware that speaks MLPerf Tiny's protocol. Raises `DeviceError`."""
    pipe = open_target(connection(port))
    try:
        pipe.write(b"%name%")
        said = b""
        end = time.monotonic() + _ANSWER_S
        while time.monotonic() < end and b"m-name-dut-[" not in said.rpartition(b"]")[0]:
            pipe.timeout = _ANSWER_S / 4
            said += pipe.read(max(1, pipe.in_waiting))
    finally:
        pipe.close()
    match = re.search(rb"m-name-dut-\[[^]]* ([0-9a-f]+)\]", said)
    if match is None:
        raise DeviceError(f"{port} does not speak MLPerf Tiny's protocol")
    if match[1].decode() != identity.digest[:_SHORT_BYTES].hex():
        raise WrongFirmware(
            f"{port} runs the model {match[1].decode()}, not {identity.model} "
            f"({identity.digest[:_SHORT_BYTES].hex()}); flash it again"
        )


def _usb_ports() -> list[str]:
    from serial.tools.list_ports import comports

    return [port.device for port in comports() if port.vid is not None]


def _content(section: Section, symbol: Symbol) -> bytes:
    start = symbol["st_value"] - section["sh_addr"]
    data: bytes = section.data()[start : start + symbol["st_size"]]
    return data
