"""Pictures in pixels: heat maps over images, words, tables of pictures, and PNG files.

In: NumPy arrays. Out: RGB arrays `[H, W, 3]` uint8, or the bytes of a file. Refuses, with
`ConfigError`, files that are no whole PNG or too large for a page. Source of the format: the PNG
specification, W3C, 2003.
"""

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tesla_embed.errors import ConfigError
from tesla_host.report.lettering import lettered

Floats = npt.NDArray[np.float32]
Rgb = npt.NDArray[np.uint8]

Colour = tuple[int, int, int]
GREEN, RED, WHITE, INK = (0, 130, 60), (210, 30, 30), (255, 255, 255), (40, 40, 40)
MAX_PIXELS, MAX_BYTES = 4096, 2**21
"""Limits of a picture that goes into a page: pixels along a side, and bytes of the file."""
_FRAME, _GAP, _LETTERS = 3, 5, 2
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLD_TO_HOT = np.array(
    [(30, 30, 150), (20, 120, 220), (60, 200, 140), (255, 215, 50), (255, 40, 20)], np.float32
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
    mixed: Rgb = np.clip(0.4 * grey + 0.6 * colour, 0, 255).astype(np.uint8)
    return mixed


def plain(image: Floats, zoom: int) -> Rgb:
    """An image `[H, W, C]` of values 0 to 1, three channels in colour and others in grey."""
    shown = image if image.shape[2] == 3 else image.mean(axis=2, keepdims=True).repeat(3, axis=2)
    large = shown.repeat(zoom, axis=0).repeat(zoom, axis=1)
    scaled: Rgb = np.clip(large * 255, 0, 255).astype(np.uint8)
    return scaled


def words(text: str, colour: Colour = INK) -> Rgb:
    """A word on white."""
    ink = lettered(text, _LETTERS)[..., None]
    written: Rgb = np.where(ink, np.array(colour), np.array(WHITE)).astype(np.uint8)
    return written


def stacked(pictures: Sequence[Rgb]) -> Rgb:
    """Pictures one below the other, centred on white."""
    width = max(picture.shape[1] for picture in pictures)
    height = sum(picture.shape[0] + _GAP for picture in pictures) - _GAP
    whole = np.full((height, width, 3), WHITE, np.uint8)
    top = 0
    for picture in pictures:
        left = (width - picture.shape[1]) // 2
        whole[top : top + len(picture), left : left + picture.shape[1]] = picture
        top += len(picture) + _GAP
    return whole


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


def framed(picture: Rgb, colour: Colour) -> Rgb:
    """A picture with a frame around it."""
    height, width, _ = picture.shape
    whole = np.full((height + 2 * _FRAME, width + 2 * _FRAME, 3), colour, np.uint8)
    whole[_FRAME:-_FRAME, _FRAME:-_FRAME] = picture
    return whole


def table(rows: Sequence[Sequence[Rgb]]) -> Rgb:
    """Pictures in rows and columns, centred on white; each as wide and high as it must be."""
    heights = [max(len(cell) for cell in row) for row in rows]
    widths = [max(cell.shape[1] for cell in column) for column in zip(*rows, strict=True)]
    size = [sum(sides) + 2 * _GAP * len(sides) + 2 * _GAP for sides in (heights, widths)]
    whole = np.full((*size, 3), WHITE, np.uint8)
    y = 2 * _GAP
    for row, height in zip(rows, heights, strict=True):
        x = 2 * _GAP
        for cell, width in zip(row, widths, strict=True):
            top, left = y + (height - len(cell)) // 2, x + (width - cell.shape[1]) // 2
            whole[top : top + len(cell), left : left + cell.shape[1]] = cell
            x += width + 2 * _GAP
        y += height + 2 * _GAP
    return whole


def png(picture: Rgb) -> bytes:
    """The bytes of a PNG file; equal pictures give equal bytes."""
    height, width, _ = picture.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    lines = np.concatenate([np.zeros((height, 1), np.uint8), picture.reshape(height, -1)], axis=1)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 9)), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(name, content) for name, content in chunks)


def _chunk(name: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def read_png(path: Path) -> bytes:
    """The bytes of a PNG file that may go into a page.

    Raises `ConfigError` for files that cannot be read, are no PNG or damaged, and for pictures
    beyond `MAX_PIXELS` or `MAX_BYTES`.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; check the path") from error
    if not content.startswith(_SIGNATURE):
        raise ConfigError(f"{path} is no PNG file; give the picture that tesla-embed cam wrote")
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path} has more than {MAX_BYTES} bytes; draw fewer images or regions")
    names, header = _read_chunks(content)
    if names[:1] != [b"IHDR"] or names[-1:] != [b"IEND"] or b"IDAT" not in names:
        raise ConfigError(f"{path} is truncated or damaged; draw it again")
    width, height = struct.unpack(">II", header[:8])
    if not 0 < max(width, height) <= MAX_PIXELS:
        raise ConfigError(
            f"{path} has {width} x {height} pixels, the limit is {MAX_PIXELS} either way; draw "
            "fewer images or regions"
        )
    return content


def _read_chunks(content: bytes) -> tuple[list[bytes], bytes]:
    """The names of all chunks and the content of the first; no names where one is damaged."""
    names: list[bytes] = []
    first, at = b"", len(_SIGNATURE)
    while at < len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        name, body = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        if content[at : at + 12 + length] != _chunk(name, body) or len(body) != length:
            return [], b""
        first = first if names else body
        names.append(name)
        at += 12 + length
    return names, first
