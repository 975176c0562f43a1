"""Quantised models at the edges of what `verify` accepts."""

import dataclasses

import numpy as np
import numpy.typing as npt

from graphs.models import quantized_model
from tesla_embed.ir.fixedpoint import INT32_MAX, quantize_multiplier
from tesla_embed.ir.graph import Model, Region, Table
from tesla_embed.ir.ops import UNIT, Add, Concat, Mean, Op, Passing, Rescale, Unit, Weighted
from tesla_embed.ir.parts import channel_parts
from tesla_embed.ir.requantization import quantization, rescale_factors
from tesla_embed.ir.scaling import add_factors
from tesla_embed.ir.specialize import active_weights
from tesla_embed.ir.types import Quantization, TensorType, Weights
from tesla_embed.ir.verify import verify


def extreme_model(seed: int, name: str = "net", portable: bool = False) -> Model:
    """A quantised model at the edges of what `verify` accepts.

    Mantissas next to 2^30 and 2^31, shifts from -31 to the left, factors that vanish, zero points
    at the ends, weights of ±127 and -128, biases as large as the accumulator allows; tables of
    every region its own.
    """
    rng = np.random.default_rng([seed, 1])
    model = quantized_model(seed, name, portable)
    ops = tuple(_extreme_op(op, rng) for op in model.graph.ops)
    model = dataclasses.replace(model, graph=dataclasses.replace(model.graph, ops=ops))
    entry = _extreme_quantization(rng)
    regions = tuple(_extreme_region(model, region, entry, rng) for region in model.regions)
    return verify(dataclasses.replace(model, regions=regions))


def _extreme_op(op: Op, rng: np.random.Generator) -> Op:
    if not isinstance(op, Weighted):
        return op
    least = -128 if op.weights.data.size % 3 == 0 else -126  # few kernels take -128
    data = rng.choice(np.array([-127, least, -1, 0, 1, 127], np.int8), op.weights.data.shape)
    quiet = rng.random(len(data)) < 0.3  # sums stay small: room for a shift to the left
    data[quiet] = np.clip(data[quiet], -1, 1) * (rng.random(data[quiet].shape) < 0.2)
    assert op.weights.scale is not None
    return dataclasses.replace(op, weights=Weights(data=data, scale=op.weights.scale.copy()))


def _extreme_quantization(rng: np.random.Generator) -> Quantization:
    zero = int(rng.choice([-128, 127, 0, -1, int(rng.integers(-128, 128))]))
    scale = float(np.float32(2.0 ** rng.uniform(-14, 8)))
    return Quantization(scale=scale, zero_point=zero)


def _extreme_region(
    model: Model, region: Region, entry: Quantization, rng: np.random.Generator
) -> Region:
    graph, types = model.graph, list(region.types)
    parts = channel_parts(graph, region)
    types[graph.input] = dataclasses.replace(types[graph.input], quantization=entry)
    tables: list[Table | None] = []
    for op in graph.ops:
        q = quantization(types[op.input]) if isinstance(op, Passing) else _extreme_quantization(rng)
        if isinstance(op, Add):
            q = _reachable(q, *(types[i] for i in op.inputs))
        if isinstance(op, Unit):
            q = UNIT
        if isinstance(op, Mean | Concat | Rescale):
            q = _far(q, max(quantization(types[i]).scale for i in op.inputs))
        types[op.output] = dataclasses.replace(types[op.output], quantization=q)
        table = None
        if isinstance(op, Weighted):
            data = active_weights(op, parts[op.input], parts[op.output])
            table = _extreme_table(data, types[op.input], types[op.output], rng)
        tables.append(table)
    return dataclasses.replace(region, types=tuple(types), tables=tuple(tables))


def sharpened(model: Model, rng: np.random.Generator) -> Model:
    """A quantised model of convolutions with numbers at the edges of what packed tables hold.

    Factors from 2^-23 to 1/2 with mantissas next to 2^30 and 2^31, zero points at the ends, weights
    of ±127 and -128, biases that bring accumulators next to 2^29.
    """
    ops = tuple(_extreme_op(op, rng) for op in model.graph.ops)
    model = dataclasses.replace(model, graph=dataclasses.replace(model.graph, ops=ops))
    zeros = rng.choice([-128, 127, 0, -1, 5], len(model.graph.tensors))
    regions = tuple(_sharp_region(model, region, zeros, rng) for region in model.regions)
    return verify(dataclasses.replace(model, regions=regions))


