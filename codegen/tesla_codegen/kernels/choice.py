"""Which kernel computes each operation of a model on an instruction set.

In: a verified integer model. Out: a `Variant` for every operation that runs code. Nothing is
refused: an operation that a fast kernel cannot compute exactly gets the portable one.
"""

from typing import assert_never

from tesla_codegen.kernels.dsp import dsp_variant
from tesla_codegen.kernels.helium import helium_variant
from tesla_codegen.kernels.portable import portable_variant
from tesla_codegen.kernels.variant import Cuts, Isa, Optimize, Variant
from tesla_embed.ir.graph import Model
from tesla_embed.ir.ops import Reshape
from tesla_embed.ir.specialize import specialize


def choose(model: Model, isa: Isa, optimize: Optimize) -> tuple[Variant | None, ...]:
    """A variant for each operation of the graph, in order; `None` for reshapes, which run none."""
    portable = isa is Isa.PORTABLE
    cuts = () if portable else tuple(specialize(model, region) for region in model.regions)
    return tuple(
        None if isinstance(op, Reshape) else _choose(model, cuts, index, isa, optimize)
        for index, op in enumerate(model.graph.ops)
    )


def _choose(model: Model, cuts: Cuts, index: int, isa: Isa, optimize: Optimize) -> Variant:
    match isa:
        case Isa.PORTABLE:
            fast = None
        case Isa.DSP:
            fast = dsp_variant(model, cuts, index, optimize)
        case Isa.HELIUM:
            fast = helium_variant(model, cuts, index)
        case _:
            assert_never(isa)
    return fast or portable_variant(model, model.graph.ops[index])
