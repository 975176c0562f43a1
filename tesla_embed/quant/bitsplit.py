"""Weights of few bits by Bit-Split and stitching, for all operating regions at once.

In: the float weights of a layer, and for every region second moments of what enters the layer.
Out: integer weights of M bits and a scale for each output channel. An integer from -(2**(M-1) - 1)
to 2**(M-1) - 1 is a sum of ternary bit planes, q = Σ_m 2**m b_m with b_m in {-1, 0, 1}; one plane
after another is optimised while the others stand, coordinate by coordinate, then the scale in
closed form (Wang et al., "Towards Accurate Post-training Network Quantization via Bit-Split and
Stitching", ICML 2020, sections 3.2 and 3.3: min ‖Y - X α q‖²). Here Y = X_float w is what the float
network computes, X what the quantised network sees, and the errors of all regions are summed, each
in proportion to the power of its own Y, so that one set of weights serves them all.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
_ROUNDS = 8
"""Passes over all planes at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Centred second moments of a layer's inputs in one region, over samples and positions.

    `columns` are the places of the active terms in a full row of weights. `seen` `[k, k]` is the
    covariance of what the quantised network sees there, `cross` `[k, k]` that with what the float
    network sees, `plain` `[k, k]` that of the latter alone; `rows` counts the active output
    channels, which lead. Centred, because a bias of the region's own takes care of the mean.
    """

    dp: int
    columns: npt.NDArray[np.intp]
    rows: int
    seen: Floats
    cross: Floats
    plain: Floats

    def power(self, weights: Floats) -> float:
        """Variance of the float outputs of full `weights` `[out, full]`, summed over outputs."""
        active = weights[: self.rows][:, self.columns]
        return float(_form(active, self.plain, active).sum())


def split_bits(
    weights: Floats, moments: Sequence[Moments], bits: int
) -> tuple[npt.NDArray[np.int8], Floats]:
    """Integers `[out, k]` and scales `[out]` for float `weights` `[out, k]`.

    A row counts in the regions where its channel is active.
    """
    integers = np.zeros(weights.shape, np.int8)
    scales = np.ones(len(weights))
    powers = [(m, m.power(weights)) for m in moments]
    counted = [(m, 1.0 / power) for m, power in powers if power > 0.0]
    bounds = sorted({0, len(weights), *(m.rows for m in moments)})
    for start, stop in itertools.pairwise(bounds):
        rows = slice(start, stop)
        active = [(m, share) for m, share in counted if m.rows > start]
        gram, target = _normal_equations(
            weights[rows], [m for m, _ in active], [share for _, share in active]
        )
        integers[rows], scales[rows] = _solve(weights[rows], gram, target, bits)
    return integers, scales


def lost_power(weights: Floats, rounded: Floats, moments: Moments) -> float:
    """Variance of the outputs' error when `rounded` `[out, full]` takes the place of `weights`."""
    w = weights[: moments.rows][:, moments.columns]
    q = rounded[: moments.rows][:, moments.columns]
    error = _form(q, moments.seen, q) - 2 * _form(q, moments.cross, w) + _form(w, moments.plain, w)
    return max(0.0, float(error.sum()))


def own_scales(
    weights: Floats, integers: npt.NDArray[np.int8], scales: Floats, moments: Moments
) -> Floats:
    """The best scales `[active out]` of given integers in one region, where they may differ.

    α = q·c / qᵀGq in closed form, at most a factor of two from the common scale.
    """
    w = weights[: moments.rows][:, moments.columns]
    q = integers[: moments.rows][:, moments.columns].astype(np.float64)
    power, agreement = _form(q, moments.seen, q), _form(q, moments.cross, w)
    common = scales[: moments.rows]
    usable = power > 1e-9 * max(float(power.max(initial=0.0)), 1e-300)
    best = np.where(usable, agreement / np.where(usable, power, 1.0), common)
    return np.clip(best, common / 2, common * 2)


