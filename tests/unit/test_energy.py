"""Energy from the export of a current probe: known pulses give known energies, and nothing else."""

import json
import random
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from shell import call

from tesla_embed.errors import ConfigError
from tesla_host.energy.align import energy_of, find_pulses
from tesla_host.energy.columns import read_header
from tesla_host.energy.trace import MOST_SAMPLES, Trace, read_trace
from tesla_host.jobs import marked_runs
from tesla_host.results import (
    Latency,
    Memory,
    ModelInfo,
    Profile,
    RegionResult,
    TargetInfo,
    Tool,
    write_json,
)

Capture = pytest.CaptureFixture[str]

IDLE_W, GAP = 0.002, 7
RUN = {20: (10, 0.010), 100: (40, 0.030)}
"""By region: samples of a run, and watts."""
PERIOD_S = 1e-5
SAMPLES = 3


def profile_of(runs: int = 1, clock: bool = True) -> Profile:
    """A profile of the two regions, whose runs are as long as `RUN` says."""
    regions = []
    for dp, (length, _) in RUN.items():
        us = length * PERIOD_S * 1e6
        regions.append(
            RegionResult(
                dp=dp,
                macs=1,
                macs_fraction=1.0,
                samples=SAMPLES,
                accuracy=1.0,
                accuracy_float=None,
                accuracy_float_samples=0,
                device_samples=SAMPLES,
                agreement=1.0,
                bit_exact=True,
                instructions=None,
                cycles_estimate=None,
                latency_us=us if clock else None,
                switch_instructions=None,
                layers=[],
                latency=Latency(min=us, median=us, p95=us, max=us) if clock else None,
            )
        )
    info = ModelInfo(
        name="net", digest="00", weights_bytes=0, input_shape=[1], output_shape=[1], recipe="",
        algorithm="", profile="", seed=None, data="",
    )  # fmt: skip
    return Profile(
        tool=Tool(version="", compiler="", host_compiler=""),
        model=info,
        target=TargetInfo(name="a board", cpu="", clock_hz=0, status=""),
        data="digits",
        memory=Memory(
            flash_bytes=None, ram_bytes=None, arena_bytes=0, stack_bytes=None, region_table_bytes=0
        ),
        regions=regions,
        runs=runs,
    )


def samples_of(order: Sequence[int], before: int = GAP) -> tuple[list[float], list[int]]:
    """Watts and marker of a trace that runs the regions of `order`."""
    watts, marker = [IDLE_W] * before, [0] * before
    for dp in order:
        length, power = RUN[dp]
        watts += [power] * length + [IDLE_W] * GAP
        marker += [1] * length + [0] * GAP
    return watts, marker


def trace_of(order: Sequence[int]) -> Trace:
    watts, marker = samples_of(order)
    return Trace(np.arange(len(watts)) * PERIOD_S, np.array(watts), np.array(marker, np.bool_))


def order_of(runs: int = 1) -> list[int]:
    return [dp for dp, _ in marked_runs([(dp, SAMPLES) for dp in RUN], runs)]


@pytest.mark.parametrize("runs", [1, 4])
def test_energy_is_power_times_time(runs: int) -> None:
    found = energy_of(trace_of(order_of(runs)), profile_of(runs))
    assert [region.dp for region in found.regions] == list(RUN)
    assert found.pulses == 2 * (2 + SAMPLES * runs) and found.first_pulse == 0
    for region in found.regions:
        length, power = RUN[region.dp]
        seconds = length * PERIOD_S
        assert region.runs == SAMPLES * runs
        assert region.energy_uj.median == pytest.approx(1e6 * power * seconds)
        assert region.energy_uj.min == pytest.approx(region.energy_uj.p95)
        assert region.net_energy_uj.p95 == pytest.approx(1e6 * (power - IDLE_W) * seconds)
        assert region.power_mw == pytest.approx(1e3 * power)
        assert region.idle_power_mw == pytest.approx(1e3 * IDLE_W)
        assert region.duration_us.median == pytest.approx(1e6 * seconds)


def test_the_probes_runs_do_not_count() -> None:
    """The first inference of a region may be a cold one."""
    trace = trace_of(order_of())
    first = next(iter(find_pulses(trace)))
    trace.power_w[first.start : first.stop] *= 100
    length, power = RUN[20]
    found = energy_of(trace, profile_of()).regions[0]
    assert found.energy_uj.max == pytest.approx(1e6 * power * length * PERIOD_S)


def test_a_sample_stands_for_the_time_until_the_next() -> None:
    trace = Trace(
        np.array([0.0, 1.0, 2.0, 4.0, 5.0]),
        np.array([9.0, 1.0, 2.0, 9.0, 9.0]),
        np.array([0, 1, 1, 0, 0], np.bool_),
    )
    (pulse,) = find_pulses(trace)
    assert (pulse.start, pulse.stop, pulse.seconds, pulse.joules) == (1, 3, 3.0, 5.0)


