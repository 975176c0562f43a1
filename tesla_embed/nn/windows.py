"""Sliding windows as the intermediate representation has them, from PyTorch's options."""

from tesla_embed.ir.ops import Window
from tesla_embed.nn.layers import IncompleteConv2d
from tesla_embed.nn.steps import Pooling


def conv_window(layer: IncompleteConv2d) -> Window:
    """The window of a convolution; "same" pads the end of an even kernel by one more."""
    before = after = (0, 0)
    if layer.padding == "same":
        total = [(n - 1) * apart for n, apart in zip(layer.kernel, layer.dilation, strict=True)]
        before, after = (total[0] // 2, total[1] // 2), (-(-total[0] // 2), -(-total[1] // 2))
    elif not isinstance(layer.padding, str):
        before = after = (layer.padding[0], layer.padding[1])
    return _window(layer.kernel, layer.stride, before, after, layer.dilation)


def pool_window(pooling: Pooling, height: int, width: int) -> Window:
    """The window of a pool over images of `height` by `width` pixels."""
    if pooling.whole:
        return _window((height, width), (1, 1), (0, 0), (0, 0))
    padding = (pooling.padding[0], pooling.padding[1])
    return _window(pooling.kernel, pooling.stride, padding, padding)


def _window(
    size: tuple[int, ...],
    stride: tuple[int, ...],
    before: tuple[int, int],
    after: tuple[int, int],
    dilation: tuple[int, ...] = (1, 1),
) -> Window:
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
