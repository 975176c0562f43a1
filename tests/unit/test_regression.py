"""What got worse between two profiles."""

from pathlib import Path

import msgspec
import pytest
from graphs import every_operation
from shell import call

from tesla_embed.errors import ConfigError
from tesla_embed.ir.store import save_model
from tesla_host.cli.terminal import print_profile, print_regressions
from tesla_host.regression import missing_regions, parse_share, regressions, remarks
from tesla_host.results import (
    Latency,
    LayerCost,
    Memory,
    ModelInfo,
    Profile,
    RegionResult,
    Spread,
    TargetInfo,
    Tool,
    read_profile,
    write_json,
)


def region(dp: int) -> RegionResult:
    return RegionResult(
        dp=dp,
        macs=10,
        macs_fraction=0.5,
        samples=100,
        accuracy=0.9,
        accuracy_float=None,
        accuracy_float_samples=0,
        device_samples=10,
        agreement=1.0,
        bit_exact=True,
        instructions=Spread(min=1000, median=1000, max=1000, p95=1000),
        cycles_estimate=2000,
        latency_us=5.0,
        switch_instructions=26,
        layers=[LayerCost(name="fc", op="FullyConnected", macs=10, instructions=900)],
        device_accuracy=0.9,
        latency=Latency(min=4.0, median=5.0, p95=6.0, max=7.0),
    )


def profile() -> Profile:
    return Profile(
        tool=Tool(version="1", compiler="c", host_compiler="h"),
        model=ModelInfo(
            name="m", digest="d", weights_bytes=1, input_shape=[1], output_shape=[1], recipe="",
            algorithm="", profile="", seed=None, data="",
        ),
        target=TargetInfo(name="emulator", cpu="c", clock_hz=1, status="emulated"),
        data="digits",
        memory=Memory(
            flash_bytes=1000, ram_bytes=100, arena_bytes=10, stack_bytes=10, region_table_bytes=1
        ),
        regions=[region(25), region(50)],
    )  # fmt: skip


def test_the_same_is_not_worse() -> None:
    assert regressions(profile(), profile(), 0.0) == []


def test_better_is_not_worse() -> None:
    new = profile()
    new.regions[0].accuracy = 0.99
    new.regions[0].instructions = Spread(min=1, median=1, max=1, p95=1)
    new.memory.flash_bytes = 1
    assert regressions(profile(), new, 0.0) == []


@pytest.mark.parametrize(
    ("change", "where", "what"),
    [
        (lambda p: setattr(p.memory, "flash_bytes", 1030), "memory", "flash_bytes"),
        (lambda p: setattr(p.memory, "stack_bytes", 11), "memory", "stack_bytes"),
        (lambda p: setattr(p.regions[1], "accuracy", 0.87), "50 % DP", "accuracy"),
        (lambda p: setattr(p.regions[1], "device_accuracy", 0.8), "50 % DP", "device_accuracy"),
        (
            lambda p: setattr(p.regions[0].instructions, "median", 1021),
            "25 % DP",
            "instructions (median)",
        ),
        (lambda p: setattr(p.regions[0].latency, "p95", 6.2), "25 % DP", "latency (p95)"),
        (lambda p: setattr(p.regions[0], "switch_instructions", 27), "25 % DP", "switch_instr"),
        (
            lambda p: setattr(p.regions[0].layers[0], "instructions", 950),
            "25 % DP, fc",
            "instructions",
        ),
    ],
)
def test_each_figure_is_watched(change: object, where: str, what: str) -> None:
    new = profile()
    change(new)  # type: ignore[operator]
    (worse,) = regressions(profile(), new, 0.02)
    assert worse.where == where and worse.what.startswith(what) and worse.change > 0.02
    assert regressions(profile(), new, 0.5) == []


def test_a_region_that_is_gone_is_named() -> None:
    new = profile()
    new.regions = new.regions[:1]
    assert regressions(profile(), new, 0.0) == [] and missing_regions(profile(), new) == [50]
    new.regions = [region(75)]
    with pytest.raises(ConfigError, match="no region in common"):
        regressions(profile(), new, 0.0)


