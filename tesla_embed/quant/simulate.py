"""An integer model as a PyTorch module that can be trained on.

In: a float model and its quantised form, with the same graph and regions. Out: outputs that are,
bit for bit, those of the integer interpreter, and gradients as if nothing had been rounded (the
straight-through estimator; Bengio et al., "Estimating or Propagating Gradients Through Stochastic
Neurons", 2013), zero where a value is clamped. Weights exist once and biases once per region, as in
the model; scales and zero points stay as calibration found them. `integers` is the model of the
present weights, at first the quantised form itself. Parameters are float64: weights in units of
their scales, biases in units of the output's, so that one learning rate means the same everywhere.

Activations travel as what the integers mean: integer minus zero point, images `[N, H, W, C]`. Sums
are formed in float32 as long as that is exact, below 2**24, and in float64 otherwise. Float32 is
exact only where convolutions multiply and add. NNPACK, which may transform instead, is turned off
here; on other devices sums are float64, whose errors round away.
"""

import dataclasses
from typing import assert_never, cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tesla_embed.errors import QuantizationError
from tesla_embed.ir.fixedpoint import INT32_MAX, Multiplier, quantize_multiplier
from tesla_embed.ir.graph import Model, Region, Table
from tesla_embed.ir.ops import Conv2D, DepthwiseConv2D, FullyConnected, Op, Weighted
from tesla_embed.ir.parts import active_indices, channel_parts
from tesla_embed.ir.requantization import (
    activation_range,
    quantization,
    quantize_input,
    rescale_factors,
)
from tesla_embed.ir.types import TensorType, Weights
from tesla_embed.ir.verify import verify
from tesla_embed.quant.simulate_ops import channels_first, clamped, padded, straight, weightless

_EXACT_FLOAT32 = 2.0**24
_INSIDE = 0.499
"""How far a number may lie from the integer that it must round to."""


