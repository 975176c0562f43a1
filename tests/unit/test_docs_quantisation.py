"""The tables of docs/results/quantisation are their JSON files', and keep what is said of them."""

import json
from pathlib import Path
from typing import Any

import pytest

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "quantisation"
NETWORKS = ("mnist-mlp", "fashion-dscnn", "cifar10-resnet8", "mnist-mlp-deep")
COLUMNS = {
    "int8": ("int8", "region"),
    "int8, one table": ("int8", "shared"),
    "int8, QAT": ("qat", "region"),
    "int4, Bit-Split": ("int4", "region"),
    "int4, rounded": ("int4-nearest", "region"),
}


def choices(network: str) -> dict[str, dict[str, Any]]:
    """What was measured of a network, by the heading of its column."""
    found = {}
    for heading, (name, tables) in COLUMNS.items():
        path = RESULTS / network / f"{name}.json"
        content = json.loads(path.read_text())["tables"] if path.exists() else {}
        if tables in content:
            found[heading] = content[tables]
    return found


def loss(choice: dict[str, Any], dp: str) -> float:
    """Points of accuracy below the float network; 10,000 examples tell two decimals."""
    return round(100 * (choice["reference"][dp] - choice["accuracy"][dp]), 2)


@pytest.mark.parametrize("network", NETWORKS)
def test_every_row_is_the_json_s(network: str) -> None:
    lines = (RESULTS / "README.md").read_text().splitlines()
    found = choices(network)
    assert f"| DP % | float | {' | '.join(found)} |" in lines
    for dp, reference in found["int8"]["reference"].items():
        scores = (reference, *(choice["accuracy"][dp] for choice in found.values()))
        assert f"| {dp} | {' | '.join(f'{100 * score:.2f}' for score in scores)} |" in lines
    for label, key in (("weights, B", "weights_bytes"), ("tables, B", "table_bytes")):
        figures = " | ".join(f"{choice[key]:,}" for choice in found.values())
        assert f"| {label} | | {figures} |" in lines


@pytest.mark.parametrize("network", NETWORKS)
def test_the_limits_are_kept(network: str) -> None:
    found = choices(network)
    int8, split, nearest = (found[name] for name in ("int8", "int4, Bit-Split", "int4, rounded"))
    for dp in int8["reference"]:
        assert loss(int8, dp) <= (0.5 if int(dp) >= 25 else 1.0)
        assert loss(split, dp) - loss(int8, dp) <= 1.5
        if "int8, QAT" in found:
            assert loss(found["int8, QAT"], dp) <= 0.3
    assert all(choice["samples"] == 10_000 for choice in found.values())
    assert split["weights_bytes"] <= 0.55 * int8["weights_bytes"]
    worst_split, worst_nearest = (
        max(loss(c, dp) for dp in c["reference"]) for c in (split, nearest)
    )
    assert worst_split < 0.5 * worst_nearest
