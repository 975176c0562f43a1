"""Four bits by Bit-Split, bias correction, and the choice of layers."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from graphs import float_inputs, float_model, quantized_model
from norms import norm_model

from tesla_codegen.lower import lower
from tesla_embed.errors import GraphError, QuantizationError
from tesla_embed.ir.graph import Model
from tesla_embed.ir.interpret import interpret, interpret_layers
from tesla_embed.ir.interpret_float import float_activations, interpret_float
from tesla_embed.ir.ops import Weighted
from tesla_embed.ir.requantization import quantization, quantize_input
from tesla_embed.ir.store import digest
from tesla_embed.ir.verify import verify
from tesla_embed.quant import calibrate, quantize
from tesla_embed.quant.bitsplit import Moments, lost_power, own_scales, split_bits
from tesla_embed.quant.lockstep import Lockstep
from tesla_embed.quant.mixed import greedy, weights_bytes, within_budget, within_loss
from tesla_embed.quant.refine import LayerLoss, Refinement, layer_losses, narrowable, refine

Floats = npt.NDArray[np.float64]


def correlated(seed: int, rows: int, size: int) -> tuple[Floats, list[Moments]]:
    """Random weights `[rows, size]`, and moments of inputs in three regions, rounded a little."""
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((rows, size)) * rng.uniform(0.3, 1, (rows, 1))
    mix = rng.standard_normal((max(2, size // 3), size))
    x = np.maximum(rng.standard_normal((600, len(mix))) @ mix / 3, 0)
    found = []
    for dp in (25, 50, 100):
        columns = np.arange(max(1, size * dp // 100))
        plain = x[:, columns] - x[:, columns].mean(axis=0)
        seen = np.round(x[:, columns] * 20) / 20
        seen = seen - seen.mean(axis=0)
        pairs = ((seen, seen), (seen, plain), (plain, plain))
        parts = [a.T @ b / len(x) for a, b in pairs]
        found.append(Moments(dp, columns, max(1, rows * dp // 100), *parts))
    return weights, found


def share_lost(weights: Floats, rounded: Floats, moments: Sequence[Moments]) -> float:
    return float(np.mean([lost_power(weights, rounded, m) / m.power(weights) for m in moments]))


def nearest(weights: Floats, largest: int = 7) -> Floats:
    scale = np.abs(weights).max(axis=1, keepdims=True) / largest
    return np.clip(np.rint(weights / scale), -largest, largest) * scale


@pytest.mark.parametrize("seed", range(4))
def test_bit_split_loses_far_less_than_rounding(seed: int) -> None:
    weights, moments = correlated(seed, 16, 48)
    integers, scales = split_bits(weights, moments, 4)
    assert integers.dtype == np.int8
    assert np.abs(integers).max() <= 7
    assert (scales > 0).all()
    split = share_lost(weights, integers * scales[:, None], moments)
    assert split < 0.65 * share_lost(weights, nearest(weights), moments)


def test_power_and_loss_are_those_of_the_outputs() -> None:
    weights, (*_, last) = correlated(1, 3, 6)
    rounded = nearest(weights)
    assert (
        lost_power(weights, weights, dataclasses.replace(last, seen=last.plain, cross=last.plain))
        < 1e-9
    )
    rng = np.random.default_rng(0)
    plain = rng.multivariate_normal(np.zeros(6), np.eye(6), 4000)
    plain -= plain.mean(axis=0)
    seen = np.round(plain * 3) / 3
    seen -= seen.mean(axis=0)
    parts = [a.T @ b / len(plain) for a, b in ((seen, seen), (seen, plain), (plain, plain))]
    m = Moments(100, np.arange(6), 3, *parts)
    error = seen @ rounded.T - plain @ weights.T
    assert lost_power(weights, rounded, m) == pytest.approx(float(np.square(error).mean(0).sum()))
    wanted = float((plain @ weights.T).var(axis=0).sum())
    assert m.power(weights) == pytest.approx(wanted)


def test_two_bits_are_found_as_by_trying_all() -> None:
    """Three ternary weights of one output: mostly no other integers and scale lose less."""
    ratios = []
    for seed in range(30):
        weights, (*_, last) = correlated(seed, 1, 3)
        integers, scales = split_bits(weights, [last], 2)
        found = lost_power(weights, integers * scales[:, None], last)
        best = min(
            lost_power(weights, q * own_scales_of(weights, q, last)[:, None], last)
            for q in map(np.array, ([list(q)] for q in itertools.product((-1, 0, 1), repeat=3)))
        )
        ratios.append(found / best)
    assert min(ratios) > 1 - 1e-9
    assert sum(ratio < 1.01 for ratio in ratios) >= 20  # the rest are local optima


def own_scales_of(weights: Floats, integers: npt.NDArray[np.int64], moments: Moments) -> Floats:
    """The least-squares scale, without limits."""
    power = np.einsum("ij,jk,ik->i", integers, moments.seen, integers)
    agreement = np.einsum("ij,jk,ik->i", integers, moments.cross, weights)
    return np.where(power > 0, agreement / np.where(power > 0, power, 1), 0.0)


def test_a_region_s_own_scales_lose_no_more() -> None:
    weights, moments = correlated(2, 12, 30)
    integers, scales = split_bits(weights, moments, 4)
    for m in moments:
        own = scales.copy()
        own[: m.rows] = own_scales(weights, integers, scales, m)
        better = lost_power(weights, integers * own[:, None], m)
        assert better <= lost_power(weights, integers * scales[:, None], m) + 1e-12


def test_channels_that_no_region_computes_or_that_are_dead() -> None:
    weights, moments = correlated(3, 8, 12)
    weights[1] = 0.0
    integers, scales = split_bits(weights, moments[:1], 4)
    assert not integers[1].any()
    assert np.isfinite(scales).all() and (scales > 0).all()
    # Beyond the region's outputs nothing is known; plain rounding, clipped or not, is left.
    assert (integers[5] != 0).any()


def relative_errors(plain: Model, model: Model, inputs: npt.NDArray[np.float32]) -> list[float]:
    found = []
    for region, before in zip(model.regions, plain.regions, strict=True):
        q = quantization(region.types[model.graph.output])
        integers = quantize_input(region.types[model.graph.input], inputs)
        real = (interpret(model, region, integers).astype(np.float64) - q.zero_point) * q.scale
        wanted = interpret_float(plain, before, inputs)
        found.append(float(np.square(real - wanted).mean() / max(float(wanted.var()), 1e-9)))
    return found


@pytest.mark.parametrize("kind", ["chain", "depthwise", "cifar10-resnet8"])
def test_optimised_networks_answer_better_than_rounded_ones(kind: str) -> None:
    plain, inputs = norm_model(kind, 1)
    model = quantize(plain, calibrate(plain, inputs))
    layers = narrowable(model)
    rounded = refine(plain, model, inputs, Refinement(narrow=layers, rounding="nearest"))
    split = refine(plain, model, inputs, Refinement(narrow=layers))
    for done in (rounded, split):
        for index in layers:
            op, twin = done.graph.ops[index], model.graph.ops[index]
            assert isinstance(op, Weighted) and isinstance(twin, Weighted)
            assert op.weights.bits == 4
            assert np.abs(op.weights.data.astype(int)).max() <= 7
        assert weights_bytes(done) <= weights_bytes(model) * 0.62  # odd channels are padded
        for old, new in zip(model.regions, done.regions, strict=True):
            assert old.types == new.types
    errors = [relative_errors(plain, done, inputs) for done in (split, rounded)]
    assert float(np.mean(errors[0])) < 0.6 * float(np.mean(errors[1]))


def test_every_random_model_can_be_narrowed() -> None:
    for seed in range(40):
        plain = float_model(seed)
        inputs = float_inputs(plain, seed, 16)
        model = quantize(plain, calibrate(plain, inputs))
        verify(refine(plain, model, inputs, Refinement(narrow=narrowable(model))))
        verify(refine(plain, model, inputs, Refinement(bias_correction=True)))


def test_nothing_wanted_is_nothing_changed() -> None:
    plain, inputs = norm_model("chain", 1)
    model = quantize(plain, calibrate(plain, inputs))
    assert refine(plain, model, inputs, Refinement()) is model


def mean_shift(plain: Model, model: Model, inputs: npt.NDArray[np.float32]) -> float:
    """|E[integers] - E[floats]| of the outputs in their steps, averaged over all regions."""
    found = []
    for region, before in zip(model.regions, plain.regions, strict=True):
        integers = quantize_input(region.types[model.graph.input], inputs)
        q = quantization(region.types[model.graph.output])
        real = (interpret(model, region, integers).astype(np.float64) - q.zero_point) * q.scale
        wanted = interpret_float(plain, before, inputs)
        found.append(np.abs((real - wanted).mean(axis=0)).mean() / q.scale)
    return float(np.mean(found))


@pytest.mark.parametrize("kind", ["chain", "depthwise", "cifar10-resnet8"])
def test_bias_correction_removes_the_shift_of_the_mean(kind: str) -> None:
    plain, inputs = norm_model(kind, 2)
    model = quantize(plain, calibrate(plain, inputs))
    rounded = refine(plain, model, inputs, Refinement(narrow=narrowable(model), rounding="nearest"))
    corrected = refine(
        plain,
        model,
        inputs,
        Refinement(narrow=narrowable(model), rounding="nearest", bias_correction=True),
    )
    assert mean_shift(plain, corrected, inputs) < 0.3 * mean_shift(plain, rounded, inputs)
    for index in narrowable(model):  # only biases differ
        op, twin = corrected.graph.ops[index], rounded.graph.ops[index]
        assert isinstance(op, Weighted) and isinstance(twin, Weighted)
        assert np.array_equal(op.weights.data, twin.weights.data)


def test_the_lockstep_computes_what_the_interpreters_do() -> None:
    """All of it, although it forgets every tensor after its last reader."""
    for seed in range(25):
        plain = float_model(seed)
        inputs = float_inputs(plain, seed, 70)
        model = quantize(plain, calibrate(plain, inputs))
        walk = Lockstep(plain, model, inputs)
        truth = [
            interpret_layers(model, r, quantize_input(r.types[model.graph.input], inputs))
            for r in model.regions
        ]
        floats = [
            np.concatenate([v[model.graph.output] for v in float_activations(plain, r, inputs)])
            for r in plain.regions
        ]
        for index, op in enumerate(model.graph.ops):
            walk.advance(index, op, [region.tables[index] for region in model.regions])
            for lane, layers in zip(walk.lanes, truth, strict=True):
                assert np.array_equal(lane.integers[op.output], layers[index])
        for lane, wanted in zip(walk.lanes, floats, strict=True):
            assert set(lane.integers) == {model.graph.output}
            np.testing.assert_allclose(lane.floats[model.graph.output], wanted, 1e-4, 1e-4)


def test_refining_is_repeatable() -> None:
    plain, inputs = norm_model("depthwise", 4)
    model = quantize(plain, calibrate(plain, inputs))
    choice = Refinement(narrow=narrowable(model)[1:3])
    first, again = (digest(refine(plain, model, inputs, choice)) for _ in range(2))
    assert first == again


LOSSES = [
    LayerLoss(index=0, loss=0.5, saved=100),
    LayerLoss(index=2, loss=0.1, saved=10),
    LayerLoss(index=3, loss=0.0, saved=0),
    LayerLoss(index=5, loss=0.2, saved=200),
]


def test_least_loss_per_byte_comes_first_and_only_if_it_saves() -> None:
    assert [loss.index for loss in greedy(LOSSES)] == [5, 0, 2]


def test_budget() -> None:
    assert within_budget(LOSSES, 1000, 1000) == ()
    assert within_budget(LOSSES, 1000, 800) == (5,)
    assert within_budget(LOSSES, 1000, 799) == (0, 5)
    assert within_budget(LOSSES, 1000, 690) == (0, 2, 5)
    with pytest.raises(QuantizationError, match="take 690 bytes, more than the budget of 689"):
        within_budget(LOSSES, 1000, 689)


@pytest.mark.parametrize("most", range(4))
def test_largest_choice_within_a_loss(most: int) -> None:
    asked = []

    def lost(layers: tuple[int, ...]) -> float:
        asked.append(layers)
        return 1.0 if len(layers) > most else 0.0

    assert len(within_loss(LOSSES, lost, 0.5)) == most
    assert len(asked) <= 2


def test_losses_of_layers_point_at_the_delicate_one() -> None:
    """Weights that four bits hold exactly cost nothing; those that reach far cost most."""
    plain, inputs = norm_model("cifar10-resnet8", 2)
    able = narrowable(quantize(plain, calibrate(plain, inputs)))
    easy, delicate = able[2], able[4]
    ops = list(plain.graph.ops)
    for index in (easy, delicate):
        op = ops[index]
        assert isinstance(op, Weighted)
        rng = np.random.default_rng(index)
        whole = rng.integers(-7, 8, op.weights.data.shape).astype(np.float32)
        if index == delicate:  # one weight of each filter so large that the others round away
            whole.reshape(len(whole), -1)[:, 0] = 90
        else:
            whole.reshape(len(whole), -1)[:, :1] = 7
        weights = dataclasses.replace(op.weights, data=whole / 100)
        ops[index] = dataclasses.replace(op, weights=weights)
    graph = dataclasses.replace(plain.graph, ops=tuple(ops))
    planted = dataclasses.replace(plain, graph=graph)
    model = quantize(planted, calibrate(planted, inputs))
    losses = {loss.index: loss for loss in layer_losses(planted, model, inputs)}
    assert list(losses) == able
    assert max(losses.values(), key=lambda loss: loss.loss).index == delicate
    assert losses[easy].loss < losses[delicate].loss / 10
    for loss in losses.values():
        op = model.graph.ops[loss.index]
        assert isinstance(op, Weighted)
        half = op.weights.data.size // 2
        assert half - op.weights.data[0].size <= loss.saved <= half


def test_layers_that_read_a_concatenation_keep_eight_bits() -> None:
    """There are no kernels for it, and the verifier says so."""
    refused = 0
    for seed in range(60):
        model = quantized_model(seed)
        for index, op in enumerate(model.graph.ops):
            if not isinstance(op, Weighted):
                continue
            ops = list(model.graph.ops)
            data = np.clip(op.weights.data.astype(np.int64), -7, 7).astype(np.int8)
            weights = dataclasses.replace(op.weights, data=data, bits=4)
            ops[index] = dataclasses.replace(op, weights=weights)
            graph = dataclasses.replace(model.graph, ops=tuple(ops))
            narrow = dataclasses.replace(model, graph=graph)
            if index in narrowable(model):
                lower(narrow)
                continue
            refused += 1
            with pytest.raises(GraphError, match="which needs weights of eight bits"):
                verify(narrow)
    assert refused > 3
