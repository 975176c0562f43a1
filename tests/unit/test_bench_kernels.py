"""What `bench kernels` measures and compares with."""

import numpy as np
import pytest

from tesla_embed.errors import ConfigError
from tesla_embed.ir.graph import region_macs
from tesla_embed.ir.interpret import interpret_layers
from tesla_host.bench.cases import CASES, MEASURED, Case, case_model, find_cases
from tesla_host.bench.peers import find_peer
from tesla_host.bench.rows import SCHEMA, Counts, Row, Setting, as_json

NAMES = [case.name for case in CASES]


def test_names_and_order_are_fixed() -> None:
    assert NAMES == [
        "conv3x3-16x16x32-32",
        "conv3x3-8x8x64-64",
        "conv3x3-32x32x3-32",
        "conv1x1-25x5x64-64",
        "fc-784-128",
        "dw3x3-25x5x64",
        "maxpool2x2-16x16x32",
    ]


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_peers_did_the_same_work_at_every_percentage(case: Case) -> None:

    model = case_model(case)
    place = next(i for i, op in enumerate(model.graph.ops) if op.name == MEASURED)
    for region in model.regions:
        macs = region_macs(model.graph, region)[place]
        peer = find_peer(case.name, "Cortex-M4", region.dp)
        assert peer is not None
        if macs:  # instructions for each product, as published, lie between these
            assert 1.7 < peer.instructions / macs < 9.0
    assert find_peer(case.name, "Cortex-M0+", 100) is None
    assert find_peer(case.name, "Cortex-M4", 60) is None


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_outputs_use_their_range(case: Case) -> None:

    model = case_model(case, (100,))
    inputs = np.random.default_rng(0).integers(
        -128, 128, (1, *model.graph.tensors[0].type.shape), dtype=np.int8
    )
    place = next(i for i, op in enumerate(model.graph.ops) if op.name == MEASURED)
    output = interpret_layers(model, model.regions[0], inputs)[place]
    assert len(np.unique(output)) > 20


def test_a_dense_case_has_no_other_channels() -> None:
    (case,) = find_cases("conv3x3-8x8x64-64")
    wide, narrow = case_model(case, (50,)), case_model(case, (50,), dense=True)
    assert narrow.graph.ops[1].weights.data.shape == (32, 3, 3, 32)  # type: ignore[union-attr]
    assert (
        region_macs(wide.graph, wide.regions[0])[1]
        == region_macs(narrow.graph, narrow.regions[0])[1]
    )


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="no kernel to measure"):
        find_cases("conv5x5")


def test_ratios_are_shares_of_the_peer() -> None:
    row = Row(
        name="fc-784-128",
        shape="784 -> 128",
        setting=Setting(
            target="emulator", toolchain="zig", compiler="zig", isa="dsp", optimize="balanced"
        ),
        dp=100,
        macs=100_352,
        counts=Counts(instructions=97_000, cycles_estimate=None),
        flash_bytes=1,
        ram_bytes=1,
        peer=find_peer("fc-784-128", "Cortex-M4", 100),
    )
    content = as_json([row])
    assert content["schema"] == SCHEMA == "tesla-embed/bench/1"
    (entry,) = content["rows"]  # type: ignore[misc]
    assert entry["ratio"] == 97_000 / 194_597 and entry["ratio_cycles"] is None
    assert entry["peer"]["instructions"] == 194_597
