"""The verbs that exchange models with others, from a file to a verified firmware and back."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from conftest import require
from foreign import Foreign, autoencoder, random_file
from graphs import narrow_model, quantized_model
from shell import call

from tesla_embed.errors import ToolchainError
from tesla_embed.ir.graph import Model
from tesla_embed.ir.interpret import interpret
from tesla_embed.ir.ops import Weighted
from tesla_embed.ir.requantization import quantization, quantize_input
from tesla_embed.ir.store import load_model, save_model
from tesla_host.compilers import find_compiler
from tesla_host.litert import reference_interpreter
from tesla_host.targets import find_target

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _litert() -> None:
    def find() -> object:
        try:
            import ai_edge_litert.interpreter as interpreter
        except ImportError as error:
            raise ToolchainError("LiteRT is not installed; run: pip install '.[oracle]'") from error
        return interpreter

    require(find)


def fails(capsys: Capture, code: int, says: str, *arguments: object) -> None:
    """The command ends with `code` and one line of error that contains `says`."""
    capsys.readouterr()
    assert call(*arguments) == code
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert says in errors[0]


def speech_like() -> bytes:
    """A flat input reshaped to an image, a filter bank, and a fully connected layer on top."""
    foreign = Foreign(np.random.default_rng(2))
    foreign.begin((140,))
    foreign.reshape((14, 10, 1))
    foreign.depthwise()
    foreign.dense(4)
    return foreign.finish()


@pytest.fixture
def original(tmp_path: Path) -> Path:
    path = tmp_path / "Micro Speech-v2.int8.tflite"
    path.write_bytes(speech_like())
    return path


def test_import_and_verify_on_the_emulator(original: Path, tmp_path: Path, capsys: Capture) -> None:
    require(lambda: find_compiler(find_target("emulator").compiler))
    model, result = tmp_path / "m.safetensors", tmp_path / "v.json"
    assert call("import", original, "--out", model) == 0
    assert "micro_speech_v2, 4 operations, 100 % DP" in capsys.readouterr().out
    arguments = ("--original", original, "--samples", 16, "--json", result)
    assert call("verify", model, *arguments) == 0
    checks = {check["against"]: check for check in json.loads(result.read_text())["checks"]}
    assert set(checks) == {"host", "litert", "original", "emulator"}
    assert {check["mismatches"] for check in checks.values()} == {0}


def test_the_original_is_judged_without_anything_that_writes_files(
    original: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with tflite_runtime, which runs files and cannot write them."""
    require(lambda: find_compiler(find_target("host").compiler))
    for name in ("ai_edge_litert.schema_py_generated", "tensorflow"):
        monkeypatch.setitem(sys.modules, name, None)
    model, result = tmp_path / "m.safetensors", tmp_path / "v.json"
    assert call("import", original, "--out", model) == 0
    verb = ("verify", model, "--target", "host", "--samples", 8)
    assert call(*verb, "--original", original, "--json", result) == 0
    assert "LiteRT judged the original alone" in capsys.readouterr().out
    checks = [check["against"] for check in json.loads(result.read_text())["checks"]]
    assert checks == ["host", "original"]
    fails(capsys, 3, "writing .tflite needs LiteRT or TensorFlow; run: pip install", *verb)


@pytest.mark.parametrize("seed", [1, 4, 6])
def test_random_files_on_the_emulator(seed: int, tmp_path: Path) -> None:
    require(lambda: find_compiler(find_target("emulator").compiler))
    original, model = tmp_path / "a.tflite", tmp_path / "m.safetensors"
    original.write_bytes(random_file(seed))
    assert call("import", original, "--out", model) == 0
    assert call("verify", model, "--original", original, "--samples", 8) == 0


def test_another_file_is_not_the_original(original: Path, tmp_path: Path, capsys: Capture) -> None:
    model, other = tmp_path / "m.safetensors", tmp_path / "other.tflite"
    other.write_bytes(autoencoder(1))
    assert call("import", original, "--out", model) == 0
    fails(capsys, 2, "is not what micro_speech_v2", "verify", model, "--original", other)


