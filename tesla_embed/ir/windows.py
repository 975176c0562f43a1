"""Sliding windows over batches of images."""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from tesla_embed.ir.ops import Window

Element = TypeVar("Element", bound=np.generic)


def patches(x: npt.NDArray[Element], window: Window, fill: float) -> npt.NDArray[Element]:
    """What each position of the window sees: `[N, rows, columns, height, width, channels]`.

    `x` is `[N, H, W, C]`; padding is filled with `fill`.
    """
    padded = np.pad(
        x,
        (
            (0, 0),
            (window.pad_top, window.pad_bottom),
            (window.pad_left, window.pad_right),
            (0, 0),
        ),
        constant_values=fill,
    )
    view = np.lib.stride_tricks.sliding_window_view(padded, window.reach, axis=(1, 2))
    strided: npt.NDArray[Element] = view[
        :,
        :: window.stride_height,
        :: window.stride_width,
        :,
        :: window.dilation_height,
        :: window.dilation_width,
    ]
    return np.moveaxis(strided, 3, 5)


def filtered_apart(
    seen: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Depthwise sums `[..., out]` of patches `[..., height, width, in]`, weights `[out, taps]`.

    Added tap by tap: the patches overlap, and are never copied.
    """
    *positions, height, width, channels = seen.shape
    filters = weights.reshape(channels, -1, height * width)
    sums = np.zeros((*positions, *filters.shape[:2]))
    for tap, (row, column) in enumerate(np.ndindex(height, width)):
        sums += seen[..., row, column, :, None] * filters[..., tap]
    return sums.reshape(*positions, len(weights))
