"""Batch norm in a network of several widths: statistics per DP percentage.

Fewer active inputs make smaller sums, so the mean and the variance of a channel depend on the DP
percentage; one pair of running statistics fits none of them. `IncompleteBatchNorm` keeps a row of
statistics for each of a list of percentages over one scale and shift. There are two ways to fill
the rows: training at a percentage updates its row (`track`; the switchable batch norm of Yu et al.,
"Slimmable Neural Networks", ICLR 2019, with its scale and shift shared so that percentages nobody
trained at work too), or `recalibrate` measures them afterwards on training data (Yu and Huang,
"Universally Slimmable Networks and Improved Training Techniques", ICCV 2019). Refuses, with
`ConfigError`, percentages without a row, and single examples where a variance is wanted.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Literal

import msgspec
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tesla_embed.errors import ConfigError
from tesla_embed.nn.channels import Span
from tesla_embed.nn.layers import Axis, ScalableLayer, set_dp

ROWS = tuple(range(5, 101, 5))
"""DP percentages that have statistics of their own unless told otherwise."""


class BatchNormOptions(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where batch norm takes its statistics from.

    `mode` "recalibrate" measures them on the first `samples` training examples whenever they are
    needed, "separate" lets training at a percentage update its own. `rows` are the DP percentages
    that have statistics, ascending to 100; percentages between use those of the next higher one.
    """

    mode: Literal["recalibrate", "separate"] = "recalibrate"
    rows: tuple[Annotated[int, msgspec.Meta(ge=1, le=100)], ...] = ROWS
    samples: Annotated[int, msgspec.Meta(ge=2)] = 1000

    def __post_init__(self) -> None:
        if not self.rows or list(self.rows) != sorted(set(self.rows)) or self.rows[-1] != 100:
            raise ValueError(f"rows {list(self.rows)} must ascend to 100")


