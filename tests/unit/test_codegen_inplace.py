"""Working in place: kernels, played step by step, never read what was overwritten."""

import dataclasses
import re
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from graphs import every_operation, quantized_model
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tesla_codegen.inplace import LEADS, lead
from tesla_codegen.kernels.portable import kernel_name
from tesla_codegen.leads import (
    first_taps,
    gathered,
    grouped,
    padding,
    pixelwise,
    rows_gathered,
    rowwise,
    strips,
    tiled,
)
from tesla_codegen.lower import lower
from tesla_embed.ir.ops import (
    Add,
    AveragePool2D,
    Concat,
    Conv2D,
    DepthwiseConv2D,
    FullyConnected,
    Logistic,
    MaxPool2D,
    Mean,
    Pad,
    Rescale,
    Softmax,
    Window,
)
from tesla_embed.ir.types import TensorType

Windowed = Conv2D | DepthwiseConv2D | MaxPool2D | AveragePool2D
quick = settings(derandomize=True, deadline=None, max_examples=300)
Steps = list[tuple[set[int], set[int]]]
"""Of each step of a kernel, the input elements that it reads, and the outputs it writes then."""


def image(height: int, width: int, channels: int) -> TensorType:
    return TensorType(shape=(height, width, channels), channels=channels)


def safe(steps: Steps, distance: int) -> bool:
    """Whether the output may begin `distance` bytes before the input."""
    overwritten: set[int] = set()
    for read, written in steps:
        if read & overwritten:
            return False
        overwritten |= {element - distance for element in written}
    return True


@st.composite
def windows(draw: st.DrawFn) -> tuple[Window, TensorType, TensorType]:
    small = st.integers(1, 3)
    sizes = ("height", "width", "stride_height", "stride_width")
    window = Window(
        **{name: draw(small) for name in sizes},
        dilation_height=draw(small),
        dilation_width=draw(small),
        **{f"pad_{side}": draw(st.integers(0, 3)) for side in ("top", "bottom", "left", "right")},
    )
    height, width = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    rows, columns = window.output_size(height, width)
    assume(rows > 0 and columns > 0)
    return window, image(height, width, draw(small)), image(rows, columns, draw(small))


def pixel_steps(window: Window, source: TensorType, target: TensorType) -> Steps:
    """Pixel after pixel: its window is read, over and over, while its channels are written."""
    height, width, channels = source.shape
    steps: Steps = []
    for y in range(target.shape[0]):
        for x in range(target.shape[1]):
            top = y * window.stride_height - window.pad_top
            left = x * window.stride_width - window.pad_left
            rows = [top + i * window.dilation_height for i in range(window.height)]
            columns = [left + j * window.dilation_width for j in range(window.width)]
            read = {
                (row * width + column) * channels + c
                for row in rows if 0 <= row < height
                for column in columns if 0 <= column < width
                for c in range(channels)
            }  # fmt: skip
            first = (y * target.shape[1] + x) * target.channels
            steps += [(read, {first + c}) for c in range(target.channels)] + [(read, set())]
    return steps


@quick
@given(windows())
def test_pixels_written_behind_their_window(case: tuple[Window, TensorType, TensorType]) -> None:
    window, source, target = case
    op = MaxPool2D(name="op", inputs=(0,), output=1, window=window)
    needed = pixelwise(op, source, target)
    steps = pixel_steps(window, source, target)
    assert safe(steps, max(needed, 0))
    assert safe(steps, max(needed, 0) + 5)
    if all(read for read, _ in steps) and needed > 0:
        assert not safe(steps, needed - 1)


def chunk_steps(pixels: Steps, channels: int, count: int, gather: bool) -> Steps:
    """`count` pixels at a time: what is read before, or while, their channels are written."""
    each = channels + 1
    chunks = [pixels[at : at + count * each] for at in range(0, len(pixels), count * each)]
    steps: Steps = []
    for chunk in chunks:
        read = set().union(*(read for read, _ in chunk))
        steps.append((read, set()))
        steps += [(set() if gather else read, written) for _, written in chunk]
        steps.append((set() if gather else read, set()))
    return steps