def test_pulses_that_are_cut_off_are_none() -> None:
    marker = np.array([1, 1, 0, 1, 0, 0, 1], np.bool_)
    trace = Trace(np.arange(7.0), np.ones(7), marker)
    assert [(pulse.start, pulse.stop) for pulse in find_pulses(trace)] == [(3, 4)]
    none = Trace(np.arange(3.0), np.ones(3), np.zeros(3, np.bool_))
    assert list(find_pulses(none)) == []


@pytest.mark.parametrize("before", [1, 5])
def test_earlier_pulses_are_recognised_by_their_length(before: int) -> None:
    found = energy_of(trace_of([100] * before + order_of()), profile_of())
    assert found.first_pulse == before
    length, power = RUN[20]
    assert found.regions[0].energy_uj.max == pytest.approx(1e6 * power * length * PERIOD_S)


@pytest.mark.parametrize(
    ("order", "clock", "says"),
    [
        (order_of()[:-1], True, "rises 9 times, the profile has 10"),
        ([], True, "rises 0 times"),
        (order_of()[::-1], True, "not what the device's clock measured"),
        ([20, *order_of()], False, "which are its own is not certain"),
        ([100] * 7 + [20] * 7 + order_of()[:4], True, "not those of the profile's"),
    ],
)
def test_another_run_is_refused(order: list[int], clock: bool, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        energy_of(trace_of(order), profile_of(clock=clock))


def write(path: Path, header: str, row: str, order: Sequence[int], volts: float = 3.0) -> Path:
    watts, marker = samples_of(order)
    lines = [
        row.format(
            t=n * PERIOD_S, a=w / volts, v=volts, m=m, ms=n * PERIOD_S * 1e3, ua=w / volts * 1e6
        )
        for n, (w, m) in enumerate(zip(watts, marker, strict=True))
    ]
    path.write_text("\n".join((header, *lines)) + "\n", encoding="utf-8")
    return path


FORMATS = [
    ("Timestamp(ms),Current(uA),D0-D7", "{ms:.5f},{ua:.3f},{m}0000-0X", None, True),
    ("Timestamp(ms),Current(uA),D0-D7", "{ms:.5f},{ua:.3f},1110{m}000", "D4", True),
    ("Timestamp(ms),Current(uA),D0,D1", "{ms:.5f},{ua:.3f},{m},1", None, True),
    ("#time (s),current (A),voltage (V),gpi0", "{t:.9f},{a:.9e},{v},{m}", None, False),
    ("#time,current,voltage,power,gpi1", "{t:.9f},{a:.9e},{v},0,{m}", None, False),
    ("time[s];I[µA];U[mV];marker", "{t:.9f};{ua:.3f};3000,0;{m}", None, False),
    ('"t [ms]"\t"current [uA]"\t"pin"', '"{ms:.5f}"\t{ua:.3f}\t{m}.0', "pin", True),
]


@pytest.mark.parametrize(("header", "row", "marker", "volts"), FORMATS)
def test_exports_of_probes(
    tmp_path: Path, header: str, row: str, marker: str | None, volts: bool
) -> None:
    path = write(tmp_path / "x.csv", header, row, order_of())
    trace = read_trace(path, volts=3.0 if volts else None, marker=marker)
    expected = trace_of(order_of())
    np.testing.assert_allclose(trace.time_s, expected.time_s, atol=1e-12)
    np.testing.assert_allclose(trace.power_w, expected.power_w, rtol=1e-6)
    np.testing.assert_array_equal(trace.marker, expected.marker)


def test_lines_before_the_header_and_remarks(tmp_path: Path) -> None:
    text = "# a probe\nserial,123\n\n" + GOOD.replace("\n", "\n# begins\n", 1)
    path = tmp_path / "x.csv"
    path.write_text(text)
    assert read_trace(path).marker.tolist() == [False, True, False]


GOOD = "time,current,voltage,marker\n0,1,1,0\n1,1,1,1\n2,1,1,0\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no line names columns"),
        ("a,b\n" * 99, "no line names columns"),
        ("time,current,marker\n0,1,0\n1,1,0\n2,1,0\n", "give --volts"),
        ("time,current,voltage\n0,1,1\n", "no marker 'd0'.*none at all"),
        ("time,current,voltage,d1,d2\n0,1,1,0,0\n", "no marker 'd0'.*d1, d2"),
        ("time[h],current,voltage,d0\n", "line 1: unit 'h' of 'time'"),
        (GOOD + "3,1\n", "line 5: 2 columns, the header has 4"),
        (GOOD + "3,x,1,0\n", "line 5"),
        (GOOD + "3,nan,1,0\n", "line 5: nan is no number"),
        (GOOD + "3,1e999,1,0\n", "line 5: 1e999"),
        (GOOD + "3,1e200,1e200,0\n", "line 5: inf W at 3 s"),
        (GOOD + "1e300,1,1,0\n", "line 5: 1 W at 1e"),
        (GOOD + "2,1,1,0\n", "line 5: time goes from 2 s to 2 s"),
        (GOOD + "3,1,1,-\n", "line 5"),
        (GOOD + "3,1,1,2\n", "line 5: the marker is '2'"),
        (GOOD + "3,1,1,\n", "line 5"),
        ("Timestamp(ms),Current(uA),voltage,D0-D7\n0,1,1,-0000000\n", "was this input recorded"),
        ("Timestamp(ms),Current(uA),voltage,D0-D7\n0,1,1,\n", "was this input recorded"),
        ("time,current,voltage,marker\n0,1,1,0\n", "1 samples"),
        ("x" * 10_000, "longer than any probe's"),
        (GOOD + "9" * 10_000, "longer than any probe's"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says) as caught:
        read_trace(path)
    assert str(path) in str(caught.value)


