"""Fold profile and batch norm into the weights of the layer before them.

In: an incomplete layer and the batch norm that follows it, or one of the two, and a DP percentage.
Out: weights that exist once, and the gain and bias of every active output at that percentage, in
float64. Refuses, with `ConfigError`, variances that are not positive.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from tesla_embed.errors import ConfigError
from tesla_embed.nn.channels import Span
from tesla_embed.nn.layers import IncompleteConv, IncompleteLinear
from tesla_embed.nn.norm import IncompleteBatchNorm

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Folded:
    """y = gain · (W x) + bias is what `layer` and `norm` compute together; either may be missing.

    Batch norm is y = γ (w (z - μ) / σ + b) with σ = √(σ² + ε) of the statistics in use. W holds
    γ w / σ with the statistics for 100 % DP, so the gain at another percentage is the ratio of the
    two σ: positive, and one where the statistics are shared. Batch norm alone is a depthwise
    convolution with one tap for each channel.
    """

    layer: IncompleteConv | IncompleteLinear | None
    norm: IncompleteBatchNorm | None

    @property
    def target(self) -> Span:
        """The channels of the output."""
        last = self.layer if self.norm is None else self.norm
        assert last is not None
        return last.target

    def weights(self) -> Floats:
        """W `[out, in]`, `[out, in, height, width]` or, for batch norm alone, `[out, 1, 1]`."""
        if self.layer is None:
            return self._scale(100).reshape(-1, 1, 1)
        weight = numbers(self.layer.weight)
        rows = (-1, *[1] * (weight.ndim - 1))
        if self.layer.profile is not None and isinstance(self.layer, IncompleteLinear):
            weight = weight * numbers(self.layer.profile)
        return weight * self._own().reshape(rows) * self._scale(100).reshape(rows)

    def gain(self, dp: int) -> Floats | None:
        """The factor of every active output at `dp` percent; `None` for all ones."""
        if self.norm is None:
            return None
        ratio = self._active(self._sigma(100) / self._sigma(dp), dp)
        return None if bool((ratio == 1.0).all()) else ratio

    def bias(self, dp: int) -> Floats:
        """The bias of every active output at `dp` percent."""
        count = self.target.size
        bias = None if self.layer is None else self.layer.bias
        own = np.zeros(count) if bias is None else numbers(bias) * self._own()
        norm = self.norm
        if norm is not None:
            mean = numbers(norm.means[norm.row(dp)])
            shift = np.zeros(count) if norm.bias is None else numbers(norm.bias)
            own = (own - mean) * self._scale(dp) + shift * self._profile(norm.profile)
        return self._active(own, dp)

    def _active(self, values: Floats, dp: int) -> Floats:
        """Of one value per output, those of the outputs that are active at `dp` percent."""
        pieces, start = [], 0
        for part in self.target.parts:
            pieces.append(values[start : start + part.group.width(dp) * part.repeat])
            start += part.size
        return np.concatenate(pieces)

    def _own(self) -> Floats:
        """γ of the layer itself, one for each output (Eq. 2)."""
        mine = isinstance(self.layer, IncompleteConv)
        return self._profile(self.layer.profile if mine and self.layer else None)

    def _scale(self, dp: int) -> Floats:
        """γ w / σ of the batch norm, ones without one."""
        if self.norm is None:
            return np.ones(self.target.size)
        weight = self.norm.weight
        factor = np.ones(self.target.size) if weight is None else numbers(weight)
        return factor * self._profile(self.norm.profile) / self._sigma(dp)

    def _sigma(self, dp: int) -> Floats:
        assert self.norm is not None
        variance = numbers(self.norm.variances[self.norm.row(dp)]) + self.norm.eps
        if not (variance > 0).all():
            raise ConfigError("batch norm has a variance that is not positive; train it again")
        return np.asarray(np.sqrt(variance))

    def _profile(self, profile: Tensor | None) -> Floats:
        return np.ones(self.target.size) if profile is None else numbers(profile)


def numbers(tensor: Tensor) -> Floats:
    """The values of a tensor as float64."""
    values: Floats = tensor.detach().cpu().double().numpy()
    return values