def row_steps(window: Window, source: TensorType, target: TensorType, count: int) -> Steps:
    """`count` pixels at a time, once the rows of the image under the last one are all read."""
    row, width, done = source.shape[1] * source.channels, target.shape[1], 0
    steps: Steps = []
    for at in range(0, target.shape[0] * width, count):
        end = min(at + count, target.shape[0] * width)
        below = (end - 1) // width * window.stride_height - window.pad_top + window.height
        below = max(min(below, source.shape[0]), done)
        steps.append((set(range(done * row, below * row)), set()))
        steps.append((set(), set(range(at * target.channels, end * target.channels))))
        done = below
    return steps


@quick
@given(windows(), st.integers(1, 5), st.booleans())
def test_pixels_written_in_groups(
    case: tuple[Window, TensorType, TensorType], count: int, gather: bool
) -> None:
    window, source, target = case
    op = MaxPool2D(name="op", inputs=(0,), output=1, window=window)
    needed = (gathered if gather else grouped)(count)(op, source, target)
    pixels = pixel_steps(window, source, target)
    steps = chunk_steps(pixels, target.channels, count, gather)
    assert safe(steps, max(needed, 0))
    assert safe(steps, max(needed, 0) + 5)
    if all(read for read, _ in pixels) and needed > 0:
        assert not safe(steps, needed - 1)


@quick
@given(windows(), st.integers(1, 9))
def test_pixels_written_behind_rows(
    case: tuple[Window, TensorType, TensorType], count: int
) -> None:
    window, source, target = case
    window = dataclasses.replace(window, dilation_height=1, dilation_width=1)
    target = image(*window.output_size(*source.shape[:2]), target.channels)
    op = MaxPool2D(name="op", inputs=(0,), output=1, window=window)
    for pixels, needed in (
        (count, rows_gathered(count)(op, source, target)),
        (target.shape[1], rowwise(op, source, target)),
    ):
        steps = row_steps(window, source, target, pixels)
        assert safe(steps, max(needed, 0))
        assert safe(steps, max(needed, 0) + 5)


@quick
@given(windows(), st.integers(1, 4))
def test_strips_of_rows(case: tuple[Window, TensorType, TensorType], lines: int) -> None:
    """One channel after the other within a strip; its rows are read before it is written."""
    window, source, target = case
    window = dataclasses.replace(window, dilation_height=1, dilation_width=1)
    channels, target = (
        source.channels,
        image(*window.output_size(*source.shape[:2]), source.channels),
    )
    op = MaxPool2D(name="op", inputs=(0,), output=1, window=window)
    needed = strips(op, source, target, lines)
    row, width = source.shape[1], target.shape[1]
    steps: Steps = []
    for first in range(0, target.shape[0], lines):
        last = min(first + lines, target.shape[0])
        top = max(first * window.stride_height - window.pad_top, 0)
        below = (last - 1) * window.stride_height - window.pad_top + window.height
        pixels = range(top * row, max(min(below, source.shape[0]), 0) * row)
        outputs = range(first * width, last * width)
        for channel in range(channels):
            steps.append(({p * channels + channel for p in pixels}, set()))
            steps.append((set(), {p * channels + channel for p in outputs}))
    assert safe(steps, max(needed, 0))
    assert safe(steps, max(needed, 0) + 5)


@quick
@given(windows(), st.integers(1, 3), st.integers(1, 4))
def test_tiles(case: tuple[Window, TensorType, TensorType], lines: int, columns: int) -> None:
    """All windows of a tile are read first; tiles at the ends overlap those before."""
    window, source, target = case
    window = dataclasses.replace(window, dilation_height=1, dilation_width=1)
    target = image(*window.output_size(*source.shape[:2]), target.channels)
    height, width = target.shape[:2]
    assume(height >= lines and width >= columns)
    op = MaxPool2D(name="op", inputs=(0,), output=1, window=window)
    pixels = pixel_steps(window, source, target)
    each = len(pixels) // (height * width)
    steps: Steps = []
    for top in range(0, height, lines):
        for left in range(0, width, columns):
            y, x = min(top, height - lines), min(left, width - columns)
            inside = [(y + i) * width + x + j for i in range(lines) for j in range(columns)]
            parts = [pixels[each * n : each * (n + 1)] for n in inside]
            steps.append((set().union(*(read for part in parts for read, _ in part)), set()))
            steps.append((set(), set().union(*(made for part in parts for _, made in part))))
    needed = tiled(lines, columns)(op, source, target)
    assert safe(steps, max(needed, 0))
    assert safe(steps, max(needed, 0) + 5)
    if needed > 0 and all(read for read, _ in steps[::2]) and (lines, columns) == (1, 1):
        assert not safe(steps, needed - 1)


