"""Where quantisation hurts: noise, saturation and starved channels of every layer and region.

In: a float model, its quantised form, examples. Out: a `Diagnosis`: figures for each layer in each
region, the layers to look at first, and what to try. A layer's noise is measured twice: as it
arrives through all layers before it, and its own alone, with inputs that are rounded from the float
network's. NumPy only.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tesla_embed.errors import ConfigError
from tesla_embed.ir.graph import Graph, Model, Region, Table
from tesla_embed.ir.ops import Passing, Weighted
from tesla_embed.ir.parts import active_indices, channel_parts
from tesla_embed.ir.requantization import quantization, quantize_input
from tesla_embed.ir.types import DType, Tensor, TensorType, Weights
from tesla_embed.ir.verify import verify
from tesla_embed.quant.lockstep import Lane, Lockstep, integer_output

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
STARVED_LEVELS = 8.0
"""A channel whose values span fewer steps than this has less than three bits left."""
_WIDE_LEVELS = 64.0
"""A channel that spans so many steps has what others lack."""
FIRST = 3
"""How many layers are named to look at first."""
_CLEAN_DB = 100.0
"""What stands for no noise at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerNoise:
    """One layer in one region.

    `sqnr_db` is signal to noise of its output as the network computes it, `own_db` what its own
    rounding alone leaves, at most 100. `saturated` is the share of outputs beyond the integers'
    range, `shift` the share of its own noise that is a shift of channels' means, `levels` the root
    mean square of the output in steps. Of the active `channels`, `starved` span fewer than eight
    steps, and `dead` never change; the widest spans `widest` steps.
    """

    layer: str
    op: str
    dp: int
    bits: int
    sqnr_db: float
    own_db: float
    saturated: float
    shift: float
    levels: float
    channels: int
    starved: int
    dead: int
    widest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """All layers that round, in order, region after region; `first` are the worst of them.

    `advice` says what to try, the most promising first.
    """

    layers: tuple[LayerNoise, ...]
    first: tuple[str, ...]
    advice: tuple[str, ...]


def diagnose(plain: Model, model: Model, inputs: Float32) -> Diagnosis:
    """Measure `model` against `plain`, the float model of the same graph, on `[N, *input shape]`.

    Raises `ConfigError` when the two are not of one network, or without examples.
    """
    if not len(inputs):
        raise ConfigError("a diagnosis needs at least one example; pass data that has some")
    _check(plain, model)
    walk, found = Lockstep(plain, model, inputs), []
    for index, op in enumerate(model.graph.ops):
        before = [{i: lane.floats[i] for i in op.inputs} for lane in walk.lanes]
        tables = [region.tables[index] for region in model.regions]
        walk.advance(index, op, tables)
        if isinstance(op, Passing):
            continue
        for lane, sources, table in zip(walk.lanes, before, tables, strict=True):
            rounded = {
                i: quantize_input(lane.region.types[i], value) for i, value in sources.items()
            }
            own = integer_output(lane, op, table, rounded)
            found.append(_noise(model.graph, index, lane, own))
    found.sort(key=lambda one: one.dp)  # stable: the layers stay in order
    first = worst_layers(found)
    alike = {tuple(type_.quantization for type_ in region.types) for region in model.regions}
    shared = len(model.regions) > 1 and len(alike) == 1
    return Diagnosis(
        layers=tuple(found),
        first=first,
        advice=tuple(
            imported_advice(found, first)
            if model.provenance.algorithm == "import"
            else advice(found, first, shared=shared)
        ),
    )


def worst_layers(found: Sequence[LayerNoise]) -> tuple[str, ...]:
    """The layers whose own rounding leaves least, in their worst region."""
    worst: dict[str, float] = {}
    for one in found:
        worst[one.layer] = min(worst.get(one.layer, math.inf), one.own_db)
    return tuple(sorted(worst, key=lambda name: worst[name])[:FIRST])


def advice(found: Sequence[LayerNoise], first: Sequence[str], *, shared: bool) -> list[str]:
    """What to try, from the figures of all layers; `shared`: all regions quantise alike."""
    at_first = [one for one in found if one.layer in first]
    texts = []
    texts += _starvation(found, shared=shared)
    full = max(found, key=lambda one: one.saturated)
    if full.saturated > 1e-3:
        remedy = "use --calibration minmax, a larger --percentile, or more --samples"
        if any(one.bits < 8 for one in found):  # which came after the calibration
            remedy = "the noise of four bits carries them there: use --weights mixed --max-loss 1"
        texts.append(f"{_saturation(full)}: {remedy}")
    coarse = min(at_first, key=lambda one: one.levels)
    if coarse.levels < 10.0:
        texts.append(
            f"rare extremes make {coarse.layer} coarse at {coarse.dp} % DP: use --calibration mse"
        )
    shifted = max(at_first, key=lambda one: one.shift)
    if shifted.shift > 0.25:
        texts.append(
            f"{shifted.shift:.0%} of the noise of {shifted.layer} at {shifted.dp} % DP is a shift "
            "of means: use --bias-correction"
        )
    narrow = sorted({one.layer for one in at_first if one.bits < 8})
    if narrow:
        texts.append(f"four bits are few for {', '.join(narrow)}: use --weights mixed --max-loss 1")
    texts.append("in any case: --qat trains the integers of all regions, for a few minutes")
    return texts


