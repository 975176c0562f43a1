"""Clipping, shared tables and the options that choose them."""

import dataclasses

import numpy as np
import pytest
from graphs import float_inputs, float_model
from hypothesis import given, settings
from hypothesis import strategies as st
from norms import norm_model

from tesla_codegen.lower import lower
from tesla_embed.errors import ConfigError
from tesla_embed.ir.requantization import quantization
from tesla_embed.ir.store import digest
from tesla_embed.quant import Calibration, QatOptions, QuantizeOptions, Reduction
from tesla_embed.quant.calibrate import calibrate
from tesla_embed.quant.histogram import BINS, Histogram
from tesla_embed.quant.quantize import quantize
from tesla_embed.quant.rounding import activation_quantization

quick = settings(derandomize=True, deadline=None, max_examples=100)


def counted(values: np.ndarray) -> Histogram:
    histogram = Histogram(float(values.min()), float(values.max()))
    for part in np.array_split(values, 3):
        histogram.add(part)
    return histogram


def squared_error(values: np.ndarray, low: float, high: float) -> float:
    q = activation_quantization(low, high)
    integers = np.clip(np.rint(values / q.scale) + q.zero_point, -128, 127)
    return float(np.square(values - (integers - q.zero_point) * q.scale).mean())


@quick
@given(st.integers(0, 2**32 - 1), st.floats(51, 99.9))
def test_percentile_leaves_out_its_share_at_each_end(seed: int, percent: float) -> None:
    rng = np.random.default_rng(seed)
    values = rng.standard_t(3, 20_000)
    low, high = counted(values).percentile(percent)
    share = (100 - percent) / 100
    bin_width = np.ptp(values) / BINS
    for end, outside in ((high, (values > high).mean()), (low, (values < low).mean())):
        assert outside <= share + 1e-9
        # Half a bin further in, more than that would be outside.
        inner = end - bin_width * 1.01 if end == high else end + bin_width * 1.01
        beyond = (values > inner).mean() if end == high else (values < inner).mean()
        assert beyond >= share - 1e-9


def test_all_of_a_hundred_percent() -> None:
    values = np.array([-3.0, 0.5, 2.0, 7.0])
    assert counted(values).percentile(100.0) == (-3.0, 7.0)


@pytest.mark.parametrize("positive", [True, False])
def test_least_error_clips_what_is_rare_and_far(positive: bool) -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(0, 1, 1_000_000)
    values = np.abs(values) if positive else values
    values[0] = 30.0
    histogram = counted(values)
    low, high = histogram.least_error()
    assert high < 20
    assert (low == 0.0) == positive
    found = squared_error(values, low, high)
    assert found < 0.5 * squared_error(values, histogram.low, histogram.high)
    # No better range at a quarter and at four times, nor next to it.
    for factor in (0.25, 0.8, 1.25, 4.0):
        assert found <= 1.05 * squared_error(values, low * factor, high * factor)


def test_least_error_keeps_a_range_without_extremes() -> None:
    values = np.linspace(-1.0, 3.0, 10_001)
    low, high = counted(values).least_error()
    assert low == pytest.approx(-1.0, abs=0.03)
    assert high == pytest.approx(3.0, abs=0.07)


def test_constant_activations_have_a_range() -> None:
    histogram = Histogram(0.0, 0.0)
    histogram.add(np.zeros(5))
    assert histogram.least_error() == (0.0, 0.0)
    assert histogram.percentile(99.0) == (0.0, 0.0)


@pytest.mark.parametrize("method", ["percentile", "mse"])
def test_clipped_ranges_lie_within_what_was_seen(method: str) -> None:
    """A percentile makes some smaller, unless all that is computed lies at the ends of a clamp."""
    unchanged = []
    for seed in range(10):
        model = float_model(seed)
        inputs = float_inputs(model, seed, 64)
        whole = calibrate(model, inputs)
        options = Calibration(method=method, percentile=95.0)  # type: ignore[arg-type]
        clipped = calibrate(model, inputs, None, options)
        entry = model.graph.input
        smaller = 0
        for outer, inner in zip(whole, clipped, strict=True):
            assert (inner.low[entry], inner.high[entry]) == (outer.low[entry], outer.high[entry])
            for low, high, least, most in zip(
                inner.low, inner.high, outer.low, outer.high, strict=True
            ):
                assert min(least, 0.0) - 1e-9 <= low <= high <= max(most, 0.0) + 1e-9
                smaller += high - low < 0.99 * (most - least)
        unchanged += [] if smaller else [seed]
        quantize(model, clipped)
    assert unchanged == [9] or method == "mse"  # one layer, clamped to -1…1


