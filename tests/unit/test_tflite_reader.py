"""The flatbuffer reader and the schema over it, against bytes written by hand."""

import struct

import numpy as np
import pytest

from tesla_embed.errors import GraphError, UnsupportedOp
from tesla_embed.tflite.flatbuffer import MAX_NUMBERS, MAX_TABLES, MAX_TEXT, Table, root
from tesla_embed.tflite.importer import import_tflite, model_name
from tesla_embed.tflite.schema import read


def table(*fields: bytes, places: list[int] | None = None) -> bytes:
    """A file of one table whose fields stand one after the other; offsets are the caller's."""
    size = 4 + 2 * len(fields)
    starts, position = [], 4
    for field in fields:
        starts.append(position if field else 0)
        position += len(field)
    vtable = struct.pack("<HH", size, position % 2**16)
    vtable += b"".join(struct.pack("<H", start) for start in (places or starts))
    head = struct.pack("<I", 8 + len(vtable)) + b"TEST"
    return head + vtable + struct.pack("<i", len(vtable)) + b"".join(fields)


def opened(*fields: bytes, places: list[int] | None = None) -> Table:
    return root(table(*fields, places=places), b"TEST")


def test_scalars_and_defaults() -> None:
    found = opened(struct.pack("<i", -5), struct.pack("<f", 0.5), b"", b"\xff")
    assert found.integer(0, "i") == -5
    assert found.real(1) == 0.5
    assert found.integer(2, "i", 7) == 7
    assert found.integer(3, "b") == -1
    assert found.integer(3, "B") == 255
    assert found.integer(99, "i", 3) == 3
    assert found.real(99, 1.5) == 1.5


def vector(content: bytes, count: int) -> bytes:
    """An offset to a vector right behind it."""
    return struct.pack("<II", 4, count) + content


def test_vectors_and_text() -> None:
    found = opened(vector(struct.pack("<3i", 1, -2, 3), 3))
    assert found.integers(0) == (1, -2, 3)
    assert found.array(0, "int32").tolist() == [1, -2, 3]
    assert not found.array(0, "int32").flags.writeable
    assert found.array(1, "int32").tolist() == []
    assert opened(vector(b"gr\xc3\xb6\xffe", 6)).text(0) == "grö\N{REPLACEMENT CHARACTER}e"


def test_what_is_copied_is_limited() -> None:
    long = MAX_NUMBERS + 1
    with pytest.raises(GraphError, match=f"has {long} numbers; at most {MAX_NUMBERS}"):
        opened(vector(bytes(4 * long), long)).integers(0)
    count = MAX_TABLES + 1
    with pytest.raises(GraphError, match=f"has {count} entries; at most {MAX_TABLES}"):
        opened(vector(bytes(4 * count), count)).tables(0)
    assert len(opened(vector(b"a" * 5000, 5000)).text(0)) == MAX_TEXT


@pytest.mark.parametrize(
    "field",
    [
        struct.pack("<II", 4, 2**32 - 1),
        struct.pack("<II", 4, 2**30),
        struct.pack("<II", 4, 5),
        struct.pack("<II", 2**32 - 1, 1),
        struct.pack("<I", 5),
    ],
)
def test_nothing_is_read_outside(field: bytes) -> None:
    found = opened(field)
    for read_field in (found.tables, found.text, found.integers):
        with pytest.raises(GraphError, match="the file is damaged"):
            read_field(0)


def test_wild_tables() -> None:
    for start in (2**32 - 1, 2**31, 40, 200):
        with pytest.raises(GraphError, match="damaged"):
            root(struct.pack("<I", start) + b"TEST" + bytes(32), b"TEST").integer(0, "i")
    for back in (-(2**31), 2**31 - 1, 9, -100):  # a vtable before or behind the file
        content = struct.pack("<I", 8) + b"TEST" + struct.pack("<i", back)
        with pytest.raises(GraphError, match="damaged"):
            root(content, b"TEST").integer(0, "i")
    with pytest.raises(GraphError, match="damaged"):
        opened(b"\x01", places=[65535]).integer(0, "i")


@pytest.mark.parametrize("content", [b"", b"TFL", b"\x08\0\0\0TFL2" + bytes(32), bytes(64)])
def test_other_files_are_refused(content: bytes) -> None:
    with pytest.raises(GraphError, match="does not bear TFL3"):
        read(content)


def test_an_empty_file_has_no_network() -> None:
    with pytest.raises(UnsupportedOp, match="has 0 subgraphs"):
        import_tflite(struct.pack("<I", 12) + b"TFL3" + struct.pack("<HHi", 4, 4, 4), "net")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("person_detect.tflite", "person_detect"),
        ("Micro Speech-v2.int8.tflite", "micro_speech_v2"),
        ("1d.tflite", "model_1d"),
        (".tflite", "model"),
        ("größe.tflite", "gr_e"),
        ("x" * 90 + ".tflite", "x" * 40),
    ],
)
def test_model_names(file: str, name: str) -> None:
    assert model_name(file) == name


def test_views_cost_no_copy() -> None:
    found = opened(vector(np.arange(100, dtype="<f4").tobytes(), 100))
    assert np.shares_memory(found.array(0, "float32"), np.frombuffer(found.data, np.uint8))