class Simulation(nn.Module):
    """`model` is quantised, `plain` the float model it was made from; both stay as they are."""

    def __init__(self, plain: Model, model: Model) -> None:
        super().__init__()
        self.model = model
        self.weights = nn.ParameterDict()
        self.biases = nn.ParameterDict()
        self.plans = {region.dp: _Plan(model, region) for region in model.regions}
        for index, (op, rounded) in enumerate(zip(plain.graph.ops, model.graph.ops, strict=True)):
            if isinstance(op, Weighted) and isinstance(rounded, Weighted):
                self.weights[str(index)] = _parameter(_start(op.weights, rounded.weights))
        for region, quantised in zip(plain.regions, model.regions, strict=True):
            for index, (table, fixed) in enumerate(
                zip(region.tables, quantised.tables, strict=True)
            ):
                if table is not None and fixed is not None:
                    unit = _numbers(self.plans[region.dp].fixed[index].unit)
                    bias = _beside(table.bias.astype(np.float64) / unit, fixed.bias) * unit
                    scale = self._output_scale(region.dp, index)
                    self.biases[f"{region.dp}_{index}"] = _parameter(bias / scale)

    def forward(self, x: Tensor, dp: int) -> Tensor:
        """Real outputs `[N, *output shape]` for real inputs `[N, *input shape]` at `dp` percent."""
        plan, graph = self.plans[dp], self.model.graph
        entry = plan.types[graph.input]
        integers = quantize_input(entry, x.detach().cpu().numpy()).astype(np.float32)
        offset = quantization(entry).zero_point
        values = {graph.input: torch.from_numpy(integers - offset).to(x.device)}
        for index, op in enumerate(graph.ops):
            values[op.output] = self._run(index, op, plan, values)
        return values[graph.output] * quantization(plan.types[graph.output]).scale

    def integers(self) -> Model:
        """The quantised model with the present weights and biases. Raises `QuantizationError`."""
        ops = list(self.model.graph.ops)
        for index, op in enumerate(ops):
            if isinstance(op, Weighted):
                data = _numbers(self._weight(index)).astype(np.int8)
                weights = dataclasses.replace(op.weights, data=data)
                ops[index] = dataclasses.replace(op, weights=weights)
        regions = tuple(self._region(region) for region in self.model.regions)
        graph = dataclasses.replace(self.model.graph, ops=tuple(ops))
        made = dataclasses.replace(self.model, graph=graph, regions=regions)
        verify(made)
        return made

    def _region(self, region: Region) -> Region:
        plan, tables = self.plans[region.dp], list(region.tables)
        for index, table in enumerate(tables):
            if table is not None:
                bias = _numbers(self._bias(index, plan))
                if bool((np.abs(bias) > INT32_MAX).any()):
                    name = self.model.graph.ops[index].name
                    raise QuantizationError(
                        f"{name} at {region.dp} % DP: a bias does not fit int32; train with a "
                        "lower learning rate"
                    )
                tables[index] = dataclasses.replace(table, bias=bias.astype(np.int32))
        return dataclasses.replace(region, tables=tuple(tables))

    def _run(self, index: int, op: Op, plan: "_Plan", values: dict[int, Tensor]) -> Tensor:
        if isinstance(op, Weighted):
            return self._weighted(index, op, plan, values[op.input])
        return weightless(op, plan.graph, [values[i] for i in op.inputs])

    def _weighted(self, index: int, op: Weighted, plan: "_Plan", x: Tensor) -> Tensor:
        """Sums over the active weights, requantised."""
        weight = plan.active(index, op, self._weight(index))
        bias = self._bias(index, plan)
        rows = weight.detach().abs().flatten(1).sum(1)
        exact = float((255 * rows + bias.detach().abs()).max()) < _EXACT_FLOAT32
        kind = torch.float32 if exact and x.device.type == "cpu" else torch.float64
        weight, bias, x = weight.to(kind), bias.to(kind), x.to(kind)
        sums = _sums(op, x, weight, bias)
        fixed = plan.fixed[index]
        if isinstance(op, FullyConnected):
            scaled = _rounded(sums.detach().double().round() * fixed.scale)
        else:
            scaled = _requantize(sums.detach().round().to(torch.int64), *fixed.factors)
        smooth = (sums * fixed.scale.to(kind)).to(torch.float32)
        result = clamped(smooth, scaled.to(torch.float32), fixed.low, fixed.high)
        return result.reshape(len(x), *plan.types[op.output].shape)

    def _weight(self, index: int) -> Tensor:
        """Rounded weights in units of their scale, all of them.

        They stay symmetric, except that a model may have had an int8 weight of -128.
        """
        fixed = cast(Weighted, self.model.graph.ops[index]).weights
        least = min(-fixed.largest, int(fixed.data.min()))
        weight = self.weights[str(index)].clamp(least, fixed.largest)
        return straight(weight, weight.detach().round())

    def _bias(self, index: int, plan: "_Plan") -> Tensor:
        """Rounded biases of a region in units of the sums."""
        scale = self._output_scale(plan.dp, index)
        bias = self.biases[f"{plan.dp}_{index}"] * scale / plan.fixed[index].unit
        return straight(bias, bias.detach().round())

    def _output_scale(self, dp: int, index: int) -> float:
        return quantization(self.plans[dp].types[self.model.graph.ops[index].output]).scale


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Fixed:
    """What does not change about one weighted operation in one region.

    `unit` is the real value of one unit of the sums, `scale` the factor from sums to outputs,
    `low` and `high` clamp the output minus its zero point.
    """

    unit: Tensor
    scale: Tensor
    factors: tuple[Tensor, Tensor]
    low: float
    high: float


