"""The diagnosis finds what was planted."""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from graphs import float_inputs, float_model, quantized_model
from norms import norm_model

from tesla_embed.errors import ConfigError
from tesla_embed.ir.graph import Model
from tesla_embed.ir.interpret import interpret
from tesla_embed.ir.interpret_float import interpret_float
from tesla_embed.ir.ops import Passing, Weighted
from tesla_embed.ir.requantization import quantization, quantize_input
from tesla_embed.quant import Calibration, calibrate, quantize
from tesla_embed.quant.diagnose import (
    FIRST,
    Diagnosis,
    LayerNoise,
    advice,
    dequantized,
    diagnose,
    imported_advice,
    worst_layers,
)
from tesla_embed.quant.refine import Refinement, narrowable, refine

Float32 = npt.NDArray[np.float32]


def figures(**changes: object) -> LayerNoise:
    healthy = LayerNoise(
        layer="conv", op="Conv2D", dp=50, bits=8, sqnr_db=35.0, own_db=40.0, saturated=0.0,
        shift=0.01, levels=40.0, channels=16, starved=0, dead=0, widest=250.0,
    )  # fmt: skip
    return dataclasses.replace(healthy, **changes)  # type: ignore[arg-type]


def of_layer(found: Diagnosis, name: str) -> list[LayerNoise]:
    return [one for one in found.layers if one.layer == name]


def measured(plain: Model, model: Model, inputs: Float32) -> dict[int, Any]:
    """Signal to noise of the output in every region, from the two interpreters."""
    found = {}
    for region, before in zip(model.regions, plain.regions, strict=True):
        q = quantization(region.types[model.graph.output])
        integers = quantize_input(region.types[model.graph.input], inputs)
        real = (interpret(model, region, integers).astype(np.float64) - q.zero_point) * q.scale
        wanted = interpret_float(plain, before, inputs)
        signal, noise = np.square(wanted).sum(), np.square(real - wanted).sum()
        decibels = 10 * np.log10(max(signal, 1e-30) / max(noise, 1e-30)) if noise else 100.0
        found[region.dp] = pytest.approx(min(max(decibels, -100), 100), abs=0.02)
    return found


def outputs(found: Diagnosis, model: Model) -> dict[int, float]:
    """The same from a diagnosis, where the last layer is one that rounds."""
    last = [op.name for op in model.graph.ops if not isinstance(op, Passing)][-1]
    return {one.dp: one.sqnr_db for one in of_layer(found, last)}


def test_output_noise_is_that_of_the_interpreters() -> None:
    plain, inputs = norm_model("cifar10-resnet8", 1)
    model = quantize(plain, calibrate(plain, inputs))
    found = diagnose(plain, model, inputs)
    assert outputs(found, model) == measured(plain, model, inputs)
    last = of_layer(found, model.graph.ops[-1].name)
    assert all(one.own_db > one.sqnr_db - 1 for one in last)


def test_the_layer_with_few_bits_is_named_first() -> None:
    plain, inputs = norm_model("cifar10-resnet8", 1)
    model = quantize(plain, calibrate(plain, inputs))
    for index in narrowable(model)[1:4]:
        name = model.graph.ops[index].name
        rounded = refine(plain, model, inputs, Refinement(narrow=[index], rounding="nearest"))
        found = diagnose(plain, rounded, inputs)
        assert found.first[0] == name
        assert len(found.first) == FIRST
        assert {one.bits for one in of_layer(found, name)} == {4}
        assert any(f"four bits are few for {name}" in text for text in found.advice)
        # Layers before it are as good as ever; its own noise passes on to those after it.
        for one, clean in zip(found.layers, diagnose(plain, model, inputs).layers, strict=True):
            assert one.layer == name or one.own_db == pytest.approx(clean.own_db)


def test_saturation_is_counted() -> None:
    plain, inputs = norm_model("chain", 1)
    whole = quantize(plain, calibrate(plain, inputs))
    assert all(one.saturated == 0 for one in diagnose(plain, whole, inputs).layers)
    tight = Calibration(method="percentile", percentile=80.0)
    found = diagnose(plain, quantize(plain, calibrate(plain, inputs, None, tight)), inputs)
    assert max(one.saturated for one in found.layers) > 0.1
    assert any("lie beyond its range: use --calibration minmax" in text for text in found.advice)


def steep(model: Model, factor: float) -> Model:
    """The output channels of the first convolution scaled down, one after the other."""
    ops = list(model.graph.ops)
    op = ops[0]
    assert isinstance(op, Weighted)
    count = len(op.weights.data)
    gamma = factor ** np.arange(count)
    data = op.weights.data.astype(np.float64) * gamma.reshape(-1, 1, 1, 1)
    weights = dataclasses.replace(op.weights, data=data.astype(np.float32))
    ops[0] = dataclasses.replace(op, weights=weights)
    regions = []
    for region in model.regions:
        table = region.tables[0]
        assert table is not None
        bias = (table.bias.astype(np.float64) * gamma[: len(table.bias)]).astype(np.float32)
        first = dataclasses.replace(table, bias=bias)
        regions.append(dataclasses.replace(region, tables=(first, *region.tables[1:])))
    graph = dataclasses.replace(model.graph, ops=tuple(ops))
    return dataclasses.replace(model, graph=graph, regions=tuple(regions))


