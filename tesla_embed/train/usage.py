"""Statistics of use: how often the devices in the field ran in each operating region.

In: a CSV file with the columns `dp` (percent) and `count`. Out: DP percentages in decreasing order
and their counts, from which R-TESLA draws its tasks. Refuses, with `ConfigError` that names the
line, everything else.
"""

import csv
import math
from pathlib import Path

from tesla_embed.errors import ConfigError

_ADVICE = "write a first line dp,count and a line such as 40,1250 for each region"


def read_usage(path: Path) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Regions (DP percent, decreasing) that were used at all, and how often each was."""
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines(), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"usage file {path} cannot be read ({error}); {_ADVICE}") from error
    if not rows or [cell.strip() for cell in rows[0]] != ["dp", "count"]:
        raise ConfigError(f"usage file {path} does not begin with dp,count; {_ADVICE}")
    counts: dict[int, float] = {}
    for line, row in enumerate(rows[1:], 2):
        if not row:
            continue
        dp, count = _parse(row, f"line {line} of usage file {path}")
        if dp in counts:
            raise ConfigError(f"line {line} of usage file {path} repeats {dp} % DP; add them up")
        counts[dp] = count
    used = {dp: count for dp, count in sorted(counts.items(), reverse=True) if count > 0}
    if not used:
        raise ConfigError(f"usage file {path} counts nothing; {_ADVICE}")
    return tuple(used), tuple(used.values())


def _parse(row: list[str], where: str) -> tuple[int, float]:
    if len(row) != 2:
        raise ConfigError(f"{where} has {len(row)} values, not 2; {_ADVICE}")
    try:
        dp, count = int(row[0]), float(row[1])
    except ValueError as error:
        raise ConfigError(f"{where}: {error}; {_ADVICE}") from error
    if not 1 <= dp <= 100:
        raise ConfigError(f"{where}: {dp} % DP is out of range; use 1 to 100")
    if not (math.isfinite(count) and count >= 0):
        raise ConfigError(f"{where}: count {row[1].strip()} is negative or no number; {_ADVICE}")
    return dp, count
