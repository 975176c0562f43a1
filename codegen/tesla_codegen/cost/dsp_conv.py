"""Cost models of the convolutions for the DSP instructions: their loops, as in C."""

from collections.abc import Iterator

from tesla_codegen.cost.counts import Counts
from tesla_codegen.cost.dsp import clamp, some, widen
from tesla_codegen.cost.work import Work

_PLAIN_SHIFT = 15
"""The largest shift to the right that needs no shift before the scale."""


def convolution_1x1(work: Work) -> Counts:
    """`tesla_conv2d_1x1_dsp`: two pixels are widened, then `tesla_pair_dsp` computes them."""
    counts = Counts(calls=1)
    rows, columns = work.rows, work.columns
    pairs = -(-work.pixels // 2)
    whole = columns.stride * columns.outputs == rows.stride * columns.length
    counts.more("image rows", 1 if whole else rows.outputs)
    counts.more("pixels", work.pixels)
    counts.more("last alone", work.pixels % 2)
    widen(counts, "wide", work.inputs, pairs)
    _pairs(counts, work, pairs, -(-work.inputs // 4))
    clamp(counts, work)
    return counts


def convolution(work: Work) -> Counts:
    """`tesla_conv2d_dsp`: two pixels are gathered, both inside the image or not."""
    counts = Counts(calls=1)
    taps = work.window.height * work.window.width
    counts.more("bytes filled", work.inputs)
    counts.more("image rows", work.rows.outputs)
    counts.more("last alone", work.pixels % 2)
    inner, border = _paired(work)
    counts.more("pairs across rows", work.rows.outputs // 2 * (work.columns.outputs % 2))
    _gathered(counts, work, inner)
    _bordering(counts, work, border)
    _pairs(counts, work, inner + len(border), -(-work.inputs // 4) * taps)
    clamp(counts, work)
    return counts


def _paired(work: Work) -> tuple[int, list[tuple[int, int]]]:
    """How many pairs lie in the image, and the pixels of the others."""
    down, right = (
        [taps == axis.taps for taps in axis.inside] for axis in (work.rows, work.columns)
    )
    inside = [row and column for row in down for column in right]
    inside += inside[-1:] * (len(inside) % 2)  # the last of an odd number is computed twice
    pairs = [
        (at, min(at + 1, work.pixels - 1))
        for at in range(0, len(inside), 2)
        if not (inside[at] and inside[at + 1])
    ]
    return len(inside) // 2 - len(pairs), pairs


def _gathered(counts: Counts, work: Work, pairs: int) -> None:
    """`gather_threes` or `gather_any` of two pixels whose taps lie in the image."""
    window, quads = work.window, work.inputs // 4
    counts.more("inner pairs", pairs)
    if window.width == 3 and work.inputs % 4 == 0:
        counts.more("inner pairs of threes", pairs)
        counts.more("inner threes", pairs * window.height)
        counts.more("inner quads of threes", pairs * window.height * quads)
        return
    counts.more("inner rows", pairs * window.height)
    widen(counts, "inner", work.inputs, pairs * window.height * window.width)


def _bordering(counts: Counts, work: Work, pairs: list[tuple[int, int]]) -> None:
    """`gather_border`: taps are found, then widened by threes and one by one."""
    threes, rest = divmod(work.window.height * work.window.width, 3)
    if work.inputs % 4:
        threes, rest = 0, work.window.height * work.window.width
    counts.more("border pairs", len(pairs))
    counts.more("border threes", len(pairs) * threes)
    counts.loop("border quads of threes", work.inputs // 4, len(pairs) * threes)
    widen(counts, "border", work.inputs, len(pairs) * rest)
    down, right = work.rows.inside, work.columns.inside
    for pixel in (pixel for pair in pairs for pixel in pair):
        inside = down[pixel // len(right)] * right[pixel % len(right)]
        counts.more("found rows", work.rows.taps)
        counts.more("taps inside", inside)
        counts.more("taps beside", work.rows.taps * work.columns.taps - inside)


def _pairs(counts: Counts, work: Work, pairs: int, quads: int) -> None:
    """`tesla_pair_channels` with `tesla_pair_dsp`, whose loop holds four quads."""
    blocks = _blocks(counts, work, pairs, pairs)
    counts.more("quads", blocks * quads)
    counts.more("fours of quads", blocks * -(-quads // 4))


def _blocks(counts: Counts, work: Work, pairs: int, calls: int) -> int:
    """What `tesla_pair_channels` does beside the products, for so many pairs in so many calls.

    Returns the blocks of all pairs.
    """
    whole, rest = divmod(work.outputs, 4)
    blocks = pairs * (whole + (rest > 0))
    early = max(-shift for shift in work.shifts) > _PLAIN_SHIFT
    counts.more(f"last block of {rest}", 1)
    counts.more("calls of blocks", calls * (whole > 0))
    counts.more("pairs", pairs)
    counts.more("pairs of blocks", pairs * (whole > 0))
    counts.more("blocks", blocks)
    counts.more("blocks that round away", blocks * (work.away and not early))
    counts.more("blocks with a shift before", blocks * early)
    counts.more("last calls", calls * (rest > 0))
    counts.more("last blocks", pairs * (rest > 0))
    counts.more("last blocks of two", pairs * (rest > 1))
    counts.more("last blocks of three", pairs * (rest > 2))
    return blocks


def convolution_3x3(work: Work) -> Counts:
    """`tesla_conv2d_3x3_dsp`: three rows stand in a line buffer."""
    counts = Counts(calls=1)
    quads, rest = -(-work.inputs // 4), work.inputs % 4
    height, width = work.target.shape[:2]
    columns = width + 2
    pixels = min(work.source.shape[1], columns - work.window.pad_left)
    counts.more("two words cleared", quads * columns * 3)
    lines = height + 2
    inside = sum(0 <= y - work.window.pad_top < work.source.shape[0] for y in range(lines))
    counts.more("lines", inside)
    counts.more("lines beside", lines - inside)
    _moved(counts, pixels, inside * (work.inputs // 4) + (lines - inside) * quads)
    counts.more("narrow lines", inside * (rest > 0))
    counts.more("narrow pixels", inside * (rest > 0) * pixels)
    some(counts, "narrow", rest, inside * pixels)
    calls = height * (1 + width % 2)
    blocks = _blocks(counts, work, height * -(-width // 2), calls)
    counts.more("image rows", height)
    counts.more("odd rows", height * (width % 2))
    counts.more("quads", blocks * quads)
    clamp(counts, work)
    return counts


def _moved(counts: Counts, pixels: int, lines: int) -> None:
    """`next_row` of a quad of channels: single columns first, then fours."""
    counts.more("lines of quads", lines)
    counts.more("single columns", lines * (pixels % 4))
    counts.more("four columns", lines * (pixels // 4))
    counts.more("lines of four columns", lines * (pixels >= 4))


def convolution_flat(work: Work) -> Counts:
    """`tesla_conv2d_flat_dsp`: rows of taps out of padded rows of the image."""
    counts = Counts(calls=1)
    rows, columns = work.rows, work.columns
    words, over = divmod(columns.taps * work.inputs, 2)
    quads = -(-rows.taps * columns.taps * work.inputs // 4)
    pitch = -(-((columns.outputs - 1) * columns.stride + columns.taps) * work.inputs // 2)
    slots = (rows.taps - 1) * rows.dilation + 1 + rows.stride
    counts.more("two words cleared", (quads * 4 + slots * pitch) // 2)
    counts.more("words cleared", (quads * 4 + slots * pitch) % 2)
    _loaded(counts, work, slots, 2 * pitch)
    pairs = -(-work.pixels // 2)
    odd = columns.outputs % 2
    across = rows.outputs // 2 * odd + work.pixels % 2
    counts.more("image rows", rows.outputs)
    counts.more("pairs across rows", across)
    counts.more("last alone", work.pixels % 2)
    kind = "any"
    if (words, over, rows.taps) == (4, 1, 3):
        kind = "nine"
    elif (words, over) == (2, 0):
        kind = "four"
    counts.more(f"pairs of {kind}", pairs - across)
    if kind == "four":
        counts.loop("rows of four", rows.taps, pairs)
    counts.more("wraps", sum(_wraps(work, slots)) * columns.outputs)
    times = {"any": pairs, "nine": across, "four": 0}[kind]
    counts.more("rows of taps", times * rows.taps)
    counts.loop("words", words, times * rows.taps)
    counts.more("inputs over", over * times * rows.taps)
    _pairs(counts, work, pairs, quads)
    clamp(counts, work)
    return counts


def _loaded(counts: Counts, work: Work, slots: int, pitch: int) -> None:
    """`tesla_lines_load`: padded rows of the image, each once."""
    rows, window = work.rows, work.window
    room = pitch - window.pad_left * work.inputs
    size = min(work.source.shape[1] * work.inputs, room)
    loaded = (rows.outputs - 1) * rows.stride + slots - rows.stride
    for row in range(loaded):
        if 0 <= row - rows.pad < rows.length:
            counts.more("rows widened", 1)
            counts.more("quads widened", size // 4)
            counts.more("inputs widened", size % 4)
        else:
            counts.more("rows cleared", 1)
            counts.more("two words cleared", pitch // 4)
            counts.more("words cleared", pitch // 2 % 2)


def _wraps(work: Work, slots: int) -> Iterator[int]:
    """Of each row of outputs, how often a row of taps follows around the end of the slots."""
    rows = work.rows
    for out in range(rows.outputs):
        first = out * rows.stride % slots
        yield (first + rows.taps * rows.dilation) // slots


def convolution_winograd(work: Work) -> Counts:
    """`tesla_conv2d_winograd_dsp`: two tiles of 2 by 2 outputs at a time."""
    counts = Counts(calls=1)
    quads, some_inputs = divmod(work.inputs, 4)
    all_quads = quads + (some_inputs > 0)
    counts.bytes("fills", work.inputs)
    height, width = work.target.shape[:2]
    for row in range(0, height, 2):
        top = min(row, height - 2) - work.window.pad_top
        inside = [0 <= top + i < work.source.shape[0] for i in range(4)]
        counts.more("bands", 1)
        for start in range(0, width, 4):
            left = min(start, width - 4)
            at = left - work.window.pad_left
            counts.more("tiles", 1)
            if start == 0 or left != start:
                counts.more("tiles begun", 1)
                _set_columns(counts, work, inside, at, 2)
                counts.more("rows kept", 4 * all_quads)
            _set_columns(counts, work, inside, at + 2, 4)
            counts.more("quads of tiles", all_quads)
    tiles = -(-height // 2) * -(-width // 4)
    whole, rest = divmod(work.outputs, 4)
    blocks = tiles * (whole + (rest > 0))
    counts.more("runs of blocks", tiles * (whole > 0))
    counts.more("blocks", blocks)
    counts.more("quads", blocks * all_quads)
    counts.more("blocks of many quads", blocks * (all_quads > 8))
    counts.more("eights of quads", blocks * -(-all_quads // 8) * (all_quads > 8))
    counts.more("last blocks", tiles * (rest > 0))
    counts.more("last channels", tiles * rest)
    clamp(counts, work)
    return counts


def _set_columns(counts: Counts, work: Work, inside: list[bool], at: int, count: int) -> None:
    """`set_columns`: together where all of them are there, else one by one."""
    quads, rest = divmod(work.inputs, 4)
    width = work.source.shape[1]
    counts.more("sets of columns", 1)
    if all(inside) and rest == 0 and at >= 0 and at + count <= width:
        counts.more("sets together", 1)
        counts.more("columns together", count)
        counts.more("quads of columns", count * quads)
        return
    there = sum(0 <= at + i < width for i in range(count))
    counts.more("columns", count)
    counts.more("columns inside", there)
    counts.more("pixels inside", there * sum(inside))
    counts.more("columns of quads", count * (quads > 0))
    counts.more("quads of columns", count * quads)
    counts.more("narrow columns", count * (rest > 0))
    some(counts, "narrow", rest, count * 4)