def _sharp_region(
    model: Model, region: Region, zeros: npt.NDArray[np.int64], rng: np.random.Generator
) -> Region:
    parts = channel_parts(model.graph, region)
    types = tuple(
        dataclasses.replace(type_, quantization=Quantization(scale=1.0, zero_point=int(zero)))
        for type_, zero in zip(region.types, zeros, strict=True)
    )
    tables: list[Table | None] = []
    for op in model.graph.ops:
        assert isinstance(op, Weighted)
        data = active_weights(op, parts[op.input], parts[op.output])
        count = len(data)
        sums = np.abs(data.reshape(count, -1).astype(np.int64)).sum(axis=1) * 255
        fitting = np.clip(np.ceil(np.log2(sums + 1)).astype(np.int64) - 8, 1, 22)
        shift = np.where(rng.random(count) < 0.7, fitting, rng.integers(1, 23, count))
        mantissa = rng.choice([0.5, 1 - 2.0**-24, 0.5 + 2.0**-24, rng.uniform(0.5, 1)], count)
        scale = np.ldexp(mantissa, -shift).astype(np.float32).astype(np.float64)
        part = rng.choice([0.0, 1e-4, 1.0, -1.0], count, p=[0.6, 0.2, 0.1, 0.1])
        bias = np.trunc((2.0**29 - 1 - sums) * part).astype(np.int32)
        tables.append(Table(bias=bias, weight_scale=scale))
    return dataclasses.replace(region, types=types, tables=tuple(tables))


def _far(wanted: Quantization, source: float) -> Quantization:
    """A scale that leaves room for the largest factor of a sum over 100 pixels."""
    scale = max(wanted.scale, float(np.float32(source * 2.0**-14)))
    return dataclasses.replace(wanted, scale=scale)


def _reachable(wanted: Quantization, first: TensorType, second: TensorType) -> Quantization:
    """A scale that is large enough for a sum, twice its limit where `wanted` is not."""
    target = dataclasses.replace(first, quantization=wanted)
    over = add_factors(first, second, target)[-1]
    scale = float(np.float32(wanted.scale * 2 * over)) if over >= 0.99 else wanted.scale
    return dataclasses.replace(wanted, scale=scale)


def _extreme_table(
    data: npt.NDArray[np.generic],
    source: TensorType,
    target: TensorType,
    rng: np.random.Generator,
) -> Table:
    """Factors and biases at the edge, pulled back where the accumulator would overflow."""
    count = len(data)
    sums = np.abs(data.reshape(count, -1).astype(np.int64)).sum(axis=1) * 255
    mantissa = rng.choice([0.5, 1 - 2.0**-24, 0.5 + 2.0**-24, rng.uniform(0.5, 1)], count)
    room = np.floor(np.log2((INT32_MAX - 128) / np.maximum(sums, 1))).astype(np.int64) - 1
    edge = np.minimum(room, 20)
    fitting = 10 - np.ceil(np.log2(sums + 1)).astype(np.int64)  # spreads over the int8 range
    anywhere = rng.integers(-34, 0, count)
    choice = rng.choice(3, count, p=[0.2, 0.65, 0.15])
    exponent = np.minimum(np.choose(choice, [edge, fitting, anywhere]), edge)
    ratio = quantization(target).scale / quantization(source).scale
    scale = (np.ldexp(mantissa, exponent) * ratio).astype(np.float32).astype(np.float64)
    bare = Table(bias=np.zeros(count, np.int32), weight_scale=scale.copy())
    shift = quantize_multiplier(rescale_factors(source, target, bare)).shift.astype(np.int64)
    limit = ((INT32_MAX - 128) >> np.maximum(shift, 0)) - sums
    part = rng.choice([1.0, -1.0, 0.0, 1e-6, -1e-3], count, p=[0.1, 0.1, 0.5, 0.2, 0.1])
    bias = np.trunc(limit * part).astype(np.int32)
    return Table(bias=bias, weight_scale=scale)
