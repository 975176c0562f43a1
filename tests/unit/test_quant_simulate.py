"""The trainable simulation computes what the integers compute, and training improves them."""

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest
import torch
from graphs import extreme_model, float_inputs, float_model
from norms import norm_model
from torch import Tensor
from torch.nn.functional import mse_loss

from tesla_embed.errors import QuantizationError
from tesla_embed.ir.graph import Model, Table
from tesla_embed.ir.interpret import interpret
from tesla_embed.ir.interpret_float import interpret_float
from tesla_embed.ir.ops import Weighted
from tesla_embed.ir.requantization import quantization, quantize_input
from tesla_embed.ir.store import digest
from tesla_embed.quant import calibrate, quantize
from tesla_embed.quant.options import QatOptions
from tesla_embed.quant.qat import fine_tune
from tesla_embed.quant.simulate import Simulation

Float32 = npt.NDArray[np.float32]


def differences(simulation: Simulation, model: Model, inputs: Float32) -> list[int]:
    """Regions where the simulation's outputs are not exactly the interpreter's."""
    found = []
    for region in model.regions:
        q = quantization(region.types[model.graph.output])
        integers = quantize_input(region.types[model.graph.input], inputs)
        expected = interpret(model, region, integers).astype(np.float32) - q.zero_point
        real = simulation(torch.from_numpy(inputs), region.dp).detach().numpy()
        if not np.array_equal(real, (expected * np.float32(q.scale)).astype(np.float32)):
            found.append(region.dp)
    return found


def quantized(plain: Model, inputs: Float32) -> Model:
    return quantize(plain, calibrate(plain, inputs))


@pytest.mark.parametrize("start", range(0, 60, 20))
def test_random_models_are_simulated_exactly(start: int) -> None:
    for seed in range(start, start + 20):
        plain = float_model(seed)
        inputs = float_inputs(plain, seed, 8)
        model = quantized(plain, inputs)
        simulation = Simulation(plain, model)
        assert differences(simulation, model, inputs) == [], seed
        assert digest(simulation.integers()) == digest(model), seed


@pytest.mark.parametrize("kind", ["chain", "depthwise", "cifar10-resnet8"])
def test_batch_norm_and_additions_are_simulated_exactly(kind: str) -> None:
    plain, inputs = norm_model(kind, 3)
    model = quantized(plain, inputs)
    simulation = Simulation(plain, model)
    assert differences(simulation, model, inputs) == []
    assert digest(simulation.integers()) == digest(model)


@pytest.mark.parametrize("onednn", [True, False])
def test_sums_are_exact_whatever_library_convolves(onednn: bool) -> None:
    """NNPACK transforms, and its sums are no integers; PyTorch takes it for batches like this."""
    plain, few = norm_model("cifar10-resnet8", 3)
    inputs = np.concatenate([few, few[::-1], np.square(few), 1 - few])
    model = quantized(plain, inputs)
    with torch.backends.mkldnn.flags(enabled=onednn):  # type: ignore[no-untyped-call]
        assert differences(Simulation(plain, model), model, inputs) == []


def test_integers_at_the_edges_are_simulated_exactly() -> None:
    """Weights, biases and scales that no calibration makes; sums beyond what float32 holds."""
    for seed in range(20):
        plain, model = float_model(seed), extreme_model(seed)
        inputs = float_inputs(plain, seed, 8)
        simulation = Simulation(plain, model)
        assert differences(simulation, model, inputs) == [], seed
        assert digest(simulation.integers()) == digest(model), seed


def test_gradients_reach_every_weight_that_is_active() -> None:
    plain, inputs = norm_model("cifar10-resnet8", 1)
    simulation = Simulation(plain, quantized(plain, inputs))
    simulation(torch.from_numpy(inputs), 100).square().sum().backward()
    for name, weight in simulation.weights.items():
        assert weight.grad is not None and float(weight.grad.abs().sum()) > 0, name
    silent = [name for name, bias in simulation.biases.items() if bias.grad is None]
    assert silent and all(not name.startswith("100_") for name in silent)