def test_unsupported_files_write_nothing(tmp_path: Path, capsys: Capture) -> None:
    foreign = Foreign(np.random.default_rng(0))
    foreign.begin((4,))
    foreign.dense(3)
    foreign.builder.codes[0] = (foreign.schema.BuiltinOperator.SVDF, 1)
    original, out = tmp_path / "a.tflite", tmp_path / "m.safetensors"
    original.write_bytes(foreign.finish())
    fails(capsys, 2, "operator 0, SVDF", "import", original, "--out", out)
    assert not out.exists()
    original.write_bytes(b"no flatbuffer at all")
    fails(capsys, 2, "does not bear TFL3", "import", original, "--out", out)
    fails(capsys, 2, "check the path", "import", tmp_path / "none.tflite", "--out", out)
    assert not out.exists()


def test_files_of_other_kinds_are_told_apart(tmp_path: Path, capsys: Capture) -> None:
    model, network = tmp_path / "model.safetensors", tmp_path / "net.tflite"
    verb = ("import", network, "--out", tmp_path / "out.safetensors")
    save_model(model, quantized_model(2))
    fails(capsys, 2, "goes to `tesla-embed quantize`", "import", model, *verb[2:])
    network.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(40))
    fails(capsys, 2, "save it as .keras", *verb)
    network.write_bytes(b"PK\x03\x04" + bytes(40))
    fails(capsys, 2, "what torch.export saved as .pt2", *verb)
    network.write_bytes(b"\x08\x07onnx" + bytes(40))
    fails(capsys, 2, "does not bear TFL3 at byte 4, so it is no .tflite; check", *verb)


@pytest.mark.parametrize("verb", ["inspect", "run", "export", "generate", "verify"])
def test_help_tells_where_models_come_from(verb: str, capsys: Capture) -> None:
    assert call(verb, "--help") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "integer model that quantize or import wrote" in shown
    if verb in ("inspect", "run", "export"):
        assert "DP percentage of a region; default: the largest" in shown


