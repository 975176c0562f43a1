"""Layer by layer, after plain quantisation: fewer bits, and biases that undo rounding's mean.

In: a float model, its quantised form, examples. Out: the quantised model with some layers' weights
in four bits and biases corrected in every region. A layer is judged by what reaches it through all
the layers before it as they were left here, and against what the float network computes there.

Bias correction: rounding shifts the mean of every output; the shift differs from region to region,
and so does the bias that takes it away (Nagel et al., "Data-Free Quantization Through Weight
Equalization and Bias Correction", ICCV 2019, section 4.2, here with means observed on data). Means
pass through a linear layer, so that the mean of its inputs is all that is needed.
"""

import dataclasses
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from tesla_embed.ir.graph import Model, Table
from tesla_embed.ir.ops import Weighted
from tesla_embed.ir.parts import active_indices, channel_parts, joined
from tesla_embed.ir.types import Weights
from tesla_embed.ir.verify import verify
from tesla_embed.quant.bitsplit import lost_power, own_scales, split_bits
from tesla_embed.quant.lockstep import Lane, Lockstep
from tesla_embed.quant.moments import Observation, blocks, mean_outputs, observe
from tesla_embed.quant.options import Rounding
from tesla_embed.quant.quantize import integer_table, silent_rows
from tesla_embed.quant.rounding import quantize_weights, smallest_scale

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
BITS = 4


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Refinement:
    """Which operations (indices) get four bits, how, and what becomes of scales and biases.

    `own_scales` lets every region have the weight scales that fit it best. Optimised weights leave
    a mean error to the bias, so that "bitsplit" always corrects.
    """

    narrow: Collection[int] = ()
    rounding: Rounding = "bitsplit"
    own_scales: bool = True
    bias_correction: bool = False

    @property
    def corrects(self) -> bool:
        """Whether biases are corrected."""
        return self.bias_correction or (bool(self.narrow) and self.rounding == "bitsplit")


def refine(plain: Model, model: Model, inputs: Float32, choice: Refinement) -> Model:
    """`model`, made from `plain`, with the choice applied; `inputs` are `[N, *input shape]`.

    Raises `QuantizationError` when a bias does not fit.
    """
    if not choice.narrow and not choice.corrects:
        return model
    walk = Lockstep(plain, model, inputs)
    ops = list(model.graph.ops)
    tables = [list(region.tables) for region in model.regions]
    for index, op in enumerate(ops):
        if isinstance(op, Weighted):
            ops[index], made = _layer(plain, walk, index, op, tables, choice)
            for row, table in zip(tables, made, strict=True):
                row[index] = table
        walk.advance(index, ops[index], [row[index] for row in tables])
    graph = dataclasses.replace(model.graph, ops=tuple(ops))
    regions = tuple(
        dataclasses.replace(region, tables=tuple(row))
        for region, row in zip(model.regions, tables, strict=True)
    )
    return verify(dataclasses.replace(model, graph=graph, regions=regions))


def _layer(
    plain: Model,
    walk: Lockstep,
    index: int,
    op: Weighted,
    tables: Sequence[Sequence[Table | None]],
    choice: Refinement,
) -> tuple[Weighted, list[Table | None]]:
    """One operation as it will be, and its table in every region."""
    before = plain.graph.ops[index]
    assert isinstance(before, Weighted)
    narrows = index in choice.narrow
    optimises = narrows and choice.rounding == "bitsplit"
    seen = [observe(lane, op, second=optimises) for lane in walk.lanes]
    weights = op.weights
    if narrows:
        weights = _narrowed(before, walk.lanes, seen, choice.rounding)
        op = dataclasses.replace(op, weights=weights)
    own = optimises and choice.own_scales
    scales = _scales(before, weights, walk.lanes, seen, own=own)
    made: list[Table | None] = []
    for number, (lane, one, scale) in enumerate(zip(walk.lanes, seen, scales, strict=True)):
        table, real = tables[number][index], plain.regions[number].tables[index]
        if real is not None and (narrows or choice.corrects):
            bias = real.bias.astype(np.float64)
            if choice.corrects:
                bias = bias + _shift(before, op, lane, one, scale, real)
            where = f"{op.name} at {lane.dp} % DP"
            silent = silent_rows(op.weights)[active_indices(lane.parts[op.output])]
            source = lane.region.types[op.input]
            table = integer_table(where, bias, scale, real.gain, source, silent)
        made.append(table)
    return op, made


