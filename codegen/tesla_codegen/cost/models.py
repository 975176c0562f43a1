"""Which cost model each kernel has.

Every kernel of `tesla/kernels*.h` needs one; a test compares. A new kernel gets a function beside
the others and a line here; its coefficients are measured by `tesla-embed bench fit`.
"""

import re
from collections.abc import Callable

from tesla_codegen.cost import dsp, dsp_conv, helium, portable
from tesla_codegen.cost.counts import Counts
from tesla_codegen.cost.work import Work, work_of
from tesla_codegen.kernels.variant import Variant
from tesla_codegen.tables import TablePool
from tesla_embed.errors import CodegenError
from tesla_embed.ir.graph import Model, Region
from tesla_embed.ir.specialize import specialize

CostModel = Callable[[Work], Counts]

MODELS: dict[str, CostModel] = {
    "tesla_fully_connected_s8": portable.fully_connected,
    "tesla_conv2d_s8": portable.convolution,
    "tesla_depthwise_conv2d_s8": portable.depthwise,
    "tesla_fully_connected_s4": portable.fully_connected_s4,
    "tesla_conv2d_s4": portable.convolution_s4,
    "tesla_depthwise_conv2d_s4": portable.depthwise_s4,
    "tesla_fully_connected_parts_s8": portable.fully_connected_parts,
    "tesla_conv2d_parts_s8": portable.convolution_parts,
    "tesla_depthwise_conv2d_parts_s8": portable.depthwise,
    "tesla_add_s8": portable.addition,
    "tesla_max_pool2d_s8": portable.pool,
    "tesla_average_pool2d_s8": portable.pool,
    "tesla_mean_s8": portable.mean,
    "tesla_concat_s8": portable.concatenation,
    "tesla_pad_s8": portable.padding,
    "tesla_rescale_s8": portable.rescale,
    "tesla_softmax_s8": portable.softmax,
    "tesla_lookup_s8": portable.lookup,
    "tesla_fully_connected_dsp": dsp.fully_connected,
    "tesla_conv2d_dsp": dsp_conv.convolution,
    "tesla_conv2d_1x1_dsp": dsp_conv.convolution_1x1,
    "tesla_conv2d_3x3_dsp": dsp_conv.convolution_3x3,
    "tesla_conv2d_flat_dsp": dsp_conv.convolution_flat,
    "tesla_conv2d_winograd_dsp": dsp_conv.convolution_winograd,
    "tesla_depthwise_conv2d_dsp": dsp.depthwise,
    "tesla_max_pool2d_dsp": dsp.max_pool,
    "tesla_average_pool2d_dsp": dsp.average_pool,
    "tesla_mean_dsp": dsp.mean,
    "tesla_add_dsp": dsp.addition,
    "tesla_add_once_dsp": dsp.addition_once,
    "tesla_fully_connected_helium": helium.fully_connected,
    "tesla_conv2d_helium": helium.convolution,
    "tesla_conv2d_3x3_helium": helium.convolution_3x3,
    "tesla_conv2d_planes_helium": helium.convolution_planes,
    "tesla_conv2d_dense_helium": helium.convolution_dense,
    "tesla_depthwise_conv2d_helium": helium.depthwise,
    "tesla_depthwise_conv2d_3x3_helium": helium.depthwise,
    "tesla_max_pool2d_helium": helium.max_pool,
    "tesla_average_pool2d_helium": helium.average_pool,
    "tesla_mean_helium": helium.mean,
    "tesla_add_helium": helium.addition,
}
"""By the name of the C function."""
_NUMBER = re.compile(r"\.(\w+) = (\d+)")


def counts_of(model: Model, index: int, variant: Variant) -> list[Counts]:
    """What a variant of operation `index` does, region after region.

    Raises `CodegenError` for a kernel without a cost model.
    """
    if variant.kernel not in MODELS:
        raise CodegenError(f"{variant.kernel} has no cost model; see docs/estimating.md")
    found = [MODELS[variant.kernel](work) for work in work_of(model, index, _constants(variant))]
    if variant.unpack:
        for counts, region in zip(found, model.regions, strict=True):
            _count_unpacked(counts, model, region, index, variant)
    return found


def _constants(variant: Variant) -> dict[str, int]:
    """The numbers among the members of a layer in C, by name."""
    fields = variant.layer.fields if variant.layer else ()
    return {name: int(value) for name, value in _NUMBER.findall(" ".join(fields))}


def _count_unpacked(
    counts: Counts, model: Model, region: Region, index: int, variant: Variant
) -> None:
    """The channels of a compact table that are unpacked in front of a kernel, and its bytes."""
    pool = TablePool()
    variant.rows(specialize(model, region), index, pool)
    arrays, _ = pool.resolve()
    counts.more("tables unpacked", 1)
    counts.more("channels unpacked", region.types[model.graph.ops[index].output].channels)
    counts.more("bytes unpacked", sum(array.bytes for array in arrays))
