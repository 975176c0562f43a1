"""Tables and literals of the generated C: shared where equal, and never changed."""

import re

import numpy as np
import numpy.typing as npt
import pytest
from graphs import extreme_model, quantized_model
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tesla_codegen.kernels.choice import choose
from tesla_codegen.kernels.variant import Isa, Optimize
from tesla_codegen.lower import float_literal, lower
from tesla_codegen.regions import region_arrays
from tesla_codegen.tables import CArray, TablePool, c_array, packed
from tesla_embed.ir.graph import Model
from tesla_embed.ir.ops import Weighted
from tesla_embed.ir.requantization import requantization
from tesla_embed.ir.specialize import specialize
from tesla_embed.ir.types import Weights

quick = settings(derandomize=True, deadline=None, max_examples=200)
LIMITS = {"int8": 2**7, "int32": 2**31}


def parse(array: CArray) -> npt.NDArray[np.generic]:
    """The numbers that a C compiler would read, checked against length and type."""
    texts = re.findall(r"[^,\s]+", " ".join(array.lines))
    values = [-(2**31) if text == "INT32_MIN" else int(text) for text in texts]
    assert len(values) == array.length
    assert all(line.endswith(",") and len(line) <= 120 for line in array.lines)
    dtype = array.c_type.removesuffix("_t")
    assert all(-LIMITS[dtype] <= value < LIMITS[dtype] for value in values)
    assert array.bytes == array.length * np.dtype(dtype).itemsize
    return np.array(values, dtype)


@quick
@given(st.sampled_from(["int8", "int32"]), st.data())
def test_arrays_keep_every_value(dtype: str, data: st.DataObject) -> None:
    limit = LIMITS[dtype]
    ends = st.sampled_from([-limit, limit - 1, 0, -1])
    values = data.draw(st.lists(st.one_of(st.integers(-limit, limit - 1), ends), min_size=1))
    array = np.array(values, dtype)
    assert np.array_equal(parse(c_array("x", array)), array)


def test_arrays_are_flattened_in_c_order() -> None:
    array = np.arange(24, dtype=np.int8).reshape(2, 3, 4)
    assert np.array_equal(parse(c_array("x", array)), np.arange(24))
    assert np.array_equal(parse(c_array("x", array.T)), array.T.reshape(-1))


