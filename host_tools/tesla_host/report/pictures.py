"""Pictures in pixels: heat maps over images, in a grid with coloured frames, as PNG.

In: NumPy arrays. Out: RGB arrays `[H, W, 3]` uint8, or the bytes of a file. Source of the format:
the PNG specification, W3C, 2003.
"""

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Rgb = npt.NDArray[np.uint8]

GREEN, RED, WHITE = (0, 150, 60), (210, 30, 30), (255, 255, 255)
_FRAME, _GAP = 3, 4
_COLD_TO_HOT = np.array(
    [(48, 18, 130), (40, 120, 220), (60, 200, 140), (250, 210, 60), (190, 20, 30)], np.float32
)


def overlay(image: Floats, heat: Floats, zoom: int) -> Rgb:
    """A heat map `[h, w]` over an image `[H, W, C]` of values 0 to 1, `zoom` pixels to one.

    Heat counts from nothing (cold, and everything negative) to its largest value (hot).
    """
    height, width = image.shape[0] * zoom, image.shape[1] * zoom
    largest = float(heat.max())
    share = np.maximum(heat, 0) / largest if largest > 0 else np.zeros_like(heat)
    position = _resize(share, height, width) * (len(_COLD_TO_HOT) - 1)
    low = np.minimum(position.astype(np.int64), len(_COLD_TO_HOT) - 2)
    rest = (position - low)[..., None]
    colour = _COLD_TO_HOT[low] * (1 - rest) + _COLD_TO_HOT[low + 1] * rest
    grey = image.mean(axis=2).repeat(zoom, axis=0).repeat(zoom, axis=1)[..., None] * 255
    mixed: Rgb = np.clip(0.5 * grey + 0.5 * colour, 0, 255).astype(np.uint8)
    return mixed


def _resize(
    values: npt.NDArray[np.floating[Any]], height: int, width: int
) -> npt.NDArray[np.float64]:
    """Linear interpolation between the centres of pixels."""
    rows = np.clip((np.arange(height) + 0.5) * len(values) / height - 0.5, 0, len(values) - 1)
    count = values.shape[1]
    columns = np.clip((np.arange(width) + 0.5) * count / width - 0.5, 0, count - 1)
    across = np.stack([np.interp(columns, np.arange(count), row) for row in values])
    return np.stack(
        [np.interp(rows, np.arange(len(values)), column) for column in across.T], axis=1
    )


def framed(picture: Rgb, colour: tuple[int, int, int]) -> Rgb:
    """A picture with a frame around it."""
    height, width, _ = picture.shape
    whole = np.full((height + 2 * _FRAME, width + 2 * _FRAME, 3), colour, np.uint8)
    whole[_FRAME:-_FRAME, _FRAME:-_FRAME] = picture
    return whole


def grid(rows: Sequence[Sequence[Rgb]]) -> Rgb:
    """Pictures of one size in rows and columns, on white."""
    height, width, _ = rows[0][0].shape
    step_y, step_x = height + _GAP, width + _GAP
    size = (len(rows) * step_y + _GAP, len(rows[0]) * step_x + _GAP, 3)
    whole = np.full(size, WHITE, np.uint8)
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            top, left = _GAP + y * step_y, _GAP + x * step_x
            whole[top : top + height, left : left + width] = picture
    return whole


def png(picture: Rgb) -> bytes:
    """The bytes of a PNG file; equal pictures give equal bytes."""
    height, width, _ = picture.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    lines = np.concatenate([np.zeros((height, 1), np.uint8), picture.reshape(height, -1)], axis=1)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, content) for name, content in chunks)


def _chunk(name: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )
