"""Random graphs: interpreter, host C, emulated C and LiteRT agree in every layer and region.

`tests/graphs/campaign.py` does the same with as many as one has time for.
"""

import dataclasses
import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import require
from graphs import (
    Emulated,
    Request,
    expected_layers,
    int8_inputs,
    quantized_model,
    zig_m4,
)
from graphs.compare import IMPLEMENTATIONS, Outcome, compare_batch, random_model

from tesla_codegen.kernels.variant import Isa
from tesla_embed.ir.graph import Model, Table
from tesla_host.compilers import find_compiler

SCRIPT = Path(__file__).parents[1] / "graphs" / "campaign.py"
BATCHES, BATCH = 4, 150


@pytest.fixture(autouse=True)
def _tools() -> None:
    require(lambda: find_compiler("host"))
    require(lambda: find_compiler("zig"))
    for module in ("ai_edge_litert", "unicorn"):
        require(lambda module=module: importlib.import_module(module))


@pytest.mark.parametrize("number", range(BATCHES))
def test_every_implementation_agrees(number: int) -> None:
    outcome, first = Outcome(), 10_000 + number * BATCH
    compare_batch(range(first, first + BATCH), find_compiler("host").command, 5, outcome)
    assert outcome.differences == []
    host, emulated, judge = (outcome.compared[name] for name in IMPLEMENTATIONS)
    assert host == emulated and host.graphs + outcome.refused == BATCH
    assert outcome.refused < 0.02 * BATCH
    assert judge.graphs + outcome.inexpressible == host.graphs
    assert judge.graphs > 0.9 * BATCH and judge.regions >= judge.graphs


def spoilt(model: Model) -> Model:
    """The same with the last bias of every region far off."""
    regions = []
    for region in model.regions:
        tables = list(region.tables)
        last = max(place for place, table in enumerate(tables) if table is not None)
        table = tables[last]
        assert table is not None
        bias = table.bias.copy()
        bias[-1] += 20_000 if bias[-1] < 0 else -20_000
        tables[last] = Table(bias=bias, weight_scale=table.weight_scale)
        regions.append(dataclasses.replace(region, tables=tuple(tables)))
    return dataclasses.replace(model, regions=tuple(regions))


def test_a_wrong_bias_is_noticed_on_the_emulated_device(tmp_path: Path) -> None:
    model = quantized_model(0)
    inputs = int8_inputs(model, 0, 5)
    requests = [Request(0, region.dp, inputs) for region in model.regions]
    outcome = Outcome()
    program = Emulated([spoilt(model)], tmp_path, zig_m4(), ["-O2"], Isa.DSP)
    for request, layers in zip(requests, program.layers(requests), strict=True):
        wanted = expected_layers(model, request)
        outcome.count(
            "emulated Cortex-M4", "here", zip(wanted, layers, wanted.values(), strict=True)
        )
    assert outcome.compared["emulated Cortex-M4"].mismatches == len(model.regions)
    assert outcome.differences[0].startswith("emulated Cortex-M4, here, ")


def test_graphs_follow_from_their_number() -> None:
    for number in range(12):
        one, two = random_model(number), random_model(number)
        assert one is not None and two is not None
        assert one.name == two.name and one.graph.tensors == two.graph.tensors
        assert np.array_equal(int8_inputs(one, number, 3), int8_inputs(two, number, 3))


def test_a_campaign_goes_on_where_it_stopped(tmp_path: Path) -> None:
    out = tmp_path / "summary.json"

    def run(count: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(SCRIPT), "--count", str(count), "--batch", "4"]
        return subprocess.run(
            [*command, "--first", "7", "--out", str(out)],
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    assert run(8).returncode == 0
    whole = json.loads(out.read_text())
    assert whole["done"] == 8 and whole["outcome"]["compared"]["LiteRT"]["mismatches"] == 0
    half = whole | {"done": 4}
    out.write_text(json.dumps(half))
    assert run(8).returncode == 0
    again = json.loads(out.read_text())
    assert again["done"] == 8
    assert again["outcome"]["compared"]["host C"]["graphs"] == 12  # four of them twice
    assert "of another campaign" in run(9).stderr
