"""Sliding windows as the intermediate representation has them, from PyTorch's options.

What works along one dimension, time, becomes a window over an image of one row.
"""

from tesla_embed.ir.ops import Window
from tesla_embed.nn.layers import IncompleteConv
from tesla_embed.nn.steps import Pooling


def conv_window(layer: IncompleteConv) -> Window:
    """The window of a convolution; "same" pads the end of an even kernel by one more."""
    before = after = (0,) * len(layer.kernel)
    if layer.padding == "same":
        total = [(n - 1) * apart for n, apart in zip(layer.kernel, layer.dilation, strict=True)]
        before, after = tuple(n // 2 for n in total), tuple(-(-n // 2) for n in total)
    elif not isinstance(layer.padding, str):
        before = after = layer.padding
    return _window(layer.kernel, layer.stride, before, after, layer.dilation)


def pool_window(pooling: Pooling) -> Window:
    """The window of a pool that does not cover the whole image."""
    apart = (1,) * len(pooling.kernel)
    return _window(pooling.kernel, pooling.stride, pooling.padding, pooling.padding, apart)


def _window(
    size: tuple[int, ...],
    stride: tuple[int, ...],
    before: tuple[int, ...],
    after: tuple[int, ...],
    dilation: tuple[int, ...],
) -> Window:
    if len(size) == 1:
        size, stride, dilation = (1, *size), (1, *stride), (1, *dilation)
        before, after = (0, *before), (0, *after)
    return Window(
        height=size[0],
        width=size[1],
        stride_height=stride[0],
        stride_width=stride[1],
        dilation_height=dilation[0],
        dilation_width=dilation[1],
        pad_top=before[0],
        pad_bottom=after[0],
        pad_left=before[1],
        pad_right=after[1],
    )