@pytest.mark.parametrize("rows", [1, 2, 5, 6])
def test_two_weights_of_four_bits_share_a_byte(rows: int) -> None:
    """Nothing is lost, and the leading inputs and outputs are leading bytes and rows."""
    data = np.random.default_rng(rows).integers(-7, 8, (rows, 3, 2, 5)).astype(np.int8)
    weights = Weights(data=data, scale=np.ones(rows), bits=4)
    stored = packed(weights)
    assert stored.dtype == np.int8
    assert stored.nbytes == weights.bytes == (rows + 1) // 2 * 30
    pairs = stored.astype(np.int64).reshape(-1, 30)
    for row, wanted in enumerate(data.reshape(rows, 30).astype(np.int64)):
        half = pairs[row // 2] >> 4 if row % 2 else ((pairs[row // 2] & 15) ^ 8) - 8
        assert np.array_equal(half, wanted)


def test_weights_of_eight_bits_stay_as_they_are() -> None:
    data = np.arange(-12, 12, dtype=np.int8).reshape(2, 3, 4)
    weights = Weights(data=data, scale=np.ones(2))
    assert np.array_equal(packed(weights), data.reshape(-1))
    assert weights.bytes == 24


SMALL = st.lists(st.integers(0, 2), min_size=1, max_size=5)


@quick
@given(st.lists(st.tuples(st.sampled_from(["int8", "int32"]), SMALL), min_size=1, max_size=10))
def test_pool_gives_every_table_its_content(wanted: list[tuple[str, list[int]]]) -> None:
    pool = TablePool()
    for index, (dtype, values) in enumerate(wanted):
        pool.add(f"t{index}", np.array(values, dtype))
    arrays, where = pool.resolve()
    held = {array.name: array for array in arrays}
    assert len(held) == len(arrays)
    assert set(where.values()) == set(held)
    assert set(where) == {f"t{index}" for index in range(len(wanted))}
    for index, (dtype, values) in enumerate(wanted):
        array = held[where[f"t{index}"]]
        assert array.c_type == f"{dtype}_t"
        assert parse(array)[: len(values)].tolist() == values


@quick
@given(st.lists(SMALL, min_size=1, max_size=10))
def test_pool_stores_no_prefix_of_another_table(wanted: list[list[int]]) -> None:
    pool = TablePool()
    for index, values in enumerate(wanted):
        pool.add(f"t{index}", np.array(values, np.int32))
    contents = [parse(array).tolist() for array in pool.resolve()[0]]
    for index, content in enumerate(contents):
        for other, longer in enumerate(contents):
            assert index == other or longer[: len(content)] != content


def test_pool_shares_a_prefix_and_keeps_types_apart() -> None:
    pool = TablePool()
    pool.add("short", np.array([1, 2], np.int32))
    pool.add("other", np.array([1, 2], np.int8))
    pool.add("long", np.array([1, 2, 3], np.int32))
    arrays, where = pool.resolve()
    assert where == {"short": "long", "long": "long", "other": "other"}
    assert [array.name for array in arrays] == ["other", "long"]


def check_regions(model: Model) -> int:
    """Every row points to the numbers of its region; returns how many tables were shared."""
    rows, tables = region_arrays(model, choose(model, Isa.PORTABLE, Optimize.BALANCED))
    held = {array.name: parse(array) for array in tables}
    by_name = {row.name: row for row in rows}
    asked = 0
    for number, region in enumerate(model.regions):
        for op, table in zip(specialize(model, region).graph.ops, region.tables, strict=True):
            if not isinstance(op, Weighted):
                continue
            assert table is not None
            text = by_name[f"{op.name}_regions"].fields[number]
            source, target = region.types[op.input], region.types[op.output]
            q = requantization(op, table, source, target)
            *numbers, bias, multiplier, shift = text.strip("{}").split(", ")
            assert [int(n) for n in numbers] == [
                source.channels,
                target.channels,
                q.input_offset,
                q.output_offset,
                q.activation_min,
                q.activation_max,
            ]
            for name, values in ((bias, q.bias), (multiplier, q.factors[0]), (shift, q.factors[1])):
                assert np.array_equal(held[name][: len(values)], values)
                asked += 1
    return asked - len(tables)


def test_rows_of_models_point_to_their_tables() -> None:
    shared = [
        check_regions(make(seed)) for make in (quantized_model, extreme_model) for seed in range(30)
    ]
    assert sum(shared) > 50


def test_bytes_of_models_are_those_of_their_arrays() -> None:
    for seed in range(20):
        model = quantized_model(seed)
        project = lower(model)
        weights = [op.weights.data for op in model.graph.ops if isinstance(op, Weighted)]
        assert project.weights_bytes == sum(data.size for data in weights)
        assert project.region_of_percent.length == 101
        lookup = parse(project.region_of_percent).tolist()
        dps = [region.dp for region in model.regions]
        assert [dp for dp, index in enumerate(lookup) if index >= 0] == dps
        assert [lookup[dp] for dp in dps] == list(range(len(dps)))


@quick
@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
@example(1e-45)
@example(1.17549435e-38)
@example(3.4028234663852886e38)
@example(0.1)
@example(16777216.0)
def test_float_literals_round_trip(value: float) -> None:
    text = float_literal(value)
    assert re.fullmatch(r"-?\d\.\d+e[+-]\d+f", text)
    assert np.float32(text[:-1]) == np.float32(value)


def test_float_literals_are_short() -> None:
    assert [float_literal(v) for v in (1.0, 0.1, 1 / 255)] == [
        "1.0e+0f",
        "1.0e-1f",
        "3.921569e-3f",
    ]
