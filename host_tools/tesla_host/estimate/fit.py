"""Coefficients of cost models: least squares over measured layers.

In: observations of one kernel on one CPU by one compiler. Out: instructions for each thing that its
cost model counts, never less than none: that leaves most counts that explain nothing at zero, and
keeps two that always come together from cancelling each other out. Errors are relative, so that
small layers matter as much as large ones. Where whole numbers explain every observation exactly,
whole numbers are the result.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tesla_codegen.cost.counts import Counts
from tesla_host.estimate.measure import Observation

FLOOR = 1000.0
"""Instructions: errors of smaller layers are taken in shares of this."""
_ROUNDS = 300
_ENOUGH = 1e-9
SMALL = 2e-3
"""How much a solution is asked to be small: little, since counts have no noise."""
_DIGITS = 6

Float = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Coefficients by name, and how well they explain what they were fitted to.

    Errors are shares of the instructions measured, or of `FLOOR`. `spread` is how far instructions
    were off the mean of several inputs, at most: what depends on data. `exact`: no rest at all.
    """

    coefficients: dict[str, float]
    observations: int
    worst: float
    median: float
    spread: float
    exact: bool


def predict(coefficients: dict[str, float], counts: Counts) -> float:
    """Instructions of a layer."""
    return sum(coefficients.get(name, 0.0) * times for name, times in counts.items())


def relative_error(predicted: float, measured: float) -> float:
    """The error as a share of what was measured, or of `FLOOR` where that is more."""
    return (predicted - measured) / max(measured, FLOOR)


def fit(observations: Sequence[Observation]) -> Fit:
    """The coefficients of one kernel."""
    names = sorted({name for o in observations for name in o.counts})
    matrix = np.array([[o.counts.get(name, 0) for name in names] for o in observations], float)
    measured = np.array([float(np.mean(o.instructions)) for o in observations])
    weights = 1 / np.maximum(measured, FLOOR)
    dear = np.array([_dearness(name) for name in names])
    found = nonnegative(matrix * weights[:, None], measured * weights, dear)
    whole = np.rint(found)
    exact = bool(np.array_equal(matrix @ whole, measured))
    found = whole if exact else found
    errors = np.abs(matrix @ found - measured) * weights
    spreads = [
        float(np.ptp(o.instructions)) / 2 / max(float(np.mean(o.instructions)), FLOOR)
        for o in observations
    ]
    coefficients = {
        name: float(f"{value:.{_DIGITS}g}")
        for name, value in zip(names, found, strict=True)
        if value
    }
    return Fit(
        coefficients=coefficients,
        observations=len(observations),
        worst=float(errors.max()),
        median=float(np.median(errors)),
        spread=max(spreads),
        exact=exact,
    )


def _dearness(name: str) -> float:
    """What does not grow with the rounds of a loop is taken only if rounds do not explain it: of
    two counts that came together in all measurements, the one that grows is the better guess."""
    if name.endswith((" at all", " > 1", " >= 4")) or " rest " in name:
        return 20.0
    return 4.0 if name.endswith("/4") else 1.0


def nonnegative(matrix: Float, target: Float, dearness: Float | None = None) -> Float:
    """Least squares without negative numbers, by Lawson and Hanson's active sets (1974).

    Columns are brought to one length, so that none drowns; of all solutions that explain equally
    well the smallest is found, where some columns may be dearer than others.
    """
    lengths = np.sqrt((matrix**2).sum(axis=0))
    dear = np.ones(matrix.shape[1]) if dearness is None else dearness
    scaled = np.concatenate([matrix / lengths, SMALL * np.diag(dear)])
    target = np.concatenate([target, np.zeros(matrix.shape[1])])
    inside = np.zeros(scaled.shape[1], bool)
    found = np.zeros(scaled.shape[1])
    for _ in range(_ROUNDS):
        gradient = np.where(inside, -np.inf, scaled.T @ (target - scaled @ found))
        if inside.all() or gradient.max() < _ENOUGH:
            break
        inside[int(gradient.argmax())] = True
        trial = _on(scaled, target, inside)
        while trial[inside].min() <= 0:
            falling = inside & (trial <= 0)
            step = (found[falling] / (found[falling] - trial[falling])).min()
            found = found + step * (trial - found)
            inside &= found > _ENOUGH
            found[~inside] = 0
            trial = _on(scaled, target, inside)
        found = trial
    solution: Float = found / lengths
    return solution


def _on(matrix: Float, target: Float, columns: npt.NDArray[np.bool_]) -> Float:
    """Ordinary least squares with some of the columns, zeros elsewhere."""
    found = np.zeros(matrix.shape[1])
    if columns.any():
        found[columns] = np.linalg.lstsq(matrix[:, columns], target, rcond=1e-10)[0]
    return found