def imported_advice(found: Sequence[LayerNoise], first: Sequence[str]) -> list[str]:
    """What to try with a network of others, whose integers and training are not ours to choose."""
    full = max(found, key=lambda one: one.saturated)
    texts = []
    if full.saturated > 1e-3:
        texts.append(f"{_saturation(full)}: calibrate on examples that reach as far")
    return [
        *texts,
        f"{', '.join(first)} are as the network was imported. If its file holds floats, import it "
        "with other --data or more --samples; if integers, quantise it anew where it was made",
    ]


def _saturation(full: LayerNoise) -> str:
    return f"{full.saturated:.2%} of {full.layer} at {full.dp} % DP lie beyond its range"


def _starvation(found: Sequence[LayerNoise], *, shared: bool) -> list[str]:
    """Channels that get few steps of their tensor's range, and why."""
    # Where all channels are narrow alike, no profile is to blame.
    uneven = [one for one in found if shared or one.widest >= _WIDE_LEVELS]
    worst = max(uneven, key=lambda one: one.starved / max(one.channels - one.dead, 1), default=None)
    if worst is None or worst.starved <= 0.25 * max(worst.channels - worst.dead, 1):
        return []
    where = f"{worst.starved} of {worst.channels} channels of {worst.layer} starve"
    remedy = "use --tables region" if shared else "train with a flatter --profile"
    cause = "one range for all regions" if shared else "the profile is too steep"
    return [f"{where} at {worst.dp} % DP, {cause}: {remedy}"]


def dequantized(model: Model) -> Model:
    """A float model with the weights and biases of an integer one, as far as float32 holds them.

    Against it only the rounding of activations shows.
    """
    tensors = tuple(
        Tensor(name=tensor.name, type=_float(tensor.type)) for tensor in model.graph.tensors
    )
    ops = list(model.graph.ops)
    for index, op in enumerate(ops):
        if isinstance(op, Weighted) and op.weights.scale is not None:
            data = op.weights.data.astype(np.float64)
            scale = op.weights.scale.reshape(-1, *[1] * (data.ndim - 1))
            ops[index] = dataclasses.replace(
                op, weights=Weights(data=(data * scale).astype(np.float32))
            )
    graph = dataclasses.replace(model.graph, tensors=tensors, ops=tuple(ops))
    regions = tuple(_float_region(model.graph, region) for region in model.regions)
    return verify(dataclasses.replace(model, graph=graph, regions=regions))


def _float_region(graph: Graph, region: Region) -> Region:
    parts = channel_parts(graph, region)
    tables: list[Table | None] = []
    for op, table in zip(graph.ops, region.tables, strict=True):
        if table is None or not isinstance(op, Weighted):
            tables.append(None)
            continue
        assert table.weight_scale is not None and op.weights.scale is not None
        unit = quantization(region.types[op.input]).scale * table.weight_scale
        gain = table.weight_scale / op.weights.scale[active_indices(parts[op.output])]
        bias = (table.bias.astype(np.float64) * unit).astype(np.float32)
        tables.append(Table(bias=bias, gain=gain))
    types = tuple(_float(type_) for type_ in region.types)
    return Region(dp=region.dp, types=types, tables=tuple(tables))


def _float(type_: TensorType) -> TensorType:
    return dataclasses.replace(type_, dtype=DType.FLOAT32, quantization=None)


def _check(plain: Model, model: Model) -> None:
    names = [[(op.name, type(op)) for op in one.graph.ops] for one in (plain, model)]
    shapes = [
        [(region.dp, [type_.shape for type_ in region.types]) for region in one.regions]
        for one in (plain, model)
    ]
    if names[0] != names[1] or shapes[0] != shapes[1]:
        raise ConfigError(
            f"{model.name} was not made from that float network; give the checkpoint that it was "
            "quantised from"
        )


def _noise(graph: Graph, index: int, lane: Lane, own: npt.NDArray[np.int8]) -> LayerNoise:
    """The figures of one operation whose output the lane holds; `own` is with rounded inputs."""
    op = graph.ops[index]
    type_ = lane.region.types[op.output]
    q = quantization(type_)
    signal = lane.floats[op.output].astype(np.float64)
    noise = [
        (integers.astype(np.float64) - q.zero_point) * q.scale - signal
        for integers in (lane.integers[op.output], own)
    ]
    by_channel = [values.reshape(-1, type_.channels) for values in (signal, noise[1])]
    span = np.ptp(by_channel[0], axis=0) / q.scale
    low, high = ((end - q.zero_point) * q.scale for end in (-128.5, 127.5))
    power = float(np.square(noise[1]).sum())
    shift = float(np.square(by_channel[1].mean(axis=0)).sum() * len(by_channel[1]))
    return LayerNoise(
        layer=op.name,
        op=type(op).__name__,
        dp=lane.dp,
        bits=op.weights.bits if isinstance(op, Weighted) else 8,
        sqnr_db=_decibels(signal, noise[0]),
        own_db=_decibels(signal, noise[1]),
        saturated=float(((signal < low) | (signal > high)).mean()),
        shift=shift / power if power else 0.0,
        levels=float(np.sqrt(np.square(signal).mean())) / q.scale,
        channels=type_.channels,
        starved=int(((span > 0) & (span < STARVED_LEVELS)).sum()),
        dead=int((span == 0).sum()),
        widest=float(span.max()),
    )


def _decibels(signal: Float64, noise: Float64) -> float:
    """10 log10 of the ratio of powers, between -100 and 100."""
    powers = float(np.square(signal).sum()), float(np.square(noise).sum())
    if not powers[1]:
        return _CLEAN_DB
    if not powers[0]:
        return -_CLEAN_DB
    return max(-_CLEAN_DB, min(_CLEAN_DB, 10 * math.log10(powers[0] / powers[1])))
