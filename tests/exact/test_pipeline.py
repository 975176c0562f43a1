"""The whole pipeline through the command line, as scripts use it, on a network of seconds."""

import importlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import require
from shell import call

from tesla_embed.errors import ToolchainError
from tesla_embed.ir.graph import full_macs
from tesla_embed.ir.requantization import quantize_input
from tesla_embed.ir.store import digest, load_model
from tesla_host.compilers import find_compiler
from tesla_host.workbench import set_up

REGIONS = [25, 50, 100]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a miniature demo wrote."""
    require(lambda: find_compiler("zig"))
    require(lambda: importlib.import_module("unicorn"))
    out = tmp_path_factory.mktemp("demo")
    arguments = ["--set", "max_epochs=2", "--device-samples", "3", "--regions", "25,50,100"]
    assert call("demo", "--recipe", "digits-mlp", "--out", out, *arguments) == 0
    return out


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def test_demo_writes_everything(demo: Path) -> None:
    for name in ("model.safetensors", "firmware.elf", "profile.json", "report.html"):
        assert (demo / name).stat().st_size > 1000
    assert (demo / "project" / "include" / "tesla_digits_mlp.h").is_file()
    assert not list(demo.rglob("*.part"))


def test_profile_json_keeps_its_promise(demo: Path) -> None:
    profile = read(demo / "profile.json")
    assert profile["schema"] == "tesla-embed/profile/1"
    assert {"version", "compiler"} <= profile["tool"].keys()
    model = load_model(demo / "model.safetensors")
    assert profile["model"]["digest"] == digest(model)
    assert {"name", "digest", "weights_bytes"} <= profile["model"].keys()
    assert {"name", "cpu", "clock_hz"} <= profile["target"].keys()
    memory = {"flash_bytes", "ram_bytes", "arena_bytes", "stack_bytes", "region_table_bytes"}
    assert memory <= profile["memory"].keys()
    assert [region["dp"] for region in profile["regions"]] == REGIONS
    for region in profile["regions"]:
        assert region["bit_exact"] is True
        assert region["agreement"] == 1.0
        assert region["device_samples"] == 3
        assert 0.0 <= region["accuracy"] <= 1.0
        assert region["instructions"]["min"] <= region["instructions"]["max"]
        assert sum(layer["macs"] for layer in region["layers"]) == region["macs"]
        for layer in region["layers"]:
            assert {"name", "op", "macs", "instructions"} <= layer.keys()


def test_cost_falls_with_the_region_and_switching_is_cheap(demo: Path) -> None:
    regions = read(demo / "profile.json")["regions"]
    for key in ("macs", "cycles_estimate", "latency_us"):
        values = [region[key] for region in regions]
        assert values == sorted(set(values))
    medians = [region["instructions"]["median"] for region in regions]
    assert medians == sorted(set(medians))
    assert all(region["switch_instructions"] < 500 for region in regions)


def test_layers_add_up_to_the_inference(demo: Path) -> None:
    for region in read(demo / "profile.json")["regions"]:
        layers = sum(layer["instructions"] for layer in region["layers"])
        assert layers == pytest.approx(region["instructions"]["median"], rel=0.02)


def test_flash_is_weights_tables_and_little_else(demo: Path) -> None:
    profile = read(demo / "profile.json")
    rest = profile["memory"]["flash_bytes"] - profile["model"]["weights_bytes"]
    assert rest - profile["memory"]["region_table_bytes"] <= 12 * 1024


def test_verify_names_every_implementation(demo: Path, tmp_path: Path) -> None:
    file = tmp_path / "verify.json"
    arguments = ["--samples", "6", "--device-samples", "2", "--json", file]
    assert call("verify", demo / "model.safetensors", *arguments) == 0
    verification = read(file)
    assert verification["schema"] == "tesla-embed/verify/1"
    assert verification["bit_exact"] is True
    found = {(check["dp"], check["against"]) for check in verification["checks"]}
    assert found == {(dp, name) for dp in REGIONS for name in ("host", "litert", "emulator")}
    assert all(check["mismatches"] == 0 for check in verification["checks"])


def test_profile_is_repeatable_to_the_instruction(demo: Path, tmp_path: Path) -> None:
    file = tmp_path / "again.json"
    arguments = ["--data", "digits", "--device-samples", "3", "--json", file]
    assert call("profile", demo / "model.safetensors", *arguments) == 0
    first, again = read(demo / "profile.json"), read(file)
    assert first["regions"] == again["regions"]


def test_host_target_and_chosen_regions(demo: Path, tmp_path: Path) -> None:
    file = tmp_path / "host.json"
    arguments = ["--data", "digits", "--samples", "50", "--regions", "50", "--target", "host"]
    assert call("profile", demo / "model.safetensors", *arguments, "--json", file) == 0
    (region,) = read(file)["regions"]
    assert (region["dp"], region["samples"]) == (50, 50)
    assert region["bit_exact"] is True
    assert region["instructions"] is None
    assert region["latency_us"] > 0


def test_generated_code_has_no_heap_and_no_floating_point(demo: Path) -> None:
    from elftools.elf.elffile import ELFFile

    with (demo / "firmware.elf").open("rb") as stream:
        table = ELFFile(stream).get_section_by_name(".symtab")
        names = {symbol.name for symbol in table.iter_symbols()}
    assert "tesla_digits_mlp_run" in names
    heap = {"malloc", "calloc", "realloc", "free", "_sbrk"}
    assert not names & heap
    soft_float = {
        name for name in names if name.startswith(("__aeabi_f", "__aeabi_d", "__aeabi_i2"))
    }
    assert not soft_float


def test_float_accuracy_is_over_the_same_samples(demo: Path, tmp_path: Path) -> None:
    from tesla_embed.data import load_data
    from tesla_embed.train.checkpoint import load_checkpoint
    from tesla_embed.train.evaluate import evaluate

    file = tmp_path / "few.json"
    arguments = ["--data", "digits", "--samples", "37", "--target", "host", "--json", file]
    assert call("profile", demo / "model.safetensors", *arguments) == 0
    network = load_checkpoint(demo / "train" / "model.safetensors").network
    first = load_data("digits").test.subset(slice(0, 37))
    want = evaluate(network, first, REGIONS).accuracy
    for region in read(file)["regions"]:
        assert region["accuracy_float"] == want[region["dp"]]
        assert region["accuracy_float_samples"] == region["samples"] == 37


@pytest.mark.parametrize("arguments", [["--help"], ["profile", "--help"], ["targets"]])
def test_help_and_measuring_do_not_import_torch(arguments: list[str]) -> None:
    code = (
        "import sys, tesla_host.profiler, tesla_host.verifier\n"
        "from tesla_host.cli import main\n"
        f"sys.argv = ['tesla-embed', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_an_interrupted_command_ends_with_130(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from tesla_host.cli import main; main()"]
    arguments = ["train", "digits-cnn", "--data", "digits", "--out", str(tmp_path / "run")]
    process = subprocess.Popen([*command, *arguments], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not (tmp_path / "run" / "checkpoint.safetensors").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Traceback" not in errors


def test_profile_measures_the_test_split(demo: Path) -> None:
    """Accuracy is the interpreter's over the test samples; MACs are shares of the whole."""
    from tesla_embed.data import load_data
    from tesla_embed.ir.interpret import interpret

    model, data = load_model(demo / "model.safetensors"), load_data("digits")
    for result, region in zip(read(demo / "profile.json")["regions"], model.regions, strict=True):
        inputs = quantize_input(region.types[0], data.test.floats())
        right = interpret(model, region, inputs).argmax(axis=1) == data.test.y
        assert result["accuracy"] == pytest.approx(right.mean(), abs=1e-12)
        assert result["macs_fraction"] == pytest.approx(result["macs"] / full_macs(model.graph))
        assert result["samples"] == len(data.test)


