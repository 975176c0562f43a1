"""Model files: what is written comes back, and whatever else is read gives a `GraphError`."""

import copy
import dataclasses
import json
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import (
    RICH,
    every_operation,
    extreme_model,
    first_difference,
    float_model,
    int8_inputs,
    narrow_model,
    quantized_model,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tesla_embed.errors import ConfigError, GraphError
from tesla_embed.ir.graph import FloatAnswers, Model, Provenance, Table
from tesla_embed.ir.interpret import interpret
from tesla_embed.ir.ops import Weighted
from tesla_embed.ir.store import (
    MAX_FILE_BYTES,
    METADATA_KEY,
    SCHEMA,
    digest,
    load_model,
    read_schema,
    save_model,
)
from tesla_embed.ir.types import Weights
from tesla_embed.ir.verify import verify

"""A model with images, pools, reshapes, fully connected layers and several regions."""

fuzz = settings(
    derandomize=True,
    deadline=None,
    max_examples=500,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("store") / "model.safetensors"
    save_model(path, every_operation())
    return path.read_bytes()


def split(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The safetensors header, and the tensors' bytes."""
    length = int.from_bytes(content[:8], "little")
    header: dict[str, Any] = json.loads(content[8 : 8 + length])
    return header, content[8 + length :]


def join(header: dict[str, Any], data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def description(content: bytes) -> dict[str, Any]:
    """The model's JSON description, parsed."""
    parsed: dict[str, Any] = json.loads(split(content)[0]["__metadata__"][METADATA_KEY])
    return parsed


def with_description(content: bytes, described: Any) -> bytes:
    header, data = split(content)
    return join({**header, "__metadata__": {METADATA_KEY: json.dumps(described)}}, data)


def refused(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(GraphError) as caught:
        load_model(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def survives(path: Path, content: bytes) -> None:
    """Only a valid model or a `GraphError` that names the file may come of any content."""
    path.write_bytes(content)
    started = time.process_time()
    try:
        verify(load_model(path))
    except GraphError as error:
        assert str(path) in str(error)
    assert time.process_time() - started < 2


def same(a: Model, b: Model) -> bool:
    """Equal in everything, arrays and their types included."""
    if digest(a) != digest(b) or a.provenance != b.provenance or a.name != b.name:
        return False
    for region, other in zip(a.regions, b.regions, strict=True):
        for table, twin in zip(region.tables, other.tables, strict=True):
            if (table is None) != (twin is None):
                return False
            if table and twin and not np.array_equal(table.bias, twin.bias):
                return False
    for op, again in zip(a.graph.ops, b.graph.ops, strict=True):
        if isinstance(op, Weighted) and isinstance(again, Weighted):
            bits = op.weights.bits == again.weights.bits
            if not bits or not np.array_equal(op.weights.data, again.weights.data):
                return False
    return a.graph.tensors == b.graph.tensors


@pytest.mark.parametrize("make", [float_model, quantized_model, extreme_model, narrow_model])
def test_round_trip(tmp_path: Path, make: Any) -> None:
    for seed in range(15):
        model = dataclasses.replace(
            make(seed),
            provenance=Provenance(
                recipe="Größe",
                seed=7,
                float_answers=(FloatAnswers(dp=3, samples=9, right="AAA="),),
            ),
        )
        save_model(tmp_path / "m", model)
        loaded = load_model(tmp_path / "m")
        assert same(loaded, model)
        if make is not float_model:
            inputs = int8_inputs(model, seed, 4)
            for region, again in zip(model.regions, loaded.regions, strict=True):
                expected = interpret(model, region, inputs)
                assert not first_difference("output", interpret(loaded, again, inputs), expected)


def test_saving_is_deterministic_and_checks_the_model(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_model(tmp_path / name, quantized_model(RICH))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with pytest.raises(GraphError, match="no operating region"):
        save_model(tmp_path / "a", dataclasses.replace(quantized_model(RICH), regions=()))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_arrays_of_any_memory_layout_are_saved_as_they_read(tmp_path: Path) -> None:
    model = float_model(RICH)
    ops = tuple(
        dataclasses.replace(op, weights=Weights(data=np.asfortranarray(op.weights.data)))
        if isinstance(op, Weighted)
        else op
        for op in model.graph.ops
    )
    odd = dataclasses.replace(model, graph=dataclasses.replace(model.graph, ops=ops))
    save_model(tmp_path / "m", odd)
    assert digest(load_model(tmp_path / "m")) == digest(model) == digest(odd)


def test_digest_is_stable_and_leaves_provenance_out() -> None:
    """The golden files pin the value of one model."""
    model = quantized_model(RICH)
    assert len(digest(model)) == 64
    assert digest(model) == digest(quantized_model(RICH))
    labelled = dataclasses.replace(model, provenance=Provenance(recipe="other", seed=1))
    assert digest(labelled) == digest(model)


def changed_models(model: Model) -> dict[str, Model]:
    """Models that differ from `model` in one thing each."""
    index = next(i for i, op in enumerate(model.graph.ops) if isinstance(op, Weighted))
    op, region = model.graph.ops[index], model.regions[0]
    assert isinstance(op, Weighted)
    assert op.weights.scale is not None
    data, scale = op.weights.data.copy(), op.weights.scale.copy()
    data.reshape(-1)[0] += 1 if data.reshape(-1)[0] < 0 else -1
    scale[-1] *= 2
    table = region.tables[index]
    assert table is not None
    assert table.weight_scale is not None
    bias, factors = table.bias.astype(np.int32), table.weight_scale.copy()
    bias[0] += 1
    factors[0] *= 2

    def with_op(**fields: Any) -> Model:
        ops = list(model.graph.ops)
        ops[index] = dataclasses.replace(op, **fields)
        return dataclasses.replace(model, graph=dataclasses.replace(model.graph, ops=tuple(ops)))

    def with_table(new: Table) -> Model:
        tables = (*region.tables[:index], new, *region.tables[index + 1 :])
        first = dataclasses.replace(region, tables=tables)
        return dataclasses.replace(model, regions=(first, *model.regions[1:]))

    return {
        "name": dataclasses.replace(model, name="other"),
        "layer name": with_op(name="other"),
        "weights": with_op(weights=Weights(data=data, scale=op.weights.scale.copy())),
        "weights' width": with_op(weights=dataclasses.replace(op.weights, bits=4)),
        "weights' scale": with_op(weights=Weights(data=op.weights.data, scale=scale)),
        "bias": with_table(Table(bias=bias, weight_scale=table.weight_scale)),
        "table scale": with_table(Table(bias=table.bias, weight_scale=factors)),
        "regions": dataclasses.replace(model, regions=model.regions[1:]),
        "DP": dataclasses.replace(
            model, regions=(*model.regions[:-1], dataclasses.replace(model.regions[-1], dp=98))
        ),
    }


def test_digest_notices_every_change() -> None:
    model = quantized_model(RICH)
    assert len(model.regions) > 1
    digests = {what: digest(other) for what, other in changed_models(model).items()}
    assert digest(model) not in digests.values()
    assert len(set(digests.values())) == len(digests)


def test_truncated_files(tmp_path: Path, content: bytes) -> None:
    for length in (0, 1, 7, 8, 9, 100, len(content) // 2, len(content) - 1):
        assert "truncated or damaged" in refused(tmp_path / "m", content[:length])


@pytest.mark.parametrize(
    "garbage",
    [b"PK\x03\x04" * 50, b"\xff" * 64, b"\x80\x02}q\x00.", b"{}" * 20, bytes(4096)],
    ids=["zip", "ones", "pickle", "json", "zeros"],
)
def test_other_files(tmp_path: Path, garbage: bytes) -> None:
    refused(tmp_path / "m", garbage)


def test_deeply_nested_header(tmp_path: Path) -> None:
    text = b'{"__metadata__":' + b"[" * 100_000
    refused(tmp_path / "m", len(text).to_bytes(8, "little") + text)
    assert read_schema("[" * 100_000) == ""


def test_missing_file_folder_and_too_large_file(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(GraphError, match=f"cannot read {path}"):
            load_model(path)
    with (tmp_path / "large").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(GraphError, match="is larger than 256 MiB"):
        load_model(tmp_path / "large")


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="cannot write"):
        save_model(tmp_path / "file" / "m", quantized_model(RICH))


@pytest.mark.parametrize(
    "metadata",
    [None, {}, {METADATA_KEY: ""}, {METADATA_KEY: "null"}, {METADATA_KEY: "[1]"}, {"other": "x"}],
)
def test_no_data_of_ours(tmp_path: Path, content: bytes, metadata: Any) -> None:
    header, data = split(content)
    message = refused(tmp_path / "m", join({**header, "__metadata__": metadata}, data))
    assert "holds no tesla-embed data, not a model; not ours" in message


def test_wrong_schema_and_checkpoint(tmp_path: Path, content: bytes) -> None:
    described = description(content)
    assert described["schema"] == SCHEMA
    message = refused(tmp_path / "m", with_description(content, {**described, "schema": "x/2"}))
    assert "holds x/2, not a model; not ours" in message
    checkpoint = with_description(content, {"schema": "tesla-embed/checkpoint/1"})
    assert "run `tesla-embed quantize` on it first" in refused(tmp_path / "m", checkpoint)


def test_missing_and_extra_tensors(tmp_path: Path, content: bytes) -> None:
    header, data = split(content)
    names = [name for name in header if name != "__metadata__"]
    assert len(names) > 10
    for name in names:
        renamed = {("extra" if key == name else key): value for key, value in header.items()}
        message = refused(tmp_path / "m", join(renamed, data))
        assert name.removesuffix(".weight_scale") in message or "extra" in message


def test_wrong_dtypes(tmp_path: Path, content: bytes) -> None:
    header, data = split(content)
    swaps = {"I8": ["U8", "BOOL", "F8_E4M3"], "I32": ["F32", "U32"], "F64": ["I64", "U64"]}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        for dtype in swaps[entry["dtype"]]:
            changed = {**header, name: {**entry, "dtype": dtype}}
            refused(tmp_path / "m", join(changed, data))


@fuzz
@given(st.data())
def test_damaged_bytes(tmp_path: Path, content: bytes, data: st.DataObject) -> None:
    damaged = bytearray(content)
    header = 8 + int.from_bytes(content[:8], "little")
    places = st.one_of(st.integers(0, header - 1), st.integers(0, len(content) - 1))
    for place in data.draw(st.lists(places, min_size=1, max_size=3)):
        damaged[place] = data.draw(
            st.one_of(st.integers(0, 255), st.sampled_from(b'0123456789-.eE"[]{},:\\ntf'))
        )
    survives(tmp_path / "m", bytes(damaged))


@fuzz
@given(st.binary(max_size=200), st.integers(0, 300))
def test_random_bytes_behind_a_length(tmp_path: Path, tail: bytes, length: int) -> None:
    survives(tmp_path / "m", length.to_bytes(8, "little") + tail)


HOSTILE: list[Any] = [
    None, True, -1, 0, 1, 255, 256, 65536, 2**31, 2**63, 10**30, 0.5, -0.5, 1e-45, 1e38, 1e300,
    float("inf"), float("-inf"), float("nan"), "", "x", "a.b", "conv0", "input", "\x00", "é" * 70,
    [], {}, [[]], [1, 2, 3], {"height": 1}, "relu7", "FullyConnected", "MaxPool2D", "Reshape",
]  # fmt: skip


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to every value of a JSON document, containers included."""
    found = [path] if path else []
    if isinstance(value, dict | list):
        for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
            found += leaves(entry, (*path, key))
    return found


def mutate(described: dict[str, Any], rng: random.Random) -> None:
    """Replace, remove, add or repeat one value anywhere in the description."""
    *way, last = rng.choice(leaves(described["model"]))
    place = described["model"]
    for key in way:
        place = place[key]
    match rng.randrange(4):
        case 0 if isinstance(place, dict):
            del place[last]
        case 1 if isinstance(place, list):
            place.append(copy.deepcopy(place[last]))
        case 2 if isinstance(place, dict):
            place[rng.choice(["x", "weights", "scale", "kind"])] = rng.choice(HOSTILE)
        case _:
            place[last] = copy.deepcopy(rng.choice(HOSTILE))


@pytest.mark.filterwarnings("error")
def test_hostile_descriptions(tmp_path: Path, content: bytes) -> None:
    rng = random.Random(0)
    for _ in range(2000):
        described = description(content)
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            mutate(described, rng)
        survives(tmp_path / "m", with_description(content, described))


def test_unknown_operation_and_attribute(tmp_path: Path, content: bytes) -> None:
    described = description(content)
    described["model"]["ops"][0]["kind"] = "Sine"
    message = refused(tmp_path / "m", with_description(content, described))
    assert "unknown operation 'Sine'; known are Add, AveragePool2D" in message
    described = description(content)
    described["model"]["ops"][0]["colour"] = 2
    message = refused(tmp_path / "m", with_description(content, described))
    assert "has no attribute 'colour'" in message
    described = description(content)
    del described["model"]["ops"][0]["window"]
    assert "lacks an attribute" in refused(tmp_path / "m", with_description(content, described))