@pytest.mark.parametrize("method", ["minmax", "percentile", "mse"])
def test_shared_tables_quantise_alike_in_every_region(method: str) -> None:
    for seed in range(12):
        model = float_model(seed)
        inputs = float_inputs(model, seed, 16)
        options = Calibration(method=method, tables="shared")  # type: ignore[arg-type]
        done = quantize(model, calibrate(model, inputs, None, options))
        for types in zip(*(region.types for region in done.regions), strict=True):
            assert len({quantization(type_) for type_ in types}) == 1


def test_shared_min_max_covers_every_region() -> None:
    model, inputs = norm_model("chain", 1)
    shared = calibrate(model, inputs, None, Calibration(tables="shared"))
    apart = calibrate(model, inputs)
    assert shared[0] == shared[-1]
    assert shared[0].high == tuple(np.max([ranges.high for ranges in apart], axis=0).tolist())
    assert shared[0].low == tuple(np.min([ranges.low for ranges in apart], axis=0).tolist())


def test_equal_tables_are_stored_once() -> None:
    """Without batch norm a shared table's shorter versions are its beginning, and cost nothing."""
    model = next(
        m for m in map(float_model, range(100)) if len(m.regions) >= 3 and len(m.graph.ops) >= 3
    )
    same = [dataclasses.replace(region, tables=region.tables) for region in model.regions]
    longest = model.regions[-1]
    regions = []
    for region in same:
        tables = [
            None
            if table is None or whole is None
            else dataclasses.replace(table, bias=whole.bias[: len(table.bias)].copy())
            for table, whole in zip(region.tables, longest.tables, strict=True)
        ]
        regions.append(dataclasses.replace(region, tables=tuple(tables)))
    model = dataclasses.replace(model, regions=tuple(regions))
    inputs = float_inputs(model, 3, 16)
    sizes = {}
    for tables in ("region", "shared"):
        options = Calibration(tables=tables)  # type: ignore[arg-type]
        done = quantize(model, calibrate(model, inputs, None, options))
        weighted = sum(table is not None for table in done.regions[0].tables)
        project = lower(done)
        sizes[tables] = project.region_table_bytes
        if tables == "shared":
            assert len(project.tables) <= 3 * weighted
    assert sizes["shared"] < sizes["region"]


def test_min_max_per_region_is_the_default() -> None:
    model, inputs = norm_model("depthwise", 1)
    default = quantize(model, calibrate(model, inputs))
    spelt = Calibration(method="minmax", tables="region")
    assert digest(quantize(model, calibrate(model, inputs, None, spelt))) == digest(default)
    assert QuantizeOptions().calibration == spelt
    assert QuantizeOptions().reduction.bits == "int8"
    assert not QuantizeOptions().bias_correction
    assert QuantizeOptions().qat is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Calibration(method="max"), "calibration 'max' is not known; use minmax"),  # type: ignore[arg-type]
        (lambda: Calibration(tables="own"), "tables 'own' is not known; use region, shared"),  # type: ignore[arg-type]
        (lambda: Calibration(percentile=50), "percentile 50 is out of range"),
        (lambda: Calibration(percentile=100.1), "percentile 100.1 is out of range"),
        (lambda: Reduction(bits="int2"), "weights 'int2' is not known"),  # type: ignore[arg-type]
        (lambda: Reduction(rounding="up"), "rounding 'up' is not known"),  # type: ignore[arg-type]
        (lambda: Reduction(bits="mixed"), "either --budget BYTES or --max-loss"),
        (
            lambda: Reduction(bits="mixed", budget_bytes=1, max_loss=1.0),
            "either --budget BYTES or --max-loss",
        ),
        (lambda: Reduction(bits="int4", max_loss=1.0), "add --weights mixed"),
        (lambda: Reduction(bits="mixed", max_loss=-1.0), "a limit of -1 cannot be kept"),
        (lambda: QatOptions(epochs=0), "qat epochs 0 is too few"),
        (lambda: QuantizeOptions(samples=0), "0 calibration samples are too few"),
    ],
)
def test_options_that_cannot_be_meant(make: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()  # type: ignore[operator]
