"""What `bench models` measures and compares with, and how rows become tables."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from graphs import quantized_model

from tesla_codegen.kernels.variant import Optimize
from tesla_embed.errors import ConfigError
from tesla_embed.ir.graph import region_macs
from tesla_embed.ir.store import digest, save_model
from tesla_host.bench.campaign import Campaign
from tesla_host.bench.estimates import Estimated, estimated
from tesla_host.bench.networks import (
    BENCHMARKS,
    DPS,
    Benchmark,
    benchmark_model,
    find_benchmarks,
    make_model,
    parse_models,
)
from tesla_host.bench.peers import Peer, find_network_peer
from tesla_host.bench.report import markdown, used_columns
from tesla_host.bench.rows import Counts, Row, Setting, as_json
from tesla_host.bench.summary import FILES, insert, summary
from tesla_host.cli.bench_counts import _command
from tesla_host.estimate.estimate import estimate_model
from tesla_host.targets import find_target

MACS = {"kws": 2_656_768, "ic": 12_501_632, "vww": 7_489_664, "ad": 264_192}
"""Of the networks as MLPerf Tiny has them, and so of the peers' figures."""
SETTING = Setting(
    target="emulator", toolchain="zig", compiler="zig 1", isa="dsp", optimize="balanced"
)
ROW = Row(
    name="kws",
    shape="49x10x1 -> 12",
    setting=SETTING,
    dp=100,
    macs=1000,
    counts=Counts(instructions=1234, cycles_estimate=None),
    flash_bytes=1,
    ram_bytes=1,
    peer=Peer(name="another", instructions=2468, cycles_estimate=None),
)


def test_a_document_tells_no_paths_of_a_machine() -> None:
    words = "bench kernels --cmsis-nn /home/x/CMSIS-NN --json=/tmp/a.json --out docs/results/k"
    assert _command(words.split()) == (
        "tesla-embed bench kernels --cmsis-nn DIR --json=FILE.json --out docs/results/k"
    )
    words = "bench models --model ad=~/a.safetensors --no-portable --out ../k --only ad"
    assert _command(words.split()) == (
        "tesla-embed bench models --model ad=FILE --no-portable --out DIR --only ad"
    )


@pytest.mark.parametrize("bench", BENCHMARKS, ids=[bench.name for bench in BENCHMARKS])
def test_networks_do_the_work_of_the_peers(bench: Benchmark) -> None:
    model = make_model(bench)
    types = model.regions[-1].types
    assert types[model.graph.input].shape == bench.source
    assert types[model.graph.output].size == bench.outputs
    macs = {region.dp: sum(region_macs(model.graph, region)) for region in model.regions}
    assert tuple(macs) == DPS and macs[100] == MACS[bench.name]
    for cpu, low, high in (("Cortex-M4", 2.0, 3.5), ("Cortex-M55", 0.35, 1.0)):
        peer = find_network_peer(bench.name, cpu, 100)
        assert peer is not None and low < peer.instructions / macs[100] < high
    assert find_network_peer(bench.name, "Cortex-M0+", 100) is None


def test_the_narrow_peer_does_less() -> None:
    found = [find_network_peer("ic", "Cortex-M4", dp) for dp in (25, 50, 75, 100)]
    counts = [peer.instructions for peer in found if peer is not None]
    assert len(counts) == 4 and counts == sorted(counts)
    assert find_network_peer("ic", "Cortex-M4", 60) is None
    assert find_network_peer("kws", "Cortex-M4", 50) is None


def test_the_same_network_every_time() -> None:
    (bench,) = find_benchmarks("ad")
    assert digest(make_model(bench)) == digest(make_model(bench))


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="no network to measure; there are kws, ic, vww, ad"):
        find_benchmarks("kws,resnet")
    with pytest.raises(ConfigError, match="'kws,,ad' has an empty name; write kws,ad"):
        find_benchmarks("kws,,ad")
    with pytest.raises(ConfigError, match="no network"):
        parse_models(["resnet=m.safetensors"])
    with pytest.raises(ConfigError, match="names no file; write --model kws=FILE"):
        parse_models(["kws"])
    with pytest.raises(ConfigError, match="unknown target"):
        Campaign(targets=["emulator", "board"]).choices()
    with pytest.raises(ConfigError, match="not built with 'armclang'"):
        Campaign(targets=["emulator"], toolchains=["armclang"]).choices()
    with pytest.raises(ConfigError, match="host counts no instructions"):
        Campaign(targets=["host"]).choices()


