"""Constant tables of a C project, each distinct content stored once.

Most of what regions bring along repeats: the biases of a first layer at 10 % DP are the leading
biases at 100 % DP. A table that is a prefix of a longer one therefore shares its storage.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from tesla_embed.ir.types import Weights

_PER_LINE = {"int8": 20, "int16": 14, "int32": 8}
CHANNEL = "tesla_channel_t"
"""The C type of a row of an int32 table `[N, 4]`."""
SCALED = "tesla_scaled_channel_t"
"""The C type of a row of an int32 table `[N, 3]`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CArray:
    """A constant C array, ready to print: element type, name, length, and lines of initialisers.

    `attribute` stands behind the length, with a space before it. `layer` is the operation that it
    was made for; of several that share it, the one with the longest table.
    """

    c_type: str
    name: str
    length: int
    lines: tuple[str, ...]
    attribute: str = ""
    layer: str = ""

    @property
    def bytes(self) -> int:
        """Bytes in flash."""
        sizes = {"int8_t": 1, "int16_t": 2, "int32_t": 4, SCALED: 12, CHANNEL: 16}
        return self.length * sizes[self.c_type]


@dataclass(frozen=True, slots=True, kw_only=True)
class Initializer:
    """A constant C object of type `c_type`; `fields` are `.name = value` texts, one per row.

    `item_bytes` is the size of a row where pointers have 32 bits, 0 for what is no array of rows.
    `layer` is the operation that it belongs to.
    """

    c_type: str
    name: str
    fields: tuple[str, ...]
    item_bytes: int = 0
    layer: str = ""


@dataclass(slots=True)
class TablePool:
    """Collects tables; tells, once all are known, which array holds each.

    `layer` is the operation for which tables are being added.
    """

    layer: str = ""
    _wanted: list[tuple[str, npt.NDArray[np.generic]]] = field(default_factory=list)
    _layers: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, values: npt.NDArray[np.generic]) -> None:
        """Ask for a table; `name` must be unique."""
        self._wanted.append((name, values))
        self._layers[name] = self.layer

    def resolve(self) -> tuple[list[CArray], dict[str, str]]:
        """The arrays to print, and for every table asked for the name of its array."""
        kept: dict[bytes, list[tuple[str, npt.NDArray[np.generic]]]] = {}
        where: dict[str, str] = {}
        for name, values in sorted(self._wanted, key=lambda entry: -len(entry[1])):
            kind = f"{values.dtype.str}{values.shape[1:]}".encode()
            alike = kept.setdefault(kind + values[:1].tobytes(), [])
            home = next((other for other, longer in alike if _starts_with(longer, values)), None)
            if home is None:
                alike.append((name, values))
            where[name] = home or name
        names = set(where.values())
        arrays = [
            replace(c_array(name, values), layer=self._layers[name])
            for name, values in self._wanted
            if name in names
        ]
        return arrays, where


def c_array(name: str, values: npt.NDArray[np.generic]) -> CArray:
    """A C array of integers: 8, 16 or 32 bits and flat, or int32 `[N, 3 or 4]` of structs."""
    if values.ndim == 2:
        rows = tuple(f"{{{', '.join(map(_literal, row))}}}," for row in values.tolist())
        c_type = SCALED if values.shape[1] == 3 else CHANNEL
        return CArray(c_type=c_type, name=name, length=len(values), lines=rows)
    flat = values.reshape(-1)
    return CArray(
        c_type=f"{flat.dtype.name}_t", name=name, length=len(flat), lines=tuple(_lines(flat))
    )


def packed(weights: Weights) -> npt.NDArray[np.generic]:
    """Integer weights as they lie in flash, flat.

    Of 4 bits, output channels 2 p and 2 p + 1 share the bytes of row p, the even one in the lower
    half: leading input channels and leading output channels are then leading bytes and rows.
    """
    rows = weights.data.reshape(len(weights.data), -1)
    if weights.bits == 8:
        return rows.reshape(-1)
    nothing = np.zeros((len(rows) % 2, rows.shape[1]), np.int8)
    pairs = np.concatenate([rows, nothing]).astype(np.int64).reshape(-1, 2, rows.shape[1])
    joined = (pairs[:, 0] & 15) | (pairs[:, 1] << 4)
    return (joined & 255).astype(np.uint8).view(np.int8).reshape(-1)


def _starts_with(longer: npt.NDArray[np.generic], values: npt.NDArray[np.generic]) -> bool:
    return bool(np.array_equal(longer[: len(values)], values))


def _lines(flat: npt.NDArray[np.generic]) -> Iterable[str]:
    texts = [_literal(value) for value in flat.tolist()]
    count = _PER_LINE[flat.dtype.name]
    for start in range(0, len(texts), count):
        yield ", ".join(texts[start : start + count]) + ","


def _literal(value: int) -> str:
    return "INT32_MIN" if value == -(2**31) else str(value)
