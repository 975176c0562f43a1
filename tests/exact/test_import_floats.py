"""Files of float32: the float model is LiteRT's, and the integers made of it are exact again."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import require
from foreign import Foreign, floats_of, random_file, random_floats
from graphs import int8_inputs
from shell import call

from tesla_embed.errors import ConfigError, ToolchainError, UnsupportedOp
from tesla_embed.ir.interpret import interpret, interpret_layers
from tesla_embed.ir.interpret_float import float_activations, interpret_float
from tesla_embed.ir.requantization import quantization, quantize_input
from tesla_embed.ir.store import load_model
from tesla_embed.quant import quantize_floats
from tesla_embed.tflite.importer import Imported, import_tflite
from tesla_host.judge import judge_layers
from tesla_host.litert import reference_interpreter

Floats = np.ndarray[Any, np.dtype[np.float32]]


@pytest.fixture(autouse=True)
def _litert() -> None:
    def find() -> object:
        try:
            import ai_edge_litert.interpreter as interpreter
        except ImportError as error:
            raise ToolchainError("LiteRT is not installed; run: pip install '.[oracle]'") from error
        return interpreter

    require(find)


def examples(imported: Imported, seed: int, count: int) -> Floats:
    shape = imported.model.graph.tensors[imported.model.graph.input].type.shape
    return np.random.default_rng(seed).normal(0, 3, (count, *shape)).astype(np.float32)


def worst(content: bytes, imported: Imported, inputs: Floats) -> float:
    """The largest difference to LiteRT in any layer, as a share of the layer's largest value."""
    model, found = imported.model, 0.0
    (values,) = float_activations(model, model.regions[0], inputs)
    litert = reference_interpreter(content)
    entry = litert.get_input_details()[0]
    compared = set()
    for number, sample in enumerate(inputs):
        litert.set_tensor(entry["index"], sample.reshape(entry["shape"]))
        litert.invoke()
        for op, tensor in zip(model.graph.ops, imported.layers, strict=True):
            if tensor >= 0:
                compared.add(op.output)
                wanted = litert.get_tensor(tensor).reshape(-1)
                off = np.abs(values[op.output][number].reshape(-1) - wanted).max()
                found = max(found, float(off) / max(1.0, float(np.abs(wanted).max())))
    assert model.graph.output in compared
    return found


def test_float_models_compute_what_litert_does() -> None:
    """LiteRT adds in float32, some hundred terms of either sign; ours adds in float64."""
    for seed in range(60):
        content = random_floats(seed)
        imported = import_tflite(content, "net", floats=True)
        assert worst(content, imported, examples(imported, seed, 3)) < 1e-5, seed


def test_integers_made_of_them_are_exact() -> None:
    """Interpreter against LiteRT on the exported integers, in every layer."""
    for seed in range(25):
        plain = import_tflite(random_floats(seed), "net", floats=True)
        model = quantize_floats(plain.model, examples(plain, seed, 20))
        region, inputs = model.regions[0], int8_inputs(model, seed, 6)
        ours, judged = (f(model, region, inputs) for f in (interpret_layers, judge_layers))
        for op, one, other in zip(model.graph.ops, ours, judged, strict=True):
            np.testing.assert_array_equal(one, other, f"seed {seed}, {op.name}")


def test_they_are_near_the_floats() -> None:
    """Half of all networks lose less than 2 % of the largest output, nine in ten less than 8 %."""
    losses = []
    for seed in range(40):
        plain = import_tflite(random_floats(seed), "net", floats=True)
        x = examples(plain, seed, 40)
        model = quantize_floats(plain.model, x)
        wanted = interpret_float(plain.model, plain.model.regions[0], x)
        entry, exit_ = (model.regions[0].types[i] for i in (model.graph.input, model.graph.output))
        integers = interpret(model, model.regions[0], quantize_input(entry, x))
        q = quantization(exit_)
        real = (integers.astype(np.float64) - q.zero_point) * q.scale
        losses.append(np.abs(real - wanted).max() / max(float(np.abs(wanted).max()), 1e-9))
    assert np.quantile(losses, 0.5) < 0.02
    assert np.quantile(losses, 0.9) < 0.08


def dense(bits: str = "") -> Foreign:
    foreign = Foreign(np.random.default_rng(5))
    foreign.begin((6,))
    foreign.dense(6)
    if bits:
        for tensor in (foreign.builder.tensors[0], foreign.builder.tensors[-1]):
            tensor.type, tensor.quantization = getattr(foreign.schema.TensorType, bits), None
    return foreign


def test_what_cannot_be_quantised() -> None:
    with pytest.raises(UnsupportedOp, match=r"is int8; .* is quantised already: .* without data"):
        import_tflite(random_file(1), "net", floats=True)
    with pytest.raises(UnsupportedOp, match=r"weights are int8; only float32 .*without optimisat"):
        import_tflite(dense("FLOAT32").finish(), "net", floats=True)
    with pytest.raises(UnsupportedOp, match=r"is float16; .*convert the network to float32"):
        import_tflite(dense("FLOAT16").finish(), "net", floats=True)
    with pytest.raises(UnsupportedOp, match=r"is float32; .* data to calibrate on \(--data\)"):
        import_tflite(random_floats(1), "net")
    foreign = dense("FLOAT32")
    (operator,) = foreign.builder.operators
    weights, restored = operator.inputs[1], foreign.value((6,), foreign.at.q)
    made = foreign.builder.tensors[restored.index]
    made.type, made.quantization = foreign.schema.TensorType.FLOAT32, None
    foreign.builder.operator("DEQUANTIZE", 2, [weights], restored.index)
    operator.inputs = [operator.inputs[0], restored.index, *operator.inputs[2:]]
    foreign.builder.operators.reverse()
    with pytest.raises(UnsupportedOp, match=r"DEQUANTIZE .*: restores weights of another type"):
        import_tflite(foreign.finish(), "net", floats=True)


def test_data_that_do_not_fit() -> None:
    plain = import_tflite(random_floats(1), "net", floats=True).model
    with pytest.raises(ConfigError, match="the network takes examples"):
        quantize_floats(plain, np.zeros((4, 1000), np.float32))


def test_the_command_quantises_on_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    foreign = Foreign(np.random.default_rng(2))
    foreign.begin((8, 8, 1))
    foreign.conv()
    foreign.dense(10)
    floats = floats_of(foreign)
    network, out = tmp_path / "net.tflite", tmp_path / "m.safetensors"
    network.write_bytes(floats)
    assert call("import", network, "--out", out) == 2
    assert "import one of float32 with data to calibrate on (--data)" in capsys.readouterr().err
    assert call("import", network, "--out", out, "--data", "digits", "--samples", 50) == 0
    model = load_model(out)
    region, inputs = model.regions[0], int8_inputs(model, 0, 8)
    assert quantization(region.types[0]).scale == float(np.float32(1 / 255))
    for one, other in zip(
        interpret_layers(model, region, inputs), judge_layers(model, region, inputs), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert call("verify", out, "--original", network) == 2
    assert "is float32" in capsys.readouterr().err
    network.write_bytes(random_file(1))
    assert call("import", network, "--out", out, "--data", "digits") == 2
    assert "import it without data (--data)" in capsys.readouterr().err
