"""The tables of targets in the documentation say what the catalogue says."""

from pathlib import Path

import pytest

from tesla_host.catalogue import TARGETS, Target

ROOT = Path(__file__).parents[2]


def memory(row: Target) -> str:
    if row.flash is None or row.ram is None:
        return ""
    return f"{row.flash.bytes >> 10:,}, {row.ram.bytes >> 10:,} KiB"


def line(row: Target) -> str:
    """The row's line of docs/targets.md."""
    names = ", ".join(f"`{name}`" for name in row.names)
    cpu = f"{row.cpu}, {row.clock_hz / 1e6:g} MHz" if row.core else ""
    return f"| {names} | {row.description} | {cpu} | {memory(row)} | {row.status} |"


@pytest.mark.parametrize("row", TARGETS, ids=lambda row: str(row.name))
def test_every_row_has_its_line(row: Target) -> None:
    assert line(row) in (ROOT / "docs" / "targets.md").read_text().splitlines()


def test_no_other_line() -> None:
    lines = (ROOT / "docs" / "targets.md").read_text().splitlines()
    after = lines[lines.index("|---|---|---|---|---|") + 1 :]
    assert after[: after.index("")] == [line(row) for row in TARGETS]


def test_hardware_is_claimed_for_none() -> None:
    """Whoever verifies a board on hardware also changes what the documentation says of it."""
    assert not [row.name for row in TARGETS if row.status == "hardware-verified"]
    assert (
        "None yet: nothing here has run on hardware." in (ROOT / "docs" / "targets.md").read_text()
    )