def _shift(
    before: Weighted, op: Weighted, lane: Lane, seen: Observation, scale: Float64, real: Table
) -> Float64:
    """What the float network's mean is above the quantised one's, before the activation."""
    wanted = mean_outputs(op, lane, before.weights.data, seen.plain_mean)
    found = mean_outputs(op, lane, op.weights.data, seen.seen_mean) * scale
    gain = 1.0 if real.gain is None else real.gain
    return np.asarray((wanted - found) * gain)


def _narrowed(
    op: Weighted, lanes: Sequence[Lane], seen: Sequence[Observation], rounding: Rounding
) -> Weights:
    """Float weights in four bits."""
    nearest = quantize_weights(op.weights.data.astype(np.float32), BITS)
    if rounding == "nearest":
        return nearest
    rows = op.weights.data.reshape(len(op.weights.data), -1).astype(np.float64)
    assert nearest.scale is not None
    integers = nearest.data.reshape(rows.shape).copy()
    scales = nearest.scale.copy()
    floor = smallest_scale(op.weights.data.astype(np.float32), BITS)
    for part, moments in blocks(op, lanes, seen):
        if not moments:
            continue  # no region computes it
        found, own = split_bits(rows[part], moments, BITS)
        usable = own > floor
        integers[part][usable] = found[usable]
        scales[part][usable] = own[usable]
    scales = scales.astype(np.float32).astype(np.float64)
    return Weights(data=integers.reshape(op.weights.data.shape), scale=scales, bits=BITS)


def _scales(
    op: Weighted,
    weights: Weights,
    lanes: Sequence[Lane],
    seen: Sequence[Observation],
    *,
    own: bool,
) -> list[Float64]:
    """By region, a weight scale for every active output channel."""
    assert weights.scale is not None
    full = [weights.scale.copy() for _ in lanes]
    if own:
        rows = op.weights.data.reshape(len(op.weights.data), -1).astype(np.float64)
        integers = weights.data.reshape(rows.shape).astype(np.int8)
        for part, moments in blocks(op, lanes, seen):
            for m in moments:
                place = next(i for i, lane in enumerate(lanes) if lane.dp == m.dp)
                best = own_scales(rows[part], integers[part], weights.scale[part], m)
                full[place][part][: m.rows] = best
    return [
        scale[active_indices(lane.parts[op.output])].astype(np.float32).astype(np.float64)
        for scale, lane in zip(full, lanes, strict=True)
    ]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LayerLoss:
    """Four bits in operation `index` alone: output power lost, beyond eight bits' loss.

    `loss` is a share, averaged over the regions; `saved` is in bytes.
    """

    index: int
    loss: float
    saved: int


def narrowable(model: Model) -> list[int]:
    """The operations that there are kernels with four bits for: not those after a concatenation."""
    parts = [channel_parts(model.graph, region) for region in model.regions]
    return [
        index
        for index, op in enumerate(model.graph.ops)
        if isinstance(op, Weighted) and len(joined([row[op.input] for row in parts])[0]) == 1
    ]


def layer_losses(plain: Model, model: Model, inputs: Float32) -> list[LayerLoss]:
    """What each operation would lose and save that can, all others left at eight bits."""
    walk, found, candidates = Lockstep(plain, model, inputs), [], set(narrowable(model))
    for index, op in enumerate(model.graph.ops):
        before = plain.graph.ops[index]
        if index in candidates and isinstance(op, Weighted) and isinstance(before, Weighted):
            seen = [observe(lane, op, second=True) for lane in walk.lanes]
            narrow = _narrowed(before, walk.lanes, seen, "bitsplit")
            parts = (before, walk.lanes, seen)
            loss = _loss(*parts, narrow) - _loss(*parts, op.weights)
            found.append(LayerLoss(index=index, loss=loss, saved=op.weights.bytes - narrow.bytes))
        walk.advance(index, op, [region.tables[index] for region in model.regions])
    return found


def _loss(
    op: Weighted, lanes: Sequence[Lane], seen: Sequence[Observation], weights: Weights
) -> float:
    """Share of the output's power that rounded weights lose, averaged over the regions."""
    assert weights.scale is not None
    rows = op.weights.data.reshape(len(op.weights.data), -1).astype(np.float64)
    rounded = weights.data.reshape(rows.shape).astype(np.float64) * weights.scale[:, None]
    lost = {lane.dp: 0.0 for lane in lanes}
    power = dict(lost)
    for part, moments in blocks(op, lanes, seen):
        for m in moments:
            lost[m.dp] += lost_power(rows[part], rounded[part], m)
            power[m.dp] += m.power(rows[part])
    return float(np.mean([lost[dp] / power[dp] if power[dp] > 0 else 0.0 for dp in lost]))