class IncompleteBatchNorm(ScalableLayer):
    """Batch norm over the active channels: y_j = γ_j (w_j (x_j - μ_j) / √(σ²_j + ε) + b_j).

    x and y are `[B, k]` or `[B, k, …]`. μ and σ² `[k]` are the batch's while training; in
    evaluation those of the smallest row at or above the present DP percentage that was filled, a
    row of a higher percentage having all channels of the lower ones, else the last row. The profile
    γ `[C]` comes after normalising, which would undo it; `None` is all ones.
    `means` and `variances` are `[rows, C]`, `batches` `[rows]` counts what a row was made from.
    `fade(w, b)`, if there is one, makes a factor for every channel that acts while training.
    """

    def __init__(
        self, like: nn.BatchNorm1d | nn.BatchNorm2d, span: Span, rows: Sequence[int], track: bool
    ) -> None:
        super().__init__(span, span)
        self.eps, self.momentum, self.rows, self.track = like.eps, like.momentum, tuple(rows), track
        self.calibrating = False
        self.fade: Callable[[Tensor, Tensor], Tensor] | None = None
        for name in ("weight", "bias"):
            value: Tensor | None = getattr(like, name)
            kept = None if value is None else nn.Parameter(value.detach().clone())
            self.register_parameter(name, kept)
        mean, variance, count = like.running_mean, like.running_var, like.num_batches_tracked
        assert mean is not None
        assert variance is not None
        assert count is not None
        known = not mean.is_meta
        self.register_buffer("means", torch.zeros(len(rows), span.size))
        self.register_buffer("variances", torch.ones(len(rows), span.size))
        self.register_buffer("batches", torch.zeros(len(rows), dtype=torch.int64))
        if known:
            self.fill(mean, variance, max(int(count), 0))
        self.register_buffer("profile", None)

    weight: nn.Parameter | None
    bias: nn.Parameter | None
    means: Tensor
    variances: Tensor
    batches: Tensor

    def fill(self, mean: Tensor, variance: Tensor, batches: int) -> None:
        """Make `mean` and `variance` `[C]` the statistics of the last row."""
        self.means[-1], self.variances[-1], self.batches[-1] = mean, variance, batches

    def make_affine(self) -> None:
        """Give a layer without scale and shift a scale of one and a shift of zero."""
        if self.weight is None:
            self.weight = nn.Parameter(torch.ones_like(self.means[0]))
            self.bias = nn.Parameter(torch.zeros_like(self.means[0]))

    def reset(self) -> None:
        """Scale one, shift zero and no statistics, as a new layer has."""
        with torch.no_grad():
            for tensor, value in (
                (self.weight, 1.0), (self.bias, 0.0), (self.means, 0.0), (self.variances, 1.0)
            ):  # fmt: skip
                if tensor is not None:
                    tensor.fill_(value)
            self.batches.zero_()

    def forget(self) -> None:
        """Drop the statistics of all rows but the last: other channels lead now than before."""
        self.means[:-1], self.variances[:-1] = 0.0, 1.0
        self.batches[:-1] = 0

    def axes(self) -> Mapping[str, tuple[Axis, ...]]:
        """Everything lies along the channels."""
        vectors: dict[str, tuple[Axis, ...]] = dict.fromkeys(
            ("weight", "bias", "profile"), ("target",)
        )
        return {**vectors, "means": ("other", "target"), "variances": ("other", "target")}

    def row(self, dp: int, active: int = 0) -> int:
        """The row whose statistics serve evaluation at `dp` percent, for `active` channels."""
        if self.batches.is_meta:  # shapes only
            return len(self.rows) - 1
        filled = self.batches.tolist()
        fits = (
            index
            for index, row in enumerate(self.rows)
            if row >= dp and filled[index] and self.source.width(row) >= active
        )
        return next(fits, len(self.rows) - 1)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `[B, active channels, …]`."""
        if (self.training or self.calibrating) and x.numel() == x.shape[1]:
            raise ConfigError(
                "batch norm got a batch of one value per channel, which has no variance; choose "
                "optimizer.batch so that the last batch of an epoch has more than one example"
            )
        weight, bias = self._affine()
        if self.calibrating or (self.training and self.track and self.dp in self.rows):
            return self._observe(x, weight, bias)
        if self.training:
            return F.batch_norm(x, None, None, weight, bias, True, 0.0, self.eps)
        row = self.row(self.dp, self.source.active)
        mean, variance = (self.source.take(t[row]) for t in (self.means, self.variances))
        return F.batch_norm(x, mean, variance, weight, bias, False, 0.0, self.eps)

    def _affine(self) -> tuple[Tensor | None, Tensor | None]:
        """Scale and shift, multiplied by γ: cheaper than to multiply the result."""
        weight = None if self.weight is None else self.source.take(self.weight)
        bias = None if self.bias is None else self.source.take(self.bias)
        if self.fade is not None and self.training and weight is not None and bias is not None:
            mask = self.fade(weight, bias)
            weight, bias = weight * mask, bias * mask
        if self.profile is None:
            return weight, bias
        gamma = self.source.take(self.profile)
        return gamma if weight is None else weight * gamma, None if bias is None else bias * gamma

    def _observe(self, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        """Normalise with the batch's statistics and note them in the row of this percentage."""
        row = self.rows.index(self.dp)
        self.batches[row] += 1
        mean, variance = (self.source.take(t[row]).clone() for t in (self.means, self.variances))
        averages = self.calibrating or self.momentum is None
        share = 1.0 / int(self.batches[row]) if averages else float(self.momentum or 0.0)
        y = F.batch_norm(x, mean, variance, weight, bias, True, share, self.eps)
        self.source.put(self.means[row], mean)
        self.source.put(self.variances[row], variance)
        return y


def norms(module: nn.Module) -> list[IncompleteBatchNorm]:
    """The batch-norm layers inside `module`."""
    return [layer for layer in module.modules() if isinstance(layer, IncompleteBatchNorm)]


def recalibrate(
    module: nn.Module, batches: Callable[[], Iterable[Tensor]], dps: Sequence[int]
) -> None:
    """Measure the statistics of all batch-norm layers at every one of `dps` (percent).

    `batches()` yields examples `[B, *input shape]`, B ≥ 2, the same at every percentage; equally
    large batches count equally. Statistics are the mean over batches of the batch mean and the
    unbiased batch variance. The module is left in evaluation mode at the last percentage. Does
    nothing without batch norm. Raises `ConfigError` for percentages without a row.
    """
    layers = norms(module)
    for dp in dps if layers else ():
        rows = layers[0].rows
        if dp not in rows:
            known = ", ".join(map(str, rows))
            raise ConfigError(f"batch norm keeps no statistics for {dp} % DP; it does for {known}")
        set_dp(module, dp)
        module.eval()
        for layer in layers:
            layer.batches[rows.index(dp)] = 0
            layer.calibrating = True
        try:
            with torch.no_grad():
                for x in batches():
                    module(x)
        finally:
            for layer in layers:
                layer.calibrating = False