@pytest.mark.parametrize(("name", "says"), [
    ("1st", "--name '1st' is no C identifier; give a letter"),
    ("", "--name '' is no C identifier"),
    ("n" * 64, "is no C identifier; give a letter and then up to 62"),
    ("a\n", "is no C identifier"),
    ("mean", "--name mean is a name that the C library uses; give another, as mean_net"),
    ("Layers", "--name Layers is a name that the C library uses"),
])  # fmt: skip
def test_names_that_no_c_can_have(
    name: str, says: str, original: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "m.safetensors"
    fails(capsys, 2, says, "import", original, "--out", out, "--name", name)
    assert not out.exists()


@pytest.mark.parametrize(
    ("file", "name"), [("mean", "mean_net"), ("Layers.v2", "layers_net"), ("12", "model_12")]
)
def test_every_file_name_makes_a_model_that_can_be_generated(
    file: str, name: str, tmp_path: Path
) -> None:
    """A file called mean.tflite made a model that inspect and generate refused."""
    network, out = tmp_path / f"{file}.tflite", tmp_path / "m.safetensors"
    foreign = Foreign(np.random.default_rng(0))
    foreign.begin((4,))
    foreign.dense(3)
    for tensor in foreign.builder.tensors:
        tensor.name = f"tesla_{name}"  # as the library is called
    network.write_bytes(foreign.finish())
    assert call("import", network, "--out", out) == 0
    assert load_model(out).name == name
    assert call("inspect", out) == 0
    assert call("generate", out, "--out", tmp_path / "c") == 0


@pytest.mark.parametrize("make", [quantized_model, narrow_model])
def test_inspect(make: Callable[[int], Model], tmp_path: Path, capsys: Capture) -> None:
    path, report = tmp_path / "m.safetensors", tmp_path / "i.json"
    model = make(2)
    save_model(path, model)
    assert call("inspect", path, "--json", report) == 0
    shown = capsys.readouterr().out
    found = json.loads(report.read_text())
    assert found["schema"] == "tesla-embed/inspect/1"
    assert [entry["dp"] for entry in found["regions"]] == [region.dp for region in model.regions]
    for layer, op in zip(found["regions"][-1]["layers"], model.graph.ops, strict=True):
        assert layer["name"] == op.name
        assert op.name in shown
        type_ = model.regions[-1].types[op.output]
        assert layer["output"]["shape"] == list(type_.shape)
        assert layer["output"]["scale"] == quantization(type_).scale
    assert found["weights_bytes"] == sum(weights["bytes"] for weights in found["weights"])
    weighted = [op.weights for op in model.graph.ops if isinstance(op, Weighted)]
    assert [weights["bits"] for weights in found["weights"]] == [w.bits for w in weighted]
    assert (4 in {w.bits for w in weighted}) == (make is narrow_model)
    for buffer in found["arena"]:
        assert buffer["offset"] + buffer["bytes"] <= found["arena_bytes"]
    assert f"no placement takes less than {found['arena_bound_bytes']:,} B" in shown
    assert f"{found['regions'][0]['arena_peak_bytes']:,} B of the arena in use" in shown


def test_run_takes_int8_and_real_numbers(tmp_path: Path) -> None:
    path, x, y = (tmp_path / name for name in ("m.safetensors", "x.npy", "y.npy"))
    model = quantized_model(2)
    save_model(path, model)
    region = model.regions[0]
    entry, exit_ = (region.types[i] for i in (model.graph.input, model.graph.output))
    real = np.random.default_rng(0).normal(0, 1, (7, *entry.shape))
    expected = interpret(model, region, quantize_input(entry, real))
    for values in (real, real.astype(np.float32), quantize_input(entry, real)):
        np.save(x, values)
        assert call("run", path, "--input", x, "--output", y, "--dp", region.dp) == 0
        np.testing.assert_array_equal(np.load(y), expected)
    np.save(x, (quantize_input(entry, real).astype(np.int16) + 128).astype(np.uint8))
    assert call("run", path, "--input", x, "--output", y, "--dp", region.dp) == 0
    np.testing.assert_array_equal(np.load(y), expected)
    q = quantization(exit_)
    assert call("run", path, "--input", x, "--output", y, "--dp", region.dp, "--dequantize") == 0
    found = np.load(y)
    assert found.dtype == np.float32
    wanted = (expected.astype(np.float32) - q.zero_point) * np.float32(q.scale)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("target", ["host", "emulator"])
def test_run_on_targets(target: str, tmp_path: Path) -> None:
    require(lambda: find_compiler(find_target(target).compiler))
    path, x, y = (tmp_path / name for name in ("m.safetensors", "x.npy", "y.npy"))
    model = quantized_model(2)
    save_model(path, model)
    shape = model.graph.tensors[model.graph.input].type.shape
    inputs = np.random.default_rng(1).integers(-128, 128, (5, *shape)).astype(np.int8)
    np.save(x, inputs)
    assert call("run", path, "--input", x, "--output", y, "--target", target) == 0
    np.testing.assert_array_equal(np.load(y), interpret(model, model.regions[-1], inputs))


def test_what_run_refuses(tmp_path: Path, capsys: Capture) -> None:
    path, x, y = (tmp_path / name for name in ("m.safetensors", "x.npy", "y.npy"))
    model = quantized_model(2)
    save_model(path, model)
    shape = model.graph.tensors[model.graph.input].type.shape
    verb = ("run", path, "--input", x, "--output", y)
    fails(capsys, 2, "check the path", *verb)
    np.save(x, np.zeros((2, *shape, 2), np.int8))
    fails(capsys, 2, "has shape", *verb)
    np.save(x, np.zeros((2, *shape), np.int32))
    fails(capsys, 2, "holds int32", *verb)
    np.save(x, np.full((2, *shape), np.nan))
    fails(capsys, 2, "NaN", *verb)
    np.save(x, np.zeros((0, *shape), np.int8))
    fails(capsys, 2, ".npy", *verb)
    np.save(x, np.array([{"a": 1}], object), allow_pickle=True)
    fails(capsys, 2, "is no valid .npy file of numbers", *verb)
    np.savez(x.with_suffix(".npz"), x=np.zeros(3))
    x.with_suffix(".npz").rename(x)
    fails(capsys, 2, "is no .npy file", *verb)
    np.save(x, np.zeros((2, *shape), np.int8))
    x.write_bytes(x.read_bytes().replace(b"(2, ", b"(9**9, ").replace(b"         ", b"     ", 1))
    fails(capsys, 2, "is no valid .npy file of numbers", *verb)
    np.save(x, np.zeros((2, *shape), np.int8))
    x.write_bytes(x.read_bytes()[:-1])
    fails(capsys, 2, "is no valid .npy file of numbers", *verb)
    np.save(x, np.zeros((2, *shape), np.int8))
    fails(capsys, 2, "`tesla-embed targets` lists", *verb, "--target", "abacus")
    fails(capsys, 2, "is not a region", *verb, "--dp", 2)
    assert not y.exists()


def test_no_output_takes_the_place_of_an_input(tmp_path: Path, capsys: Capture) -> None:
    model, inputs = tmp_path / "m.safetensors", tmp_path / "x.npy"
    save_model(model, quantized_model(2))
    np.save(inputs, np.zeros((1, 1), np.int8))
    (tmp_path / "link").symlink_to(model)
    kept = model.read_bytes(), inputs.read_bytes()
    for arguments in (
        ("export", model, "--out", model),
        ("export", model, "--out", tmp_path / "link"),
        ("inspect", model, f"--json={model}"),
        ("run", model, "--input", inputs, "--output", model),
        ("run", model, "--input", inputs, "--output", inputs),
        ("verify", model, f"--json={model}"),
        ("profile", model, "--data", "digits", f"--json={model}"),
        ("diagnose", model, "--data", "digits", f"--json={model}"),
        ("import", model, "--out", model),
        ("quantize", model, "--data", "digits", "--out", model),
        ("prune", model, "--out", model),
    ):
        fails(capsys, 2, "it is the input; choose another name", *arguments)
    assert kept == (model.read_bytes(), inputs.read_bytes())


def test_every_exported_region_stands_alone(tmp_path: Path) -> None:
    path, out = tmp_path / "m.safetensors", tmp_path / "m.tflite"
    model = quantized_model(3, portable=True)
    save_model(path, model)
    shape = model.graph.tensors[model.graph.input].type.shape
    inputs = np.random.default_rng(1).integers(-128, 128, (4, *shape)).astype(np.int8)
    for region in model.regions:
        assert call("export", path, "--dp", region.dp, "--out", out) == 0
        litert = reference_interpreter(out.read_bytes())
        (entry,), (exit_,) = litert.get_input_details(), litert.get_output_details()
        for sample, wanted in zip(inputs, interpret(model, region, inputs), strict=True):
            litert.set_tensor(entry["index"], sample[None])
            litert.invoke()
            np.testing.assert_array_equal(litert.get_tensor(exit_["index"])[0], wanted)


def test_an_exported_region_can_be_imported(tmp_path: Path) -> None:
    path, out, back = (tmp_path / name for name in ("m.safetensors", "m.tflite", "b.safetensors"))
    model = quantized_model(3, portable=True)
    save_model(path, model)
    shape = model.graph.tensors[model.graph.input].type.shape
    inputs = np.random.default_rng(1).integers(-128, 128, (4, *shape)).astype(np.int8)
    for region in model.regions:
        assert call("export", path, "--dp", region.dp, "--out", out) == 0
        assert call("import", out, "--out", back) == 0
        again = load_model(back)
        assert [found.dp for found in again.regions] == [100]
        found = interpret(again, again.regions[0], inputs)
        np.testing.assert_array_equal(found, interpret(model, region, inputs))


class FakeConverter:
    """Stands for TensorFlow's: hands out an int8 file once it was set up rightly."""

    content = b""
    seen: list[np.ndarray]

    def __init__(self, network: str) -> None:
        self.network = network
        self.target_spec = ModuleType("spec")

    @classmethod
    def from_saved_model(cls, path: str) -> "FakeConverter":
        return cls(path)

    @classmethod
    def from_keras_model(cls, network: str) -> "FakeConverter":
        return cls(network)

    def convert(self) -> bytes:
        settings: Any = self
        assert settings.optimizations == ["default"]
        assert settings.target_spec.supported_ops == ["int8 only"]
        assert settings.inference_input_type == settings.inference_output_type == "int8"
        FakeConverter.seen = [values for (values,) in settings.representative_dataset()]
        if "broken" in self.network:
            raise ValueError("Cannot set tensor: Dimension mismatch\nand a long tail")
        return FakeConverter.content


@pytest.fixture
def tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("tensorflow")
    module.int8 = "int8"
    module.lite = ModuleType("lite")
    keras: Any = ModuleType("keras")
    keras.__version__, keras.models = "3.11.3", ModuleType("models")
    module.lite.TFLiteConverter = FakeConverter
    module.lite.Optimize, module.lite.OpsSet = ModuleType("o"), ModuleType("s")
    module.lite.Optimize.DEFAULT = "default"
    module.lite.OpsSet.TFLITE_BUILTINS_INT8 = "int8 only"

    def load(path: str, *, compile: bool, safe_mode: bool) -> str:
        assert not compile and safe_mode
        return path

    keras.models.load_model = load
    monkeypatch.setitem(sys.modules, "tensorflow", module)
    monkeypatch.setitem(sys.modules, "keras", keras)
    FakeConverter.content = speech_like()


@pytest.mark.usefixtures("tensorflow")
@pytest.mark.parametrize("folder", [False, True])
def test_keras_networks_are_converted_first(folder: bool, tmp_path: Path, capsys: Capture) -> None:
    network, out = tmp_path / "net.keras", tmp_path / "m.safetensors"
    network.mkdir() if folder else network.write_bytes(b"")
    fails(capsys, 2, "--data", "import", network, "--out", out)
    verb = ("import", network, "--out", out, "--data", "digits", "--samples", 9)
    assert call(*verb) == 0
    assert load_model(out).name == "net"
    assert [values.shape for values in FakeConverter.seen] == [(1, 8, 8, 1)] * 9
    assert {values.dtype.name for values in FakeConverter.seen} == {"float32"}


@pytest.mark.usefixtures("tensorflow")
def test_a_network_that_tensorflow_cannot_convert(tmp_path: Path, capsys: Capture) -> None:
    network, out = tmp_path / "broken.keras", tmp_path / "m.safetensors"
    verb = ("import", network, "--out", out, "--data", "digits")
    fails(capsys, 2, "check the path", *verb)
    network.write_bytes(b"")
    fails(capsys, 2, "(Cannot set tensor: Dimension mismatch)", *verb)
    assert not out.exists()


@pytest.mark.usefixtures("tensorflow")
@pytest.mark.parametrize("version", ["2.15.0", "3.5", "3.11.2", "3.11.0rc1"])
def test_keras_that_runs_code_from_files_is_refused(
    version: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CVE-2025-9906 and those before it: safe mode of a .keras file can be switched off."""
    monkeypatch.setattr(sys.modules["keras"], "__version__", version)
    monkeypatch.setattr(sys.modules["keras"].models, "load_model", None)
    network, out = tmp_path / "net.keras", tmp_path / "m.safetensors"
    network.write_bytes(b"")
    verb = ("import", network, "--out", out, "--data", "digits")
    fails(capsys, 3, "pip install 'keras>=3.11.3'", *verb)
    assert not out.exists()


@pytest.mark.usefixtures("tensorflow")
@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".H5"])
def test_h5_files_are_not_opened(
    suffix: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CVE-2025-9905: Keras ignores safe mode in these files."""
    monkeypatch.setattr(sys.modules["keras"].models, "load_model", None)
    network = tmp_path / f"net{suffix}"
    network.write_bytes(b"\x89HDF\r\n")
    verb = ("import", network, "--out", tmp_path / "m.safetensors", "--data", "digits")
    fails(capsys, 2, "save it as .keras", *verb)


def test_keras_without_tensorflow(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    network = tmp_path / "net.keras"
    network.write_bytes(b"")
    verb = ("import", network, "--out", tmp_path / "m.safetensors", "--data", "digits")
    fails(capsys, 3, "pip install 'tesla-embed[tensorflow]'", *verb)
