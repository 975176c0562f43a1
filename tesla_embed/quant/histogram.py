"""Where to clip an activation: ranges that leave out the rare extremes of a histogram.

In: counts of values in equal bins. Out: the ends of a range. A clipped value is off by as much as
it lies outside; a wide range makes every other value coarse. NumPy only.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tesla_embed.quant.rounding import activation_quantization

BINS = 2048
"""Eight bins to each step of an int8 activation that covers all of them."""
_SHARES = np.linspace(0.02, 1.0, 50)
"""Shares of an end that are tried as the clip."""


@dataclass(slots=True, eq=False)
class Histogram:
    """Counts `[BINS]` of values between `low` and `high`; values outside count at the ends."""

    low: float
    high: float
    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def add(self, values: npt.NDArray[np.float64]) -> None:
        """Count all elements of an array."""
        width = (self.high - self.low) / BINS
        if width > 0:
            places = np.clip((values.reshape(-1) - self.low) / width, 0, BINS - 1)
            self.counts += np.bincount(places.astype(np.int64), minlength=BINS)

    @property
    def centres(self) -> npt.NDArray[np.float64]:
        """The middle of every bin."""
        return self.low + (np.arange(BINS) + 0.5) * (self.high - self.low) / BINS

    def percentile(self, percent: float) -> tuple[float, float]:
        """The range without what lies above that percentile, nor as much at the lower end.

        To within a bin, outwards.
        """
        total = int(self.counts.sum())
        outside = total * (100.0 - percent) / 100.0
        width = (self.high - self.low) / BINS
        below, above = np.cumsum(self.counts), np.cumsum(self.counts[::-1])
        first = int(np.searchsorted(below, outside, "right"))
        last = int(np.searchsorted(above, outside, "right"))
        if total == 0 or first + last >= BINS:
            return self.low, self.high
        return self.low + first * width, self.high - last * width

    def least_error(self) -> tuple[float, float]:
        """The range whose int8 steps have the smallest squared error over the counts.

        The ends are searched for one after the other, each as a share of the whole range's; the
        whole range is among the candidates.
        """
        low, high = min(self.low, 0.0), max(self.high, 0.0)
        for _ in range(2):
            highs = [high_ for share in _SHARES if (high_ := share * max(self.high, 0.0)) > 0]
            high = min(highs, key=lambda end: self.error(low, end), default=high)
            lows = [low_ for share in _SHARES if (low_ := share * min(self.low, 0.0)) < 0]
            low = min(lows, key=lambda end: self.error(end, high), default=low)
        return low, high

    def error(self, low: float, high: float) -> float:
        """Sum of squared errors when int8 covers `low` to `high`."""
        q = activation_quantization(low, high)
        centres = self.centres
        integers = np.clip(np.rint(centres / q.scale) + q.zero_point, -128, 127)
        real = (integers - q.zero_point) * q.scale
        return float((self.counts * np.square(centres - real)).sum())