def test_too_many_samples_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tesla_host.energy.trace.MOST_SAMPLES", 2)
    (tmp_path / "x.csv").write_text(GOOD)
    with pytest.raises(ConfigError, match="more than 2 samples"):
        read_trace(tmp_path / "x.csv")
    assert MOST_SAMPLES > 10**7


@pytest.mark.parametrize("volts", [0.0, -1.0, float("nan"), float("inf")])
def test_voltages_that_are_none(tmp_path: Path, volts: float) -> None:
    (tmp_path / "x.csv").write_text(GOOD)
    with pytest.raises(ConfigError, match="supply's voltage"):
        read_trace(tmp_path / "x.csv", volts=volts)


def test_damaged_files_are_refused_or_read(tmp_path: Path) -> None:
    """Whatever a file holds: a trace that is in order, or a `ConfigError`."""
    rng = random.Random(1)
    good = write(tmp_path / "good.csv", *FORMATS[0][:2], order_of()).read_bytes()
    path, read = tmp_path / "x.csv", 0
    for _ in range(400):
        content = bytearray(good[: rng.randrange(len(good))])
        for _ in range(rng.randrange(4)):
            content[rng.randrange(max(1, len(content))) : rng.randrange(len(good))] = rng.randbytes(
                rng.randrange(9)
            )
        path.write_bytes(content)
        try:
            trace = read_trace(path, volts=3.0)
        except ConfigError:
            continue
        read += 1
        assert np.isfinite(trace.power_w).all() and (np.diff(trace.time_s) > 0).all()
    assert read > 10


def test_headers_of_other_tables_are_none() -> None:
    assert read_header("name,value", None) is None
    assert read_header("", None) is None
    assert read_header("\x00(((,)))", None) is None


def test_brackets_and_blanks_of_a_header() -> None:
    """In linear time, whatever the cell: a regular expression took seconds for 200 blanks."""
    blanks = " " * 2_000
    odd = [f"a{blanks}b(", f"a{blanks}[b{blanks}c", f"{blanks}({blanks}", f"#{blanks}]"]
    started = time.process_time()
    for cell in odd:
        assert read_header(f"{cell},{cell},current", None) is None
    found = read_header(f"#{blanks}time{blanks}({blanks}ms{blanks}],current [ma],d0", None)
    assert time.process_time() - started < 1
    assert found is not None and (found.time_factor, found.current_factor) == (1e-3, 1e-3)
    for cell in ("time(s)x", "time((s))", "time)s(", "time(s"):
        assert read_header(f"{cell},current,d0", None) is None


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("device_samples", 0, "0 samples"),
        ("device_samples", -1, "-1 samples"),
        ("device_samples", 10**11, "rises 10 times, the profile has 200,000,000,004"),
        ("runs", 0, "0 runs"),
        ("runs", 10**11, "rises 10 times"),
        ("regions", [], "0 samples"),
    ],
)
def test_profiles_that_no_trace_can_fit(field: str, value: object, says: str) -> None:
    profile = profile_of()
    if field == "device_samples":
        for region in profile.regions:
            setattr(region, field, value)
    else:
        setattr(profile, field, value)
    with pytest.raises(ConfigError, match=says):
        energy_of(trace_of(order_of()), profile)


def test_the_verb_refuses_counts_below_nothing(tmp_path: Path, capsys: Capture) -> None:
    path = write(tmp_path / "x.csv", *FORMATS[0][:2], order_of())
    for old, new in (('"device_samples": 3', '"device_samples": -3'), ('"runs": 1', '"runs": 0')):
        write_json(tmp_path / "p.json", profile_of())
        text = (tmp_path / "p.json").read_text()
        assert old in text
        (tmp_path / "p.json").write_text(text.replace(old, new))
        assert call("energy", tmp_path / "p.json", "--csv", path, "--volts", 3) == 2
        assert "no profile of ours" in capsys.readouterr().err


def test_the_verb(tmp_path: Path, capsys: Capture) -> None:
    write_json(tmp_path / "p.json", profile_of())
    path = write(tmp_path / "x.csv", *FORMATS[0][:2], order_of())
    words = (tmp_path / "p.json", "--csv", path, "--volts", 3)
    assert call("energy", *words, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "tesla-embed/energy/1"
    assert [region["dp"] for region in found["regions"]] == list(RUN)
    assert call("energy", *words) == 0
    length, power = RUN[100]
    assert f"{1e6 * power * length * PERIOD_S:.2f}" in capsys.readouterr().out
    assert call("energy", tmp_path / "p.json", "--csv", tmp_path / "none") == 2
    assert "check the path" in capsys.readouterr().err