def spoilt(model: Model, seed: int) -> Model:
    """The same model, every weight off by up to 12 steps and every bias by up to 400."""
    rng, ops = np.random.default_rng(seed), list(model.graph.ops)
    for index, op in enumerate(ops):
        if isinstance(op, Weighted):
            noise = rng.integers(-12, 13, op.weights.data.shape)
            data = np.clip(op.weights.data.astype(np.int64) + noise, -127, 127).astype(np.int8)
            ops[index] = dataclasses.replace(op, weights=dataclasses.replace(op.weights, data=data))
    regions = [
        dataclasses.replace(region, tables=tuple(_spoilt(t, rng) for t in region.tables))
        for region in model.regions
    ]
    graph = dataclasses.replace(model.graph, ops=tuple(ops))
    return dataclasses.replace(model, graph=graph, regions=tuple(regions))


def _spoilt(table: Table | None, rng: np.random.Generator) -> Table | None:
    if table is None:
        return None
    bias = (table.bias.astype(np.int64) + rng.integers(-400, 401, len(table.bias))).astype(np.int32)
    return dataclasses.replace(table, bias=bias)


def errors(plain: Model, model: Model, inputs: Float32) -> list[float]:
    """Mean squared distance from the float answers, by region."""
    found = []
    for region, fixed in zip(plain.regions, model.regions, strict=True):
        q = quantization(fixed.types[model.graph.output])
        integers = quantize_input(fixed.types[model.graph.input], inputs)
        real = (interpret(model, fixed, integers).astype(np.float64) - q.zero_point) * q.scale
        found.append(float(np.square(real - interpret_float(plain, region, inputs)).mean()))
    return found


def tuned(plain: Model, model: Model, inputs: Float32, **changes: int) -> Model:
    answers = {
        region.dp: interpret_float(plain, region, inputs).astype(np.float32)
        for region in plain.regions
    }

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return mse_loss(output, target)

    options = QatOptions(**{"epochs": 30, "batch": 4, **changes})  # type: ignore[arg-type]
    return fine_tune(
        plain, model, inputs, answers, loss, dataclasses.replace(options, learning_rate=0.3)
    )


def test_training_mends_spoilt_integers_in_every_region() -> None:
    plain, inputs = norm_model("depthwise", 5)
    model = spoilt(quantized(plain, inputs), 0)
    trained = tuned(plain, model, inputs)
    for before, after in zip(
        errors(plain, model, inputs), errors(plain, trained, inputs), strict=True
    ):
        assert after < 0.5 * before
    # What was trained is what is exported, bit for bit.
    assert differences(Simulation(plain, trained), trained, inputs) == []
    for old, new in zip(model.regions, trained.regions, strict=True):
        assert old.types == new.types


def test_training_follows_from_its_seed() -> None:
    plain, inputs = norm_model("chain", 5)
    model = spoilt(quantized(plain, inputs), 1)
    first, again, other = (
        digest(tuned(plain, model, inputs, epochs=3, seed=seed)) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_training_that_makes_it_worse_changes_nothing() -> None:
    plain, inputs = norm_model("chain", 5)
    model = quantized(plain, inputs)
    answers = {r.dp: np.zeros((16, 4), np.float32) for r in plain.regions}

    def loss(output: Tensor, target: Tensor) -> Tensor:  # the gradient points away from better
        distance = mse_loss(output, target)
        return distance.detach() + (distance.detach() - distance)

    options = QatOptions(epochs=2, batch=4, learning_rate=0.5)
    assert digest(fine_tune(plain, model, inputs, answers, loss, options)) == digest(model)


def test_too_few_examples() -> None:
    plain, inputs = norm_model("chain", 5)
    model = quantized(plain, inputs)
    with pytest.raises(QuantizationError, match="at least two examples"):
        tuned(plain, model, inputs[:1])
