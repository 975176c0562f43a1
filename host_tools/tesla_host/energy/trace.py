"""The export of a current probe, read line by line.

In: a file of text, of any size and origin. Out: a `Trace`. Refuses, with `ConfigError` that names
the file and the line: no header, a line that lacks columns or holds no numbers, time that does not
grow, a marker that was not recorded, and more samples than a computer should be asked to hold.
"""

import math
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from tesla_embed.errors import ConfigError
from tesla_host.energy.columns import Layout, read_header

MOST_SAMPLES = 30_000_000
"""Five minutes of 100,000 samples a second."""
_MOST_LINE = 4096
_HEADER_LINES = 64
_STATES = {"0": 0, "1": 1, "X": 1, "x": 1}
"""A marker's texts; X: both within one sample."""
_PROGRESS_LINES = 100_000
_MOST_SECONDS, _MOST_WATTS = 1e11, 1e6
"""Any clock's count of seconds, and more than any board takes: sums of these are finite."""

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """`time_s` (growing), `power_w` and `marker` of each sample, all `[N]`."""

    time_s: Float64
    power_w: Float64
    marker: npt.NDArray[np.bool_]

    @property
    def period_s(self) -> float:
        """The usual time between two samples."""
        return float(np.median(np.diff(self.time_s)))


def read_trace(
    path: Path,
    *,
    volts: float | None = None,
    marker: str | None = None,
    observer: Callable[[float], None] = lambda share: None,
) -> Trace:
    """Read an export; `volts` is the supply where the file has no column of voltage.

    `observer` hears which share of the file is read. Raises `ConfigError`.
    """
    if volts is not None and not (math.isfinite(volts) and volts > 0):
        raise ConfigError(f"--volts {volts}: give the supply's voltage, such as 3.3")
    try:
        size = max(1, path.stat().st_size)
        with path.open(encoding="utf-8", errors="replace", newline=None) as file:
            lines = _lines(file, path)
            layout, first = _header(lines, path, marker)
            if layout.voltage is None and volts is None:
                raise ConfigError(f"{path}: has no column of voltage; give --volts, such as 3.3")
            return _read(lines, path, layout, volts, lambda: observer(_share(file, size)), first)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; check the path") from error


def _share(file: IO[str], size: int) -> float:
    return min(1.0, file.buffer.tell() / size) if hasattr(file, "buffer") else 0.0


def _lines(file: IO[str], path: Path) -> Iterator[tuple[int, str]]:
    """Lines with their numbers; empty ones are left out."""
    number = 0
    while line := file.readline(_MOST_LINE):
        number += 1
        if len(line) >= _MOST_LINE:
            raise ConfigError(f"{path}: line {number} is longer than any probe's; is it a CSV?")
        if line.strip():
            yield number, line


def _header(lines: Iterator[tuple[int, str]], path: Path, marker: str | None) -> tuple[Layout, int]:
    for number, line in lines:
        try:
            layout = read_header(line, marker)
        except ConfigError as error:
            raise ConfigError(f"{path}, line {number}: {error}") from error
        if layout is not None:
            return layout, number
        if number >= _HEADER_LINES:
            break
    raise ConfigError(
        f"{path}: no line names columns of time and current; export with a header, such as "
        "Timestamp(ms),Current(uA),D0"
    )


def _read(
    lines: Iterator[tuple[int, str]],
    path: Path,
    layout: Layout,
    volts: float | None,
    tell: Callable[[], None],
    header: int,
) -> Trace:
    time, power, marker = array("d"), array("d"), bytearray()
    last = -math.inf
    for number, line in lines:
        if line.startswith("#"):
            continue
        try:
            now, watts, high = _sample(line, layout, volts)
        except ValueError as error:
            raise ConfigError(f"{path}, line {number}: {error}; export it again") from error
        if now <= last:
            raise ConfigError(f"{path}, line {number}: time goes from {last:g} s to {now:g} s")
        last = now
        time.append(now)
        power.append(watts)
        marker.append(high)
        if len(time) > MOST_SAMPLES:
            raise ConfigError(
                f"{path}: more than {MOST_SAMPLES:,} samples; export the part with the inferences"
            )
        if len(time) % _PROGRESS_LINES == 0:
            tell()
    if len(time) < 3:
        raise ConfigError(f"{path}: {len(time)} samples after the header in line {header}")
    return Trace(
        np.frombuffer(time, np.float64),
        np.frombuffer(power, np.float64),
        np.frombuffer(bytes(marker), np.uint8).astype(np.bool_),
    )


def _sample(line: str, layout: Layout, volts: float | None) -> tuple[float, float, int]:
    """Seconds, watts and the marker's state of one line. Raises `ValueError`."""
    cells = line.rstrip("\r\n").split(layout.delimiter)
    if len(cells) < layout.width:
        raise ValueError(f"{len(cells)} columns, the header has {layout.width}")
    now = _number(cells[layout.time], layout) * layout.time_factor
    current = _number(cells[layout.current], layout) * layout.current_factor
    voltage = volts
    if layout.voltage is not None and voltage is None:
        voltage = _number(cells[layout.voltage], layout) * layout.voltage_factor
    assert voltage is not None
    text = cells[layout.marker].strip().strip('"')
    if layout.marker_bit is not None:
        text = text[layout.marker_bit : layout.marker_bit + 1]
    elif text not in _STATES:
        text = f"{_number(text, layout):g}"
    if text not in _STATES:
        raise ValueError(f"the marker is {text!r}, not 0 or 1: was this input recorded?")
    watts = current * voltage
    if abs(now) > _MOST_SECONDS or abs(watts) > _MOST_WATTS:
        raise ValueError(f"{watts:g} W at {now:g} s is no measurement of a board")
    return now, watts, _STATES[text]


def _number(text: str, layout: Layout) -> float:
    word = text.strip().strip('"')
    if layout.delimiter != ",":
        word = word.replace(",", ".")
    value = float(word)
    if not math.isfinite(value):
        raise ValueError(f"{word} is no number")
    return value
