"""A few hundred damaged files, in a process of their own with limited memory.

`tests/fuzz/files.py` says how to try many more.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import require
from graphs import quantized_model
from shell import call

from tesla_embed.errors import ToolchainError
from tesla_embed.ir.store import save_model

SCRIPT = Path(__file__).parents[1] / "fuzz" / "files.py"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Whole files, made here so that the limited process needs neither LiteRT nor PyTorch."""

    def find() -> object:
        try:
            import ai_edge_litert.schema_py_generated as schema
        except ImportError as error:
            raise ToolchainError("LiteRT is not installed; run: pip install '.[oracle]'") from error
        return schema

    require(find)
    from fuzz.corpus import make

    folder = tmp_path / "corpus"
    folder.mkdir()
    for suffix, files in make(6).items():
        for number, content in enumerate(files):
            (folder / f"{number}{suffix}").write_bytes(content)
    return folder


def test_damaged_files_are_refused_or_run(corpus: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--count", "600", "--corpus", str(corpus)]
    done = subprocess.run(
        [*command, "--keep", str(tmp_path / "failed")],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "600 files, 0 failures" in done.stdout
    assert "accepted" in done.stdout
    for kind in (".tflite", ".safetensors", ".checkpoint", ".npy", ".csv"):
        assert f"{kind} refused" in done.stdout
        assert f"{kind} accepted" in done.stdout


@pytest.mark.parametrize("suffix", [".tflite", ".safetensors"])
def test_the_command_refuses_with_exit_code_2(
    suffix: str, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (corpus / f"0{suffix}").read_bytes()
    damaged, out = tmp_path / f"damaged{suffix}", tmp_path / "out.safetensors"
    verb = ("import", damaged, "--out", out) if suffix == ".tflite" else ("inspect", damaged)
    for keep in (0, 3, 8, 40, len(whole) // 2, len(whole) - 1):
        damaged.write_bytes(whole[:keep])
        assert call(*verb) == 2
        errors = capsys.readouterr().err.splitlines()
        assert len([line for line in errors if line.startswith("error: ")]) == 1
        assert str(damaged) in errors[-1]
    assert not out.exists()


def test_a_whole_model_passes(tmp_path: Path) -> None:
    """The command that the damaged files go through works."""
    path = tmp_path / "m.safetensors"
    save_model(path, quantized_model(0))
    assert call("inspect", path) == 0


FIRMWARE_SCRIPT = SCRIPT.with_name("firmware.py")


@pytest.mark.parametrize("app", ["link", "mlperf-tiny", "mlperf-tiny:ad01"])
def test_an_application_under_arbitrary_input(app: str) -> None:
    """Seeded, with the compiler that is there; the script says how to try many more."""

    def find() -> object:
        if not any(shutil.which(name) for name in ("clang", "gcc", "cc")):
            raise ToolchainError("no C compiler with sanitizers; install gcc or clang")
        return None

    require(find)
    command = [sys.executable, str(FIRMWARE_SCRIPT), "--app", app, "--engine", "loop"]
    command += ["--count", "20000"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "20000 inputs" in done.stdout
