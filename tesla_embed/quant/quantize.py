"""Post-training quantisation: int8 weights per channel, int8 activations per tensor and region.

Weights are quantised once, at full width; a region brings activation scales of its own, and hence
its own biases and requantisation factors. Scheme: Jacob et al., "Quantization and Training of
Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018, with symmetric
per-channel weights as TensorFlow Lite specifies them.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tesla_embed.errors import QuantizationError
from tesla_embed.ir.fixedpoint import INT32_MAX
from tesla_embed.ir.graph import Graph, Model, Region, Table
from tesla_embed.ir.ops import UNIT, Concat, Op, Passing, Unit, Weighted
from tesla_embed.ir.parts import active_indices, channel_parts
from tesla_embed.ir.requantization import quantization
from tesla_embed.ir.types import DType, Quantization, Tensor, TensorType, Weights
from tesla_embed.ir.verify import verify
from tesla_embed.quant.calibrate import Ranges
from tesla_embed.quant.rounding import activation_quantization, quantize_weights

_SILENT_UNITS = 2.0**20
"""What the bias of a silent channel becomes where it would not fit; fine enough for any output."""


def quantize(model: Model, ranges: Sequence[Ranges]) -> Model:
    """The integer model of a float one; `ranges` come from `calibrate`, one per region.

    Raises `QuantizationError` when the model is no float model or a bias does not fit int32.
    """
    if any(tensor.type.dtype is not DType.FLOAT32 for tensor in model.graph.tensors):
        raise QuantizationError(f"{model.name} is quantised already; start from a float model")
    graph = dataclasses.replace(
        model.graph,
        tensors=tuple(
            Tensor(name=tensor.name, type=dataclasses.replace(tensor.type, dtype=DType.INT8))
            for tensor in model.graph.tensors
        ),
        ops=tuple(_quantize_op(op) for op in model.graph.ops),
    )
    regions = tuple(
        _quantize_region(graph, region, observed)
        for region, observed in zip(model.regions, ranges, strict=True)
    )
    return verify(dataclasses.replace(model, graph=graph, regions=regions))


def _quantize_op(op: Op) -> Op:
    if not isinstance(op, Weighted):
        return op
    return dataclasses.replace(op, weights=quantize_weights(op.weights.data.astype(np.float32)))


def _quantize_region(graph: Graph, region: Region, ranges: Ranges) -> Region:
    parameters = [
        activation_quantization(low, high)
        for low, high in zip(ranges.low, ranges.high, strict=True)
    ]
    for op in graph.ops:
        if isinstance(op, Unit):
            parameters[op.output] = UNIT
    _join(graph, parameters)
    for op in graph.ops:
        if isinstance(op, Passing):
            parameters[op.output] = parameters[op.input]
    types = tuple(
        dataclasses.replace(type_, dtype=DType.INT8, quantization=parameter)
        for type_, parameter in zip(region.types, parameters, strict=True)
    )
    parts = channel_parts(graph, region)
    tables: list[Table | None] = []
    for op, table in zip(graph.ops, region.tables, strict=True):
        rows = active_indices(parts[op.output])
        where = f"{op.name} at {region.dp} % DP"
        tables.append(_quantize_table(where, op, table, types[op.input], rows))
    return Region(dp=region.dp, types=types, tables=tuple(tables))


def _join(graph: Graph, parameters: list[Quantization]) -> None:
    """Let what only a concatenation reads be made in its quantisation: it loses nothing by it."""
    makers = {op.output: op for op in graph.ops}
    reads = Counter(index for op in graph.ops for index in op.inputs)
    for op in reversed(graph.ops):
        for index in op.inputs if isinstance(op, Concat) else ():
            maker = makers.get(index)
            while isinstance(maker, Passing) and reads[index] == 1:
                index = maker.input
                maker = makers.get(index)
            if maker is not None and reads[index] == 1 and not isinstance(maker, Passing | Unit):
                parameters[index] = parameters[op.output]


def _quantize_table(
    where: str, op: Op, table: Table | None, source: TensorType, rows: npt.NDArray[np.intp]
) -> Table | None:
    """`rows` are the active output channels."""
    if table is None or not isinstance(op, Weighted) or op.weights.scale is None:
        return None
    bias = table.bias.astype(np.float64)
    silent = silent_rows(op.weights)[rows]
    return integer_table(where, bias, op.weights.scale[rows], table.gain, source, silent)


def silent_rows(weights: Weights) -> npt.NDArray[np.bool_]:
    """The output channels whose integer weights are all zero: they are their bias."""
    return np.logical_not(weights.data.reshape(len(weights.data), -1).any(axis=1))


def integer_table(
    where: str,
    bias: npt.NDArray[np.float64],
    scale: npt.NDArray[np.float64],
    gain: npt.NDArray[np.float64] | None,
    source: TensorType,
    silent: npt.NDArray[np.bool_],
) -> Table:
    """The table of real biases, weight scales and gains, one of each per active output channel.

    A `silent` channel may have any weight scale, and gets one for which its bias fits.
    `where` names layer and region in the `QuantizationError` that says what does not fit.
    """
    if gain is not None:  # rounded to float32 again: what a .tflite can carry
        scale = (scale * gain).astype(np.float32).astype(np.float64)
        if not bool((scale > 0).all() and np.isfinite(scale).all()):
            raise QuantizationError(f"{where}: a gain is out of range; train the network again")
    units = np.rint(bias / (quantization(source).scale * scale))
    wide = silent & (np.abs(units) > INT32_MAX)
    if wide.any():
        fitting = np.abs(bias[wide]) / (quantization(source).scale * _SILENT_UNITS)
        scale = scale.copy()
        scale[wide] = fitting.astype(np.float32)
        units = np.rint(bias / (quantization(source).scale * scale))
    if bool((np.abs(units) > INT32_MAX).any()):
        raise QuantizationError(f"{where}: a bias does not fit int32; its channel is nearly dead")
    return Table(bias=units.astype(np.int32), weight_scale=scale)