def test_a_steep_profile_starves_channels() -> None:
    plain, inputs = norm_model("depthwise", 7)
    name = plain.graph.ops[0].name
    for factor, starves in ((1.0, False), (0.1, True)):
        bent = steep(plain, factor)
        found = diagnose(bent, quantize(bent, calibrate(bent, inputs)), inputs)
        starved = max(one.starved for one in of_layer(found, name))
        assert (starved > 0) == starves
        blamed = [text for text in found.advice if "train with a flatter --profile" in text]
        assert [name in text for text in blamed] == [True] * starves


def test_advice_follows_from_the_figures() -> None:
    def texts(shared: bool = False, **changes: object) -> str:
        return "\n".join(advice([figures(**changes)], ["conv"], shared=shared))

    assert texts() == "in any case: --qat trains the integers of all regions, for a few minutes"
    assert "--tables region" in texts(shared=True, starved=9)
    assert "--profile" in texts(starved=9)
    assert "--profile" not in texts(starved=16, widest=7.0, dp=50)
    assert "starve" not in texts(starved=4)  # a quarter
    assert "--calibration minmax" in texts(saturated=0.002)
    assert "--calibration mse" in texts(levels=9.0)
    assert "--bias-correction" in texts(shift=0.3)
    assert "--weights mixed" in texts(bits=4)


def test_saturation_by_four_bits_is_not_for_the_calibration_to_mend() -> None:
    (text, *_) = advice([figures(saturated=0.002, bits=4)], ["conv"], shared=False)
    assert "--calibration" not in text and "--weights mixed" in text


def test_imported_networks_get_no_advice_that_import_cannot_follow() -> None:
    model = quantized_model(1)
    provenance = dataclasses.replace(model.provenance, algorithm="import")
    imported = dataclasses.replace(model, provenance=provenance)
    twin = dequantized(imported)
    found = diagnose(twin, imported, float_inputs(twin, 1, 6))
    text = " ".join(found.advice)
    assert found.first[0] in text and "import it" in text
    for flag in ("--qat", "--calibration", "--tables", "--weights", "--profile", "--bias"):
        assert flag not in text
    (text, _) = imported_advice([figures(saturated=0.002)], ["conv"])
    assert "beyond its range" in text


def test_worst_layers_by_their_worst_region() -> None:
    found = [
        figures(layer="a", own_db=30.0),
        figures(layer="a", own_db=50.0, dp=100),
        figures(layer="b", own_db=29.0),
        figures(layer="c", own_db=60.0),
        figures(layer="d", own_db=45.0),
    ]
    assert worst_layers(found) == ("b", "a", "d")


def test_a_model_compared_with_its_own_weights() -> None:
    """Exactly representable: the float twin of an integer model has its weights and biases."""
    for seed in range(20):
        model = quantized_model(seed)
        twin = dequantized(model)
        for op, made in zip(model.graph.ops, twin.graph.ops, strict=True):
            if isinstance(op, Weighted) and isinstance(made, Weighted):
                assert op.weights.scale is not None
                shape = (-1, *[1] * (op.weights.data.ndim - 1))
                real = op.weights.data * op.weights.scale.reshape(shape)
                np.testing.assert_allclose(made.weights.data, real, rtol=1e-6)
        inputs = float_inputs(twin, seed, 6)
        found = diagnose(twin, model, inputs)
        if not isinstance(model.graph.ops[-1], Passing):
            assert outputs(found, model) == measured(twin, model, inputs), seed


def test_models_that_do_not_belong_together() -> None:
    plain, inputs = norm_model("chain", 1)
    other, _ = norm_model("depthwise", 1)
    model = quantize(plain, calibrate(plain, inputs))
    with pytest.raises(ConfigError, match="was not made from that float network"):
        diagnose(other, model, inputs)
    with pytest.raises(ConfigError, match="at least one example"):
        diagnose(plain, model, inputs[:0])


def test_every_random_model_can_be_diagnosed() -> None:
    compared = 0
    for seed in range(25):
        plain = float_model(seed)
        inputs = float_inputs(plain, seed, 12)
        model = quantize(plain, calibrate(plain, inputs))
        found = diagnose(plain, model, inputs)
        if not isinstance(model.graph.ops[-1], Passing):
            assert outputs(found, model) == measured(plain, model, inputs), seed
            compared += 1
        names = {op.name for op in model.graph.ops if not isinstance(op, Passing)}
        assert {one.layer for one in found.layers} == names
    assert compared > 10