def test_a_wrong_answer_of_the_device_is_not_exact(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tesla_host.link.client import Inference, LinkClient

    original = LinkClient.infer_many

    def damaged(client: LinkClient, samples: Iterable[bytes]) -> Iterator[Inference]:
        for number, right in enumerate(original(client, samples)):
            wrong = right.output[:-1] + bytes([right.output[-1] ^ 1])
            yield Inference(right.ticks, wrong) if number == 1 else right

    monkeypatch.setattr(LinkClient, "infer_many", damaged)
    file = tmp_path / "p.json"
    arguments = ["--data", "digits", "--device-samples", "4", "--regions", "50", "--json", file]
    assert call("profile", demo / "model.safetensors", *arguments) == 1
    (region,) = read(file)["regions"]
    assert (region["bit_exact"], region["agreement"]) == (False, 0.75)


def test_verify_reports_a_divergence(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tesla_host import verifier

    original = verifier.run_batch_layers

    def wrong(*arguments: Any) -> Any:
        layers = original(*arguments)
        damaged = {index: values.copy() for index, values in layers.items()}
        first = min(damaged)
        damaged[first].reshape(len(damaged[first]), -1)[1, 2] ^= 1
        return damaged

    monkeypatch.setattr(verifier, "run_batch_layers", wrong)
    assert call("verify", demo / "model.safetensors", "--samples", "4", "--target", "host") == 1


def test_build_fails_cleanly_without_a_compiler(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(*_: str) -> None:
        raise ToolchainError("no compiler for microcontrollers: pip install 'tesla-embed[zig]'")

    monkeypatch.setattr("tesla_host.build.find_compiler", missing)
    assert call("build", demo / "model.safetensors", "--out", tmp_path / "b") == 3
    assert "pip install" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()
    with pytest.raises(ToolchainError):
        set_up(load_model(demo / "model.safetensors"), "emulator", tmp_path / "b")
    assert not (tmp_path / "b").exists()
