"""`bench kernels` and `bench models` on emulated boards: rows, schema, the same every time."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import require, tools_of
from shell import call

from tesla_embed.ir.graph import Model, Region
from tesla_embed.ir.interpret import interpret_layers
from tesla_host import divergence
from tesla_host.bench import measure

KEYS = {
    "name", "shape", "target", "dp", "macs", "instructions", "cycles_estimate", "flash_bytes",
    "ram_bytes", "peer", "ratio", "ratio_cycles",
}  # fmt: skip
Run = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Call `bench` with --json; returns its rows."""

    def bench(*arguments: object) -> list[dict[str, Any]]:
        path = tmp_path / "bench.json"
        assert call("bench", *arguments, "--json", path) == 0
        content = json.loads(path.read_text())
        assert content["schema"] == "tesla-embed/bench/1"
        rows: list[dict[str, Any]] = content["rows"]
        assert rows and all(row.keys() >= KEYS for row in rows)
        return rows

    return bench


def test_a_kernel_by_every_compiler(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for toolchain in ("zig", "gcc"):
        require(lambda kind=toolchain: tools_of("emulator", kind))  # type: ignore[misc]
    options = ("kernels", "--only", "fc-784-128", "--toolchain", "zig", "--toolchain", "gcc")
    rows = run(*options)
    assert rows[4:] == run(*options[:3], *options[5:]), "the same again, by gcc alone"
    assert [(row["toolchain"], row["dp"]) for row in rows] == [
        (toolchain, dp) for toolchain in ("zig", "gcc") for dp in (25, 50, 75, 100)
    ]
    for row in rows:
        assert row["macs"] < row["portable"]["instructions"] and row["peer"]["instructions"]
        assert row["instructions"] < row["cycles_estimate"] < row["portable"]["instructions"]
        assert row["ratio"] == row["instructions"] / row["peer"]["instructions"] < 0.6
    assert "peer: CMSIS-NN 99f736a6, GCC 12.2 -O3" in capsys.readouterr().out


def test_a_network_and_what_it_needs(run: Run) -> None:
    require(lambda: tools_of("emulator", "zig"))
    options = ("models", "--only", "ad", "--no-portable")
    rows = run(*options)
    assert rows == run(*options)
    assert [row["dp"] for row in rows] == [25, 50, 75, 100]
    assert [row["macs"] for row in rows] == sorted(row["macs"] for row in rows)
    counts = [row["instructions"] for row in rows]
    assert counts == sorted(counts) and rows[-1]["ratio"] < 0.6
    memory = rows[0]["memory"]
    assert memory["weights_bytes"] >= 264_192 and 500 < memory["code_bytes"] < 8_000
    flash = [memory[f"{name}_bytes"] for name in ("weights", "tables", "code")]
    assert rows[0]["flash_bytes"] == sum(flash)
    ram = [memory[f"{name}_bytes"] for name in ("static", "arena", "ends", "stack")]
    assert rows[0]["ram_bytes"] == sum(ram)
    assert memory["ends_bytes"] == 1_296 and 50 < memory["stack_bytes"] < 1_000
    for row in rows:
        assert abs(row["estimate"]["error"]) < 0.05
        assert row["estimate"]["instructions"] < 1.05 * row["instructions"]


def test_a_document_for_several_boards(tmp_path: Path) -> None:
    boards = ("emulator", "qemu:mps2-an386")
    for board in boards:
        require(lambda board=board: tools_of(board, "zig"))  # type: ignore[misc]
    options = [word for board in boards for word in ("--target", board)]
    folder = tmp_path / "results"
    assert (
        call(
            "bench",
            "kernels",
            "--only",
            "maxpool2x2-16x16x32",
            "--no-portable",
            *options,
            "--out",
            folder,
        )
        == 0
    )
    rows = json.loads((folder / "kernels.json").read_text())["rows"]
    counts = [row["instructions"] for row in rows]
    assert counts[:4] == counts[4:], "two emulators of one core"
    text = (folder / "README.md").read_text()
    assert f"| maxpool2x2-16x16x32 | 100 | 0 | {counts[3]:,} |" in text
    assert text.count("\n## ") == 2 and "no other channels" in text


def test_cycles_of_vectors_from_a_trace(run: Run) -> None:
    """The trace holds what the firmware counted, or the verb fails; cycles follow from it."""
    require(lambda: tools_of("qemu:mps3-an547", "zig"))
    options = ("--target", "qemu:mps3-an547", "--no-portable", "--only")
    rows = run("models", *options, "ad") + run("kernels", *options, "maxpool2x2-16x16x32")
    assert len(rows) == 8
    for row in rows:
        assert 0.8 < row["cycles_estimate"] / row["instructions"] < 2.0
    (pool,) = (row for row in rows if row["dp"] == 100 and row["macs"] == 0)
    assert pool["ratio_cycles"] == pool["cycles_estimate"] / pool["peer"]["cycles_estimate"]


def test_a_wrong_output_is_located(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failed comparison, code 1, with layer, element and both values."""
    require(lambda: tools_of("emulator", "zig"))
    wanted: list[int] = []

    def other(model: Model, region: Region, inputs: Any) -> list[Any]:
        layers = interpret_layers(model, region, inputs)
        wanted.append(int(layers[1].reshape(-1)[3]))
        layers[1].reshape(-1)[3] ^= 1
        return layers

    for module in (measure, divergence):
        monkeypatch.setattr(module, "interpret_layers", other)
    assert call("bench", "kernels", "--only", "maxpool2x2-16x16x32", "--no-portable") == 1
    says = (
        f"wrong output at 25 % DP: layer layer, element 3: {wanted[0]} instead of {wanted[0] ^ 1}"
    )
    assert f"maxpool2x2-16x16x32: {says}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("kernels", "--only", "conv9x9"), "no kernel to measure"),
        (("models", "--only", "bert"), "no network to measure"),
        (("models", "--model", "kws=a", "--only", "ad"), "kws is not measured"),
        (("models", "--target", "host"), "counts no instructions"),
        (("kernels", "--toolchain", "armcc"), "is not built with"),
        (("kernels", "--dense", "50", "--out", "x"), "leave --dense out"),
    ],
)
def test_refusals(
    arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("bench", *arguments) == 2
    assert says in capsys.readouterr().err