def test_profiles_of_two_targets_are_refused() -> None:
    new = profile()
    new.target.name = "host"
    with pytest.raises(ConfigError, match="target emulator, this one of host"):
        regressions(profile(), new, 0.0)


def test_profiles_without_the_newer_fields_are_read(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    write_json(path, profile())
    content = msgspec.json.decode(path.read_bytes())
    for entry in content["regions"]:
        for name in ("latency", "device_accuracy", "switch_us", "first_us", "first_instructions"):
            del entry[name]
        del entry["instructions"]["p95"]
    del content["runs"], content["memory"]["ram_high_water_bytes"]
    path.write_bytes(msgspec.json.encode(content))
    assert regressions(read_profile(path), profile(), 0.0) == []


@pytest.mark.parametrize(("text", "share"), [("2%", 0.02), ("0.02", 0.02), (" 150 % ", 1.5)])
def test_shares(text: str, share: float) -> None:
    assert parse_share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "%", "two", "-1%", "nan", "inf", "2%%", "2", "1"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(ConfigError, match="no share"):
        parse_share(text)


def test_what_was_not_measured_alike_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    old, new = profile(), profile()
    assert remarks(old, new) == []
    new.regions[0].samples = new.regions[1].samples = 50
    new.regions[1].device_samples = 20
    new.runs, new.data, new.model.digest = 3, "idx", "e"
    found = remarks(old, new)
    assert found == [
        "the old profile is of another model",
        "the old profile is of the data digits, this one of idx",
        "samples: 100 in the old profile, 50 now; accuracies are of different test samples",
        "device samples: 10 in the old profile, 10, 20 now; costs and device accuracies are of "
        "different inputs",
        "runs of each: 1 in the old profile, 3 now",
    ]
    print_regressions([], 0.0, [], found)
    assert capsys.readouterr().out.splitlines() == [*found, "nothing is worse by more than 0.00%"]


def test_p95_is_shown_where_it_tells_something(capsys: pytest.CaptureFixture[str]) -> None:
    one = profile()
    one.regions[0].first_us, one.regions[1].first_us = 7.0, 9.5
    one.regions[0].switch_us = one.regions[1].switch_us = 0.25
    one.regions[0].switch_instructions = 30
    print_profile(one)
    shown = capsys.readouterr().out
    assert "p95" in shown and "0.006" in shown
    assert "first inference in a region: 7 to 9.5 µs\n" in shown
    assert "selecting a region: 0.25 µs, 26 to 30 instructions\n" in shown
    for region_ in one.regions:
        region_.latency, region_.first_us, region_.switch_us = None, None, None
        region_.latency_us = region_.switch_instructions = None
    print_profile(one)
    shown = capsys.readouterr().out
    assert "p95" not in shown and "first inference" not in shown and "selecting" not in shown


def test_what_a_process_cannot_tell_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    one = profile()
    one.memory = Memory(
        flash_bytes=None, ram_bytes=None, arena_bytes=10, stack_bytes=None, region_table_bytes=1
    )
    print_profile(one)
    shown = capsys.readouterr().out
    assert "unknown" not in shown
    assert "flash: weights 1 B, region tables 1 B\nRAM: arena 10 B\n" in shown


def test_an_old_profile_of_something_else_is_refused_before_anything_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Even the data need not be there yet."""
    model, old = tmp_path / "m.safetensors", tmp_path / "old.json"
    save_model(model, every_operation())
    write_json(old, profile())
    words = ("profile", model, "--data", f"npz:{tmp_path / 'none'}", "--compare", old)
    assert call(*words, "--target", "host") == 2
    assert "the old profile is of target emulator, this one of host" in capsys.readouterr().err
    assert call(*words, "--target", "emulator") == 2
    assert "no region in common" in capsys.readouterr().err