@quick
@given(
    image_=st.tuples(*[st.integers(1, 4)] * 3),
    sides=st.tuples(*[st.integers(0, 3)] * 4),
)
def test_padded_rows_do_not_reach_their_source(
    image_: tuple[int, int, int], sides: tuple[int, int, int, int]
) -> None:
    top, bottom, left, right = sides
    height, width, channels = image_
    op = Pad(name="op", inputs=(0,), output=1, top=top, bottom=bottom, left=left, right=right)
    target = image(height + top + bottom, width + left + right, channels)
    needed = padding(op, image(*image_), target)
    row, padded = width * channels, target.shape[1] * channels
    steps: Steps = [(set(), set(range(top * padded)))]
    for y in range(height):
        first = (top + y) * padded
        read = set(range(y * row, (y + 1) * row))
        steps.append((set(), set(range(first, first + left * channels))))
        copied = set(range(first + left * channels, first + left * channels + row))
        assert not {element - needed for element in copied} & read  # memcpy forbids it
        steps.append((read, copied))
        steps.append((set(), set(range(first + left * channels + row, first + padded))))
    assert safe(steps, needed)


@pytest.mark.parametrize(
    ("stride", "pad", "apart", "expected"),
    [(1, 0, 1, [0, 1, 2]), (1, 1, 1, [0, 0, 1]), (2, 1, 1, [0, 1, 3]), (1, 3, 2, [1, 0, 1])],
)
def test_first_taps(stride: int, pad: int, apart: int, expected: list[int]) -> None:
    assert first_taps(3, 9, stride, pad, apart).tolist() == expected


APART = {
    "tesla_concat_s8",
    "tesla_depthwise_conv2d_3x3_helium",
    "tesla_depthwise_conv2d_helium",
    "tesla_fully_connected_helium",
    "tesla_fully_connected_parts_s8",
    "tesla_fully_connected_s4",
    "tesla_fully_connected_s8",
}
"""Kernels whose output shares nothing with an input, unless they work in place."""


def test_every_kernel_has_its_contract() -> None:
    headers = Path(str(files("tesla_firmware"))).glob("include/tesla/kernels*.h")
    texts = [header.read_text() for header in headers]
    declared = {name for text in texts for name in re.findall(r"^void (\w+)\(", text, re.MULTILINE)}
    assert LEADS.keys() | APART == declared
    assert not LEADS.keys() & APART
    model = every_operation()
    for op in model.graph.ops:
        if isinstance(op, Add | Rescale | Logistic | Softmax | Mean):
            assert lead(model, op, kernel_name(model, op)) == 0
        if isinstance(op, Concat | FullyConnected):
            assert lead(model, op, kernel_name(model, op)) is None


def test_the_lead_is_that_of_the_region_that_needs_most() -> None:
    model = every_operation()
    alone = [
        dataclasses.replace(model, regions=(region,), name=f"r{region.dp}")
        for region in model.regions
    ]
    windowed = [op for op in model.graph.ops if isinstance(op, Windowed)]
    kernels = [kernel_name(model, op) for op in windowed]
    pairs = list(zip(windowed, kernels, strict=True))
    found = [[lead(one, *pair) for one in alone] for pair in pairs]
    assert [lead(model, *pair) for pair in pairs] == [max(v or 0 for v in row) for row in found]
    assert any(len(set(row)) > 1 for row in found)


def test_random_graphs_are_planned_in_place() -> None:
    """So that the exact tests of the generated C, layer by layer, are tests of this."""
    models = [quantized_model(seed) for seed in range(60)]
    plans = [lower(model).plan for model in models]
    tight = overlapping = 0
    for plan in plans:
        offsets = {b.name: (at, b.size) for b, at in zip(plan.buffers, plan.offsets, strict=True)}
        for entry in plan.shared:
            (output, size), (source, _) = offsets[entry.output], offsets[entry.input]
            overlapping += output <= source < output + size
            tight += source - output == -(-entry.lead // 8) * 8
    assert overlapping > 30
    assert tight > 20
    assert np.mean([plan.arena_bytes / max(plan.bound_bytes, 1) for plan in plans]) < 1.001
