"""What the command line says where it could keep silent, and what it refuses to ignore."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import require, tools_of
from graphs import RICH, quantized_model
from safetensors.numpy import load_file, save_file
from shell import call
from tiny_elf import DIGEST, write_elf

from tesla_embed.errors import ToolchainError
from tesla_embed.ir.store import load_model, save_model
from tesla_host.catalogue import TARGETS
from tesla_host.samples import read_inputs
from tesla_host.targets import find_target
from tesla_host.workbench import make_firmware

Capture = pytest.CaptureFixture[str]
MODEL = quantized_model(RICH)
TYPE = MODEL.regions[0].types[MODEL.graph.input]
TINY = ("--set", "hidden=[8]", "--set", "max_epochs=1", "--set", "tasks=[100, 50]")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("says") / "m.safetensors"
    save_model(path, MODEL)
    return path


def says(capsys: Capture, code: int, text: str, *words: object) -> str:
    """The command ends with `code` and says `text` on stderr; what stands on stdout."""
    capsys.readouterr()
    assert call(*words) == code
    shown = capsys.readouterr()
    assert text in shown.err
    return shown.out


def test_an_interrupt_says_so(model: Path, tmp_path: Path) -> None:
    require(lambda: tools_of("host"))
    words = [sys.executable, "-m", "tesla_host", "verify", str(model), "--samples", "1000000"]
    words += ["--target", "host", "--build-dir", str(tmp_path)]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "host" / "firmware.elf").exists() and process.poll() is None:
        if time.monotonic() > deadline:
            process.kill()
            raise AssertionError(process.communicate()[1])
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert errors.strip() == "interrupted"


def test_an_error_after_a_bar_begins_the_line(model: Path, capsys: Capture) -> None:
    says(capsys, 3, "cannot open", "verify", model, "--target", "serial:/dev/none")
    assert call("verify", model, "--target", "serial:/dev/none") == 3
    assert capsys.readouterr().err.startswith("error: cannot open /dev/none")


def test_inputs_that_saturate_are_counted(model: Path, tmp_path: Path, capsys: Capture) -> None:
    low, high = (TYPE.quantization.scale * (q - TYPE.quantization.zero_point) for q in (-128, 127))
    values = np.full((4, *TYPE.shape), (low + high) / 2, np.float32)
    values[0] = high + 1.0
    values[1].flat[0] = low - 1.0
    np.save(tmp_path / "x.npy", values)
    share = (TYPE.size + 1) / values.size
    assert read_inputs(tmp_path / "x.npy", MODEL)[1] == pytest.approx(share)
    words = ("run", model, "--input", tmp_path / "x.npy", "--output", tmp_path / "y.npy")
    out = says(capsys, 0, f"{share:.2%} of the values lie beyond", *words, "--json")
    assert json.loads(out)["saturated"] == pytest.approx(share)
    np.save(tmp_path / "x.npy", np.full((4, *TYPE.shape), high, np.float32))
    says(capsys, 0, "", *words)
    assert call(*words) == 0 and "beyond" not in capsys.readouterr().err


def test_images_with_channels_first_are_refused(tmp_path: Path) -> None:
    from tesla_embed.errors import ConfigError

    for seed in range(200):
        other = quantized_model(seed)
        shape = other.graph.tensors[other.graph.input].type.shape
        if len(shape) == 3 and shape[2] > 1 and len(set(shape)) > 1:
            break
    height, width, channels = shape
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((2, channels, height, width), np.int8))
    with pytest.raises(ConfigError, match=r"channels first.*transpose\(0, 2, 3, 1\)"):
        read_inputs(path, other)
    for kept in ((2, height, width, channels), (2, height * width * channels)):
        np.save(path, np.zeros(kept, np.int8))
        assert read_inputs(path, other)[0].shape == (2, *shape)


@pytest.mark.parametrize("option", [("--toolchain", "zig"), ("--build-dir", "x")])
def test_run_refuses_options_that_its_target_ignores(
    model: Path, tmp_path: Path, capsys: Capture, option: tuple[str, str]
) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, *TYPE.shape), np.int8))
    words = ("--input", tmp_path / "x.npy", "--output", tmp_path / "y.npy")
    says(capsys, 2, "builds nothing", "run", model, *words, *option)
    assert not (tmp_path / "y.npy").exists()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    at = tmp_path_factory.mktemp("trained")
    assert call("train", "digits-mlp", "--data", "digits", "--out", at, *TINY) == 0
    return at / "model.safetensors"


@pytest.fixture(scope="module")
def integers(trained: Path) -> Path:
    """A `.tflite` of integers."""
    made, out = trained.with_name("m.safetensors"), trained.with_name("m.tflite")
    assert call("quantize", trained, "--data", "digits", "--regions", "100", "--out", made) == 0
    assert call("export", made, "--out", out) == 0
    return out


def test_import_measures_the_integers(
    trained: Path, integers: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "i.safetensors"
    words = ("import", integers, "--data", "digits", "--check", 200, "--out", out, "--json")
    capsys.readouterr()
    assert call(*words) == 0
    found = json.loads(capsys.readouterr().out)
    quantised = tmp_path / "q.json"
    made = ("--regions", "100", "--check", 200, "--out", tmp_path / "q.safetensors")
    assert call("quantize", trained, "--data", "digits", *made, "--json", quantised) == 0
    wanted = json.loads(quantised.read_text())["tables"]["region"]["accuracy"]["100"]
    assert found["samples"] == 200 and found["accuracy"] == {"100": wanted}
    assert load_model(out).regions[0].dp == 100
    capsys.readouterr()
    assert call(*words[:-1]) == 0
    assert f"accuracy {wanted:.2%} of 200 test examples" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "text"),
    [
        (("--check", "9"), "add it"),
        (("--samples", "9"), "add it"),
        (("--trust",), "--trust is for a .pt2"),
        (("--channels-last",), "--channels-last is for a .pt2"),
        (("--data", "digits"), "quantised already"),
        (("--data", "digits", "--samples", "9", "--check", "9"), "quantised already"),
    ],
)
def test_import_refuses_options_that_the_file_ignores(
    integers: Path, tmp_path: Path, capsys: Capture, option: tuple[str, ...], text: str
) -> None:
    out = tmp_path / "i.safetensors"
    says(capsys, 2, text, "import", integers, "--out", out, *option)
    assert not out.exists()


def test_a_setting_of_another_algorithm_is_said(tmp_path: Path, capsys: Capture) -> None:
    words = ("train", "digits-mlp", "--data", "digits", "--out", tmp_path / "run", *TINY)
    text = "--set max_epoch is r_tesla.max_epoch, which tesla does not look at"
    says(capsys, 0, text, *words, "--set", "max_epoch=1")
    capsys.readouterr()
    assert call(*words[:5], tmp_path / "other", *TINY) == 0
    assert "look at" not in capsys.readouterr().err


def test_tensors_that_init_leaves_out_are_said(
    trained: Path, tmp_path: Path, capsys: Capture
) -> None:
    tensors = load_file(trained) | {"body.more.weight": np.ones((2, 2), np.float32)}
    save_file(tensors, tmp_path / "init.safetensors")
    words = ("train", "digits-mlp", "--data", "digits", *TINY, "--init")
    text = "1 tensors of"
    says(capsys, 0, text, *words, tmp_path / "init.safetensors", "--out", tmp_path / "a")
    capsys.readouterr()
    assert call(*words, tmp_path / "init.safetensors", "--out", tmp_path / "b", "--json") == 0
    assert json.loads(capsys.readouterr().out)["left_out"] == ["body.more.weight"]


@pytest.mark.parametrize(
    "option", [("--toolchain", "gcc"), ("--optimize", "size"), ("--app", "mlperf-tiny")]
)
def test_flash_refuses_to_build_an_elf_another_way(
    tmp_path: Path, capsys: Capture, option: tuple[str, str]
) -> None:
    elf = write_elf(tmp_path / "f.elf", 0x0800_0000, DIGEST)
    words = ("flash", elf, "--board", "nucleo-f446re", "--dry-run", "--programmer", "openocd")
    says(capsys, 2, f"{option[0]} is for a model", *words, *option)


@pytest.mark.parametrize("toolchain", ["zig", "gcc"])
def test_every_verb_that_builds_takes_the_kernels_of_the_core(
    tmp_path: Path, toolchain: str
) -> None:
    """A firmware of `emulate` and `flash` was once of portable kernels."""
    require(lambda: tools_of("emulator", toolchain))
    row = find_target("emulator")
    made = make_firmware(MODEL, row, tmp_path, toolchain=toolchain)
    assert toolchain in made.build.compiler
    dsp = [path.name for path in (tmp_path / "project" / "src").rglob("*_dsp.c")]
    assert dsp and made.build.elf == tmp_path / "firmware.elf"
    assert all(target.toolchains for target in TARGETS)


def test_an_unknown_toolchain_is_refused_before_anything_is_written(
    model: Path, tmp_path: Path, capsys: Capture
) -> None:
    at = tmp_path / "build"
    words = ("emulate", model, "--toolchain", "tcc", "--build-dir", at)
    says(capsys, 2, "is not built with 'tcc'", *words)
    assert not at.exists()


def test_a_build_that_fails_leaves_no_firmware_of_an_earlier_one(
    model: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old firmware stood beside the new project, and was flashed."""
    require(lambda: tools_of("emulator"))
    at = tmp_path / "b"
    assert call("build", model, "--out", at) == 0
    made = {"firmware.elf", "estimate.json"}
    assert made <= {path.name for path in at.iterdir()}
    with monkeypatch.context() as without:
        without.setattr("tesla_host.build.find_compiler", no_compiler)
        says(capsys, 3, "pip install zig", "build", model, "--out", at)
    assert made <= {path.name for path in at.iterdir()}, "a project that was not replaced"
    monkeypatch.setattr("tesla_host.build._COMMON", ("-std=c99", "-Dint=]"))
    says(capsys, 3, "error: ", "build", model, "--out", at)
    assert (at / "project").is_dir() and not made & {path.name for path in at.iterdir()}


def no_compiler(*_: str) -> None:
    raise ToolchainError("no compiler: pip install zig")