def _form(left: Floats, middle: Floats, right: Floats) -> Floats:
    """lᵀ M r for each row of `left` `[out, k]` and `right` `[out, k]`."""
    rows: Floats = ((left @ middle) * right).sum(axis=1)
    return rows


def _normal_equations(
    weights: Floats, moments: Sequence[Moments], shares: Sequence[float]
) -> tuple[Floats, Floats]:
    """G `[k, k]` and c `[out, k]` of the summed error αq G αq - 2 αq c + constant."""
    size = weights.shape[1]
    gram, target = np.zeros((size, size)), np.zeros(weights.shape)
    for m, share in zip(moments, shares, strict=True):
        gram[np.ix_(m.columns, m.columns)] += share * m.seen
        target[:, m.columns] += share * (weights[:, m.columns] @ m.cross.T)
    # Terms that never vary have no say; a little weight on plain rounding decides about them.
    damping = 1e-4 * float(np.diag(gram).mean()) or 1.0
    gram[np.diag_indices(size)] += damping
    return gram, target + damping * weights


def _solve(
    weights: Floats, gram: Floats, target: Floats, bits: int
) -> tuple[npt.NDArray[np.int8], Floats]:
    largest = 2 ** (bits - 1) - 1
    scale = _first_scale(weights, gram, target, largest)
    planes = _planes(np.clip(np.rint(weights / scale[:, None]), -largest, largest), bits)
    best = np.full(len(weights), np.inf)
    kept = np.zeros(weights.shape), scale.copy()
    for _ in range(_ROUNDS):
        q = _stitched(planes)
        power, agreement = _form(q, gram, q), (q * target).sum(axis=1)
        usable = (power > 0) & (agreement > 0)
        scale = np.where(usable, agreement / np.where(usable, power, 1.0), scale)
        cost = scale**2 * power - 2 * scale * agreement
        better = cost < best
        if not better.any():
            break
        best = np.where(better, cost, best)
        kept[0][better], kept[1][better] = q[better], scale[better]
        _descend(planes, scale, gram, target)
    return kept[0].astype(np.int8), kept[1]


def _first_scale(weights: Floats, gram: Floats, target: Floats, largest: int) -> Floats:
    """The best of some clippings of plain rounding, for each row."""
    peak = np.maximum(np.abs(weights).max(axis=1), 1e-30)
    best = np.full(len(weights), np.inf)
    chosen: Floats = peak / largest
    for share in np.linspace(0.4, 1.0, 13):
        scale = share * peak / largest
        q = np.clip(np.rint(weights / scale[:, None]), -largest, largest) * scale[:, None]
        cost = _form(q, gram, q) - 2 * (q * target).sum(axis=1)
        better = cost < best
        best = np.where(better, cost, best)
        chosen = np.where(better, scale, chosen)
    return chosen


def _planes(q: Floats, bits: int) -> Integers:
    """Ternary planes `[bits - 1, out, k]` of integers, the lowest first."""
    magnitude = np.abs(q).astype(np.int64)
    sign = np.sign(q).astype(np.int64)
    return np.stack([sign * ((magnitude >> m) & 1) for m in range(bits - 1)])


def _stitched(planes: Integers) -> Floats:
    places = 2 ** np.arange(len(planes))
    whole: Floats = np.tensordot(places, planes, axes=1).astype(np.float64)
    return whole


def _descend(planes: Integers, scale: Floats, gram: Floats, target: Floats) -> None:
    """One pass over the planes, the highest first, and over the terms of each; in place."""
    residual = target - (_stitched(planes) * scale[:, None]) @ gram
    diagonal = np.diag(gram)
    for m in reversed(range(len(planes))):
        step = scale * 2.0**m
        for k in range(gram.shape[0]):
            wanted = planes[m, :, k] + residual[:, k] / (step * diagonal[k])
            chosen = np.clip(np.rint(wanted), -1, 1).astype(np.int64)
            change = chosen - planes[m, :, k]
            if change.any():
                residual -= (step * change)[:, None] * gram[k]
                planes[m, :, k] = chosen
