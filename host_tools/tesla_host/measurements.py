"""The file that a profile's measurements go to, one line each, as soon as they are made.

In: records. Out: those that an interrupted run left. The first line says what was measured, on what
and with which samples; a file of anything else is refused (`ConfigError`), and so is a damaged
line. A last line that is cut short is dropped: there the run was interrupted.

Each line is a JSON object with a record and the CRC-32 of its text, in this order:
`{"crc":"0a1b2c3d","record":{...}}`.
"""

import contextlib
import hashlib
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import msgspec

from tesla_embed.errors import ConfigError
from tesla_host.jobs import Probe, Record, Sample

SCHEMA = "tesla-embed/measurements/1"
_OPENING, _MIDDLE, _CLOSING = b'{"crc":"', b'","record":', b"}\n"


class Header(msgspec.Struct, kw_only=True, frozen=True, tag="header"):
    """What every record of a file belongs to.

    `digest` is the model's, `firmware` the SHA-256 of what was loaded (its version where the board
    had it already), `inputs` the SHA-256 of all inputs that go through the link.
    """

    schema: str = SCHEMA
    model: str
    digest: str
    target: str
    firmware: str
    board: str
    cpu: str
    counters: list[tuple[str, int]]
    inputs: str
    samples: int
    runs: int


_MEANING = {
    "schema": "written by another version of this tool",
    "model": "of another model",
    "digest": "of another model of the same name",
    "target": "of another target",
    "firmware": "of another build of the firmware",
    "board": "of another board",
    "cpu": "of another CPU",
    "counters": "of a board with other counters",
    "inputs": "of other samples",
    "samples": "of another number of samples",
    "runs": "of another number of runs",
}


def fingerprint(inputs: Sequence[bytes]) -> str:
    """SHA-256 of inputs of one size."""
    return hashlib.sha256(b"".join(inputs)).hexdigest()


class Measurements:
    """A growing file of records. Raises `ConfigError` if it is another run's, damaged or in use."""

    def __init__(self, path: Path, header: Header) -> None:
        self.path = path
        try:
            self._file = path.open("a+b", buffering=0)
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}; check the path") from error
        try:
            self._lock()
            self.records = self._read(header)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "Measurements":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def append(self, record: Record) -> None:
        """Add a record; it is in the file when this returns, whatever happens to the process."""
        self._write(record)
        self.records.append(record)

    def _write(self, record: Record | Header) -> None:
        line = _line(record)
        try:
            written = self._file.write(line)
        except OSError as error:
            raise ConfigError(f"cannot write {self.path}: {error.strerror}") from error
        if written != len(line):
            raise ConfigError(f"cannot write {self.path}: no space left")

    def _lock(self) -> None:
        """Refuse a file that another process appends to, where the system has locks."""
        with contextlib.suppress(ImportError):
            import fcntl

            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ConfigError(
                    f"{self.path}: another profile writes to it; wait for it, or name another file"
                ) from error

    def _read(self, header: Header) -> list[Record]:
        self._file.seek(0)
        content = self._file.read()
        whole = content[: content.rfind(b"\n") + 1]
        if not whole:
            if not _line(header).startswith(content):
                raise ConfigError(f"{self.path}: no measurements of ours; name another file")
            self._file.truncate(0)
            self._write(header)
            return []
        first, *rest = whole.splitlines(keepends=True)
        self._check(header, first)
        records = [self._decode(line, number) for number, line in enumerate(rest, start=2)]
        self._file.truncate(len(whole))  # only of a file that is ours
        return records

    def _check(self, header: Header, line: bytes) -> None:
        try:
            found = msgspec.json.decode(_payload(line), type=Header)
        except (ValueError, msgspec.DecodeError) as error:
            raise ConfigError(f"{self.path}: no measurements of ours; name another file") from error
        for field, meaning in _MEANING.items():
            if getattr(found, field) != getattr(header, field):
                raise ConfigError(
                    f"{self.path}: holds measurements {meaning} ({field} is "
                    f"{getattr(found, field)}, not {getattr(header, field)}); delete it, or name "
                    "another file"
                )

    def _decode(self, line: bytes, number: int) -> Record:
        try:
            return msgspec.json.decode(_payload(line), type=Probe | Sample)
        except (ValueError, msgspec.DecodeError) as error:
            raise ConfigError(
                f"{self.path}: line {number} is damaged ({error}); delete the file, or that line"
            ) from error


def _line(record: Record | Header) -> bytes:
    text = msgspec.json.encode(record)
    return _OPENING + b"%08x" % zlib.crc32(text) + _MIDDLE + text + _CLOSING


def _payload(line: bytes) -> bytes:
    """The record's text; raises `ValueError` unless the line is exactly as `_line` makes it."""
    start = len(_OPENING) + 8 + len(_MIDDLE)
    text = line[start : -len(_CLOSING)]
    if line != _OPENING + b"%08x" % zlib.crc32(text) + _MIDDLE + text + _CLOSING:
        raise ValueError("its CRC is wrong")
    return text
