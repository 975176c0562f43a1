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

_MIN_RELATIVE_SCALE = 2.0**-10
"""A channel's scale, relative to the layer's largest; keeps dead channels representable."""


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


def quantize_weights(data: npt.NDArray[np.float32]) -> Weights:
    """Symmetric int8 per output channel (axis 0): `scale = max |w| / 127`."""
    rows = data.reshape(len(data), -1).astype(np.float64)
    largest = np.abs(rows).max(axis=1)
    floor = max(float(largest.max()) * _MIN_RELATIVE_SCALE, float(np.finfo(np.float32).tiny))
    # Rounded to float32: what a .tflite can carry, exactly.
    scale = (np.maximum(largest, floor) / 127.0).astype(np.float32).astype(np.float64)
    integers = np.clip(np.rint(rows / scale[:, None]), -127, 127).astype(np.int8)
    return Weights(data=integers.reshape(data.shape), scale=scale)


def activation_quantization(low: float, high: float) -> Quantization:
    """Affine int8 parameters that cover `low` to `high` and represent 0 exactly."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32((high - low) / 255.0))
    if not scale > 0.0:
        return Quantization(scale=1.0, zero_point=0)
    zero_point = round(-128 - low / scale)
    return Quantization(scale=scale, zero_point=max(-128, min(127, zero_point)))


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
    weight_scale = op.weights.scale[rows]
    if table.gain is not None:  # rounded to float32 again: what a .tflite can carry
        weight_scale = (weight_scale * table.gain).astype(np.float32).astype(np.float64)
        if not bool((weight_scale > 0).all() and np.isfinite(weight_scale).all()):
            raise QuantizationError(f"{where}: a gain is out of range; train the network again")
    bias = np.rint(table.bias.astype(np.float64) / (quantization(source).scale * weight_scale))
    if bool((np.abs(bias) > INT32_MAX).any()):
        raise QuantizationError(f"{where}: a bias does not fit int32; its channel is nearly dead")
    return Table(bias=bias.astype(np.int32), weight_scale=weight_scale)
