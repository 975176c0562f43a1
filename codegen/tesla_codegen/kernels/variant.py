"""How one operation is computed on an instruction set: what `choice` makes and lowering uses.

A variant holds final values only: the C function, the weights as they lie in flash, the scratch
memory it needs while it runs, and how a region's row of constants is formed.
"""

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tesla_codegen.tables import Initializer, TablePool
from tesla_embed.ir.graph import Model
from tesla_embed.ir.parts import Parts


class Isa(enum.StrEnum):
    """Instruction sets that have kernels of their own.

    `PORTABLE` is plain C99 for any machine, `DSP` the 16-bit SIMD of Armv7E-M and Armv8-M
    Mainline with the DSP extension (Cortex-M4, M7, M33). Code for `DSP` compiles for every machine:
    where the instructions are missing, plain C takes the place of assembly. `HELIUM` is the vector
    extension of Armv8.1-M (Cortex-M55 and M85); the same holds for it.
    """

    PORTABLE = "portable"
    DSP = "dsp"
    HELIUM = "helium"


class Optimize(enum.StrEnum):
    """What flash may be spent on.

    `BALANCED` takes the fastest kernels that read weights of one byte each, `SIZE` as few different
    kernels as possible. `SPEED` also keeps tables in flash as kernels read them, and permits
    layouts of several bytes a weight, where they bring enough: of `DSP`, transformed filters of
    3 by 3 taps.
    """

    SPEED = "speed"
    BALANCED = "balanced"
    SIZE = "size"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A C type that holds what a region changes for one operation.

    `array` ends the name of the array of rows, `bytes` is the size of a row where pointers have 32
    bits. `size` is the C expression of the active output elements, of a `{row}` and the output's
    `{positions}`. Kernels take a number `by_value`, a struct by its address.
    """

    c_type: str
    bytes: int
    size: str
    array: str = "regions"
    by_value: bool = False


Cuts = Sequence[Model]
"""The dense model of each region of a model, in their order: made once for all operations, as each
is a copy of the region's weights."""

RowMaker = Callable[[Model, int, TablePool], list[tuple[str, ...]]]
"""From a region's dense model and the index of an operation to the rows of that region.

Each row is the members of its C type, in order; tables by the names asked of the pool.
"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Variant:
    """One operation on one instruction set.

    `kernel` is the C function and the stem of its file, `helpers` the stems of other files that it
    calls into. Its arguments, in this order, as far as they exist: the address of `layer`, a row,
    `parts` and their count, the inputs, the weights, `scratch_bytes` of memory that is aligned as
    the arena is and keeps nothing between two calls, and the output. `aligned` weights begin at a
    multiple of 8 bytes where kernels of the instruction set run. A function that `unpack` names
    makes the row out of the address of the one in flash and of `unpacked_bytes` of such memory.
    """

    kernel: str
    row: Row
    rows: RowMaker
    helpers: tuple[str, ...] = ()
    layer: Initializer | None = None
    weights: npt.NDArray[np.generic] | None = None
    aligned: bool = False
    parts: tuple[Parts, ...] = ()
    scratch_bytes: int = 0
    unpack: str = ""
    unpacked_bytes: int = 0
