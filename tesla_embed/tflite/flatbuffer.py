"""A reader of flatbuffers that trusts nothing.

In: bytes. Out: tables, whose fields are scalars, strings, arrays and further tables. Every offset
is checked against the buffer before it is followed, and every length before anything of that size
is made. The entries of a hostile file may all point to the same bytes; therefore arrays are views,
and what has to be copied is limited in number and length, so that a small file costs little.
Refuses, with `GraphError`, whatever points outside. The layout is that of FlatBuffers' "internals"
documentation.
"""

import struct
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tesla_embed.errors import GraphError

MAX_TABLES = 2**12
"""Most entries of a vector of tables; beyond any network for a microcontroller."""
MAX_NUMBERS = 64
"""Most numbers that are read one by one: dimensions, and the ends of an operator."""
MAX_TEXT = 2**10
"""Longest text, in bytes; the rest is left out."""

_DTYPES: dict[str, np.dtype[np.generic]] = {
    "int8": np.dtype("<i1"),
    "uint8": np.dtype("<u1"),
    "int32": np.dtype("<i4"),
    "int64": np.dtype("<i8"),
    "float32": np.dtype("<f4"),
}
_OFFSET = 4
"""Bytes of an offset, and of a length."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table at byte `position` of `data`. Fields are numbered from 0, as in the schema."""

    data: bytes = field(repr=False)
    position: int

    def integer(self, field: int, kind: str, default: int = 0) -> int:
        """A scalar of `kind`: b, B, h, H, i, I, q or Q, as in `struct`."""
        place = self._place(field)
        return default if place is None else int(_unpack(self.data, place, kind))

    def real(self, field: int, default: float = 0.0) -> float:
        """A float32 scalar."""
        place = self._place(field)
        return default if place is None else _unpack(self.data, place, "f")

    def table(self, field: int) -> "Table | None":
        """A table, `None` where there is none."""
        place = self._place(field)
        return None if place is None else _table(self.data, _follow(self.data, place))

    def tables(self, field: int) -> "tuple[Table, ...]":
        """A vector of tables."""
        start, count = self._vector(field, _OFFSET)
        if count > MAX_TABLES:
            raise GraphError(f"a vector has {count} entries; at most {MAX_TABLES} are read")
        places = range(start, start + count * _OFFSET, _OFFSET)
        return tuple(_table(self.data, _follow(self.data, place)) for place in places)

    def array(self, field: int, dtype: str) -> npt.NDArray[np.generic]:
        """A vector of numbers as a read-only view, empty where there is none."""
        kind = _DTYPES[dtype]
        start, count = self._vector(field, kind.itemsize)
        return np.frombuffer(self.data, kind, count, start) if count else np.empty(0, kind)

    def integers(self, field: int, dtype: str = "int32") -> tuple[int, ...]:
        """A short vector of integers."""
        numbers = self.array(field, dtype)
        if len(numbers) > MAX_NUMBERS:
            raise GraphError(f"a list has {len(numbers)} numbers; at most {MAX_NUMBERS} are read")
        return tuple(int(number) for number in numbers)

    def text(self, field: int) -> str:
        """A string; bytes that are no UTF-8 are replaced."""
        return self.array(field, "uint8")[:MAX_TEXT].tobytes().decode(errors="replace")

    def _vector(self, field: int, size: int) -> tuple[int, int]:
        """Start and number of the entries, of `size` bytes each, all inside the buffer."""
        place = self._place(field)
        if place is None:
            return 0, 0
        start = _follow(self.data, place)
        count = int(_unpack(self.data, start, "I"))
        if start + _OFFSET + count * size > len(self.data):
            raise GraphError(
                f"a vector at byte {start} reaches beyond the end; the file is damaged"
            )
        return start + _OFFSET, count

    def _place(self, field: int) -> int | None:
        """Where a field's value stands, `None` for the default."""
        vtable = self.position - int(_unpack(self.data, self.position, "i"))
        size = int(_unpack(self.data, vtable, "H"))
        entry = 4 + 2 * field
        if entry + 2 > size:
            return None
        offset = int(_unpack(self.data, vtable + entry, "H"))
        return self.position + offset if offset else None


def root(data: bytes, identifier: bytes) -> Table:
    """The root table of a file that bears `identifier`. Raises `GraphError`."""
    if data[4:8] != identifier:
        raise GraphError(
            f"the file does not bear {identifier.decode()} at byte 4, so it is no .tflite; check "
            "the path, or convert the network with TensorFlow Lite first"
        )
    return _table(data, _follow(data, 0))


def _table(data: bytes, position: int) -> Table:
    _unpack(data, position, "i")
    return Table(data, position)


def _follow(data: bytes, place: int) -> int:
    return place + int(_unpack(data, place, "I"))


def _unpack(data: bytes, place: int, kind: str) -> float:
    if not 0 <= place <= len(data) - struct.calcsize(f"<{kind}"):
        raise GraphError(f"an offset points to byte {place} of {len(data)}; the file is damaged")
    value: float = struct.unpack_from(f"<{kind}", data, place)[0]
    return value
