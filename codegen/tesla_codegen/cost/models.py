"""Which cost model each kernel has.

Every kernel of `tesla/kernels.h` needs one; a test compares. A new kernel gets a function beside
the others and a line here; its coefficients are measured by `tesla-embed bench fit`.
"""

from collections.abc import Callable

from tesla_codegen.cost import dsp, helium, portable
from tesla_codegen.cost.counts import Counts
from tesla_codegen.cost.work import Work, work_of
from tesla_embed.errors import CodegenError
from tesla_embed.ir.graph import Model

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
    "tesla_conv2d_dsp": dsp.convolution,
    "tesla_conv2d_3x3_dsp": dsp.convolution_3x3,
    "tesla_conv2d_flat_dsp": dsp.convolution_flat,
    "tesla_depthwise_conv2d_dsp": dsp.depthwise,
    "tesla_max_pool2d_dsp": dsp.max_pool,
    "tesla_add_dsp": dsp.addition,
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


def counts_of(model: Model, index: int, kernel: str) -> list[Counts]:
    """What `kernel` does for operation `index`, region after region.

    Raises `CodegenError` for a kernel without a cost model.
    """
    if kernel not in MODELS:
        raise CodegenError(f"{kernel} has no cost model; see docs/adding-an-operation.md")
    return [MODELS[kernel](work) for work in work_of(model, index)]
