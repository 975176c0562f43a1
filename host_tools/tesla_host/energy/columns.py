"""What the columns of a current probe's export mean: one row of data for each way to name them.

In: the words of a header. Out: which column holds what, and the factor that makes it SI. Refuses,
with `ConfigError`, units that it does not know, a header without time or current, and a marker that
is not there. Names are compared without case; a unit stands in brackets behind the name.

The rows cover Nordic's Power Profiler (`Timestamp(ms),Current(uA),D0-D7` or `D0,D1,...`),
Joulescope (`#time (s),current (A),voltage (V)` and `#time,current,voltage,...`), and tables with
plain names such as `time[s];current[mA];marker`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from tesla_embed.errors import ConfigError


class Holds(StrEnum):
    """What a column holds."""

    TIME = "time"
    CURRENT = "current"
    VOLTAGE = "voltage"


@dataclass(frozen=True, slots=True)
class Quantity:
    """Names of a quantity's column, and the factor of each unit; the first is taken if none is
    given."""

    holds: Holds
    names: tuple[str, ...]
    units: tuple[tuple[str, float], ...]


QUANTITIES = (
    Quantity(
        Holds.TIME,
        ("time", "timestamp", "t"),
        (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)),
    ),
    Quantity(
        Holds.CURRENT,
        ("current", "i"),
        (("a", 1.0), ("ma", 1e-3), ("ua", 1e-6), ("na", 1e-9)),
    ),
    Quantity(
        Holds.VOLTAGE,
        ("voltage", "v", "u"),
        (("v", 1.0), ("mv", 1e-3), ("uv", 1e-6)),
    ),
)

MARKERS = (
    "marker",
    "digital",
    "gpio",
    *(f"d{n}" for n in range(8)),
    *(f"gpi{n}" for n in range(4)),
)
"""Columns of one digital input: 0 or 1."""
BITS = "d0-d7"
"""A column of eight digital inputs as eight characters, D0 first."""
BIT_NAMES = tuple(f"d{n}" for n in range(8))
DELIMITERS = (",", ";", "\t")
_BRACKETS = str.maketrans("[]", "()")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where a file's values stand: indices of columns, and factors to s, A and V.

    `voltage` is `None` where there is none. The marker is the character `marker_bit` of column
    `marker`, or all of it where `marker_bit` is `None`. `width` is the number of columns.
    """

    delimiter: str
    time: int
    time_factor: float
    current: int
    current_factor: float
    voltage: int | None
    voltage_factor: float
    marker: int
    marker_bit: int | None
    width: int


def read_header(line: str, marker: str | None) -> Layout | None:
    """The layout that a line announces; `None` if it is no header.

    `marker` names a column; by default D0, or the only one there is. Raises `ConfigError`.
    """
    for delimiter in DELIMITERS:
        cells = [_cell(word) for word in line.strip().split(delimiter)]
        found = {q.holds: _find(q, cells) for q in QUANTITIES}
        time, current = found[Holds.TIME], found[Holds.CURRENT]
        if time is None or current is None:
            continue
        voltage = found[Holds.VOLTAGE] or (None, 1.0)
        at, bit = _marker([name for name, _ in cells], marker)
        return Layout(
            delimiter=delimiter,
            time=time[0],
            time_factor=time[1],
            current=current[0],
            current_factor=current[1],
            voltage=voltage[0],
            voltage_factor=voltage[1],
            marker=at,
            marker_bit=bit,
            width=len(cells),
        )
    return None


def _cell(word: str) -> tuple[str, str]:
    """Name and unit of a header's cell, in lower case."""
    text = word.strip().strip('"').strip().removeprefix("#").translate(_BRACKETS)
    name, opened, rest = text.partition("(")
    unit, closed, behind = rest.partition(")")
    if ")" in name or "(" in unit or behind or bool(opened) != bool(closed):
        return word.strip().lower(), ""
    unit = unit.replace("µ", "u").replace("μ", "u")
    return name.strip().lower(), unit.strip().lower()


def _find(quantity: Quantity, cells: Sequence[tuple[str, str]]) -> tuple[int, float] | None:
    """The first column of a quantity, and its factor."""
    for index, (name, unit) in enumerate(cells):
        if name in quantity.names:
            factors = dict(quantity.units)
            if unit and unit not in factors:
                known = ", ".join(factors)
                raise ConfigError(f"unit {unit!r} of {name!r} is not known; use one of {known}")
            return index, factors[unit] if unit else quantity.units[0][1]
    return None


def _marker(names: Sequence[str], wanted: str | None) -> tuple[int, int | None]:
    """Column of the marker, and its character in a column of bits."""
    choices: dict[str, tuple[int, int | None]] = {}
    for index, name in enumerate(names):
        if name == BITS:
            choices |= {bit: (index, at) for at, bit in enumerate(BIT_NAMES)}
        elif name in MARKERS or (wanted is not None and name == wanted.lower()):
            choices[name] = (index, None)
    name = wanted.lower() if wanted is not None else "d0"
    if wanted is None and len(choices) == 1:
        (name,) = choices
    if name not in choices:
        known = ", ".join(choices) or "none at all"
        raise ConfigError(
            f"no marker {name!r} among the columns (digital ones: {known}); name one with "
            "--marker, and record the pin that the firmware raises while it infers"
        )
    return choices[name]