def test_a_model_of_another_benchmark_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_model(path, quantized_model(11))
    (bench,) = find_benchmarks("kws")
    with pytest.raises(ConfigError, match="kws is 49x10x1 -> 12; give a model of this benchmark"):
        benchmark_model(bench, parse_models([f"kws={path}"]))


def test_document_has_every_row_and_only_columns_that_say_something() -> None:
    narrow = replace(ROW, dp=50, counts=Counts(instructions=400, cycles_estimate=None))
    dense = [replace(narrow, counts=Counts(instructions=390, cycles_estimate=None), peer=None)]
    text = markdown("Title", "tesla-embed bench", [narrow, ROW], dense)
    assert "| kws | 100 | 1,000 | 1,234 | 1.234 | 2,468 | 0.500 |" in text
    assert "| kws | +10 |" in text and "Peer: another." in text
    headings = [column.heading for column in used_columns([ROW])]
    assert "cycles*" not in headings and "portable C" not in headings and "peer" in headings


def test_estimates_stand_beside_measurements() -> None:
    guess = Estimated(instructions=1220, error=-0.0113, worst_layer_error=0.02)
    (entry,) = as_json([replace(ROW, estimate=guess)])["rows"]  # type: ignore[misc]
    assert entry["estimate"] == {
        "instructions": 1220, "error": -0.0113, "worst_layer_error": 0.02,
    }  # fmt: skip
    assert as_json([ROW])["rows"][0]["estimate"] is None  # type: ignore[index]
    (column,) = (c for c in used_columns([replace(ROW, estimate=guess)]) if c.heading == "estimate")
    assert column.cell(replace(ROW, estimate=guess)) == "-1.13 %"
    assert "estimate" not in [c.heading for c in used_columns([ROW])]


def test_estimates_of_what_was_measured() -> None:
    model = quantized_model(11)
    target = find_target("emulator")
    found = estimate_model(model, target, "gcc")
    ticks = {r.dp: [layer.instructions or 0 for layer in r.layers] for r in found.regions}
    last = found.regions[-1].dp
    ticks[last] = [2 * count for count in ticks[last]]
    options = {"isa": target.isa, "optimize": Optimize.BALANCED}
    judged = estimated(model, target, "gcc", ticks, **options)  # type: ignore[arg-type]
    assert judged.keys() == ticks.keys()
    assert (
        judged[last].error == -0.5 and judged[last].instructions == found.regions[-1].instructions
    )
    assert all(one.error == 0 for dp, one in judged.items() if dp != last)
    one = estimated(model, target, "gcc", ticks, only=0, **options)[last]  # type: ignore[arg-type]
    assert one.instructions == found.regions[-1].layers[0].instructions
    assert estimated(model, target, "clang", ticks, **options) == {}  # type: ignore[arg-type]


def test_the_compact_table(tmp_path: Path) -> None:
    rows = [ROW, replace(ROW, setting=replace(SETTING, target="qemu:mps3-an547"), peer=None)]
    for file in FILES:
        (tmp_path / file).parent.mkdir()
        (tmp_path / file).write_text(json.dumps(as_json(rows)))
    table = summary(tmp_path)
    assert table.count("| `kws` | 1,000 | 1,234 | 2,468 | 0.50 | 1,234 |  |  |") == 2
    document = "a\n<!-- bench -->\nold\n<!-- /bench -->\nb\n"
    once = insert(document, table)
    assert "old" not in once and insert(once, table) == once
    assert once.startswith("a\n") and once.endswith("\nb\n")
    with pytest.raises(ConfigError, match="no <!-- bench -->"):
        insert("text", table)
    (tmp_path / FILES[0]).write_text(json.dumps(as_json(rows[:1])))
    with pytest.raises(ConfigError, match="not measured on qemu:mps3-an547"):
        summary(tmp_path)


def test_the_readme_has_the_table_of_the_results() -> None:
    """After new results: python -m tesla_host.bench.summary README.md docs/results."""
    root = Path(__file__).parents[2]
    readme = (root / "README.md").read_text(encoding="utf-8")
    assert insert(readme, summary(root / "docs" / "results")) == readme