class _Plan:
    """A region, prepared: types, integer parameters, and the active weights."""

    def __init__(self, model: Model, region: Region) -> None:
        self.dp, self.types = region.dp, region.types
        self.parts = channel_parts(model.graph, region)
        tensors = tuple(
            dataclasses.replace(tensor, type=type_)
            for tensor, type_ in zip(model.graph.tensors, region.types, strict=True)
        )
        self.graph = dataclasses.replace(model.graph, tensors=tensors)
        self.fixed: dict[int, _Fixed] = {}
        for index, (op, table) in enumerate(zip(model.graph.ops, region.tables, strict=True)):
            if isinstance(op, Weighted) and table is not None:
                types = (region.types[op.input], region.types[op.output])
                self.fixed[index] = _fix(op, table, *types)

    def active(self, index: int, op: Weighted, weight: Tensor) -> Tensor:
        """The active part of the weights, as PyTorch's function takes them."""
        rows = torch.from_numpy(active_indices(self.parts[op.output]))
        columns = torch.from_numpy(active_indices(self.parts[op.input]))
        weight = weight[rows]
        match op:
            case FullyConnected():
                channels = sum(part.full for part in self.parts[op.input])
                return weight.reshape(len(rows), -1, channels)[..., columns].flatten(1)
            case Conv2D():
                return weight[..., columns].permute(0, 3, 1, 2)
            case DepthwiseConv2D():
                return weight[:, None]
            case _:
                assert_never(op)


def _sums(op: Weighted, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """What an operation adds up, before it is requantised: `[N, out]` or `[N, H, W, out]`."""
    if isinstance(op, FullyConnected):
        return F.linear(x.reshape(len(x), -1), weight) + bias
    with torch.backends.nnpack.flags(enabled=False):
        return F.conv2d(
            channels_first(padded(x, op.window, 0.0)),
            weight,
            bias,
            (op.window.stride_height, op.window.stride_width),
            dilation=(op.window.dilation_height, op.window.dilation_width),
            groups=x.shape[3] if isinstance(op, DepthwiseConv2D) else 1,
        ).permute(0, 2, 3, 1)


def _fix(op: Weighted, table: Table, source: TensorType, target: TensorType) -> _Fixed:
    assert table.weight_scale is not None
    entry, exit_ = quantization(source), quantization(target)
    low, high = activation_range(op.activation, exit_)
    unit = entry.scale * table.weight_scale
    factors = rescale_factors(source, target, table)
    return _Fixed(
        unit=torch.from_numpy(unit),
        scale=torch.from_numpy(factors),
        factors=_tensors(quantize_multiplier(factors)),
        low=low - exit_.zero_point,
        high=high - exit_.zero_point,
    )


def _rounded(real: Tensor) -> Tensor:
    """Halves away from zero: what the integers of a fully connected layer are proved to do."""
    whole = torch.trunc(real)
    return whole + torch.sign(real) * ((real - whole).abs() >= 0.5)


def _requantize(sums: Tensor, multiplier: Tensor, shift: Tensor) -> Tensor:
    """`tesla_embed.ir.fixedpoint.requantize` on int64 tensors."""
    left = sums << shift.clamp(min=0)
    high = ((left * multiplier + (1 << 30)) >> 31).clamp(max=INT32_MAX)
    right = (-shift).clamp(min=0)
    mask = (torch.ones_like(right) << right) - 1
    return (high >> right) + ((high & mask) > (mask >> 1) + (high < 0)).to(torch.int64)


def _tensors(factors: Multiplier) -> tuple[Tensor, Tensor]:
    multiplier, shift = (torch.from_numpy(part.astype(np.int64)) for part in factors)
    return multiplier, shift


def _parameter(values: npt.NDArray[np.float64]) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(values.copy()))


def _along_rows(scale: npt.NDArray[np.float64], dimensions: int) -> npt.NDArray[np.float64]:
    return scale.reshape(-1, *[1] * (dimensions - 1))


def _start(plain: Weights, rounded: Weights) -> npt.NDArray[np.float64]:
    """Float weights in units of their scales, which round to the integers given."""
    assert rounded.scale is not None
    data = plain.data.astype(np.float64)
    return _beside(data / _along_rows(rounded.scale, data.ndim), rounded.data)


def _beside(
    values: npt.NDArray[np.float64], integers: npt.NDArray[np.generic]
) -> npt.NDArray[np.float64]:
    """The nearest to `values` that rounds to `integers`: what rounding took away is kept."""
    middle = integers.astype(np.float64)
    return np.clip(values, middle - _INSIDE, middle + _INSIDE)


def _numbers(tensor: Tensor) -> npt.NDArray[np.float64]:
    values: npt.NDArray[np.float64] = tensor.detach().cpu().numpy()
    return values
