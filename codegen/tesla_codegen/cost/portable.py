"""Cost models of the portable kernels: their loops, in the order of their C."""

import math

from tesla_codegen.cost.counts import Counts
from tesla_codegen.cost.work import Work
from tesla_embed.ir.ops import Concat, Pad


def _once(work: Work) -> Counts:
    """A call, and outputs by the way that their requantisation takes."""
    counts = Counts(calls=1)
    counts.more("outputs to the right", work.pixels * sum(shift < 0 for shift in work.shifts))
    counts.more("outputs to the left", work.pixels * sum(shift > 0 for shift in work.shifts))
    return counts


def fully_connected(work: Work) -> Counts:
    """`tesla_fully_connected_s8`: blocks of four outputs, then one at a time."""
    counts = _once(work)
    groups, channels = _groups(work)
    blocks, rest = divmod(work.outputs, 4)
    counts.more("blocks", blocks)
    counts.more("dot4 calls", blocks * groups)
    counts.more("dot4 inputs", blocks * groups * channels)
    counts.loop("single outputs", rest)
    counts.loop("dot1 inputs", channels, rest * groups)
    counts.more("dot1 calls", rest * groups)
    return counts


def fully_connected_s4(work: Work) -> Counts:
    """`tesla_fully_connected_s4`: what is left of blocks of four in pairs."""
    counts = _once(work)
    groups, channels = _groups(work)
    blocks, rest = divmod(work.outputs, 4)
    counts.more("blocks", blocks)
    counts.more("dot4 calls", blocks * groups)
    counts.loop("dot4 inputs", channels, blocks * groups)
    _pairs_left(counts, rest, 1)
    counts.loop("dot2 inputs", channels, -(-rest // 2) * groups)
    counts.more("dot2 calls", -(-rest // 2) * groups)
    return counts


def _pairs_left(counts: Counts, rest: int, times: int) -> None:
    counts.more("pairs", times * -(-rest // 2))
    counts.more("outputs of pairs", times * rest)


def _groups(work: Work) -> tuple[int, int]:
    """Groups of inputs and the channels of one; at full width they are one."""
    positions = work.full_source.positions
    if work.inputs == work.full_source.channels:
        return 1, positions * work.inputs
    return positions, work.inputs


def convolution(work: Work) -> Counts:
    """`tesla_conv2d_s8`."""
    counts = _windows(work)
    blocks, rest = divmod(work.outputs, 4)
    runs = _runs(work)
    _blocks(counts, work, blocks, runs)
    counts.loop("single outputs", rest, work.pixels)
    _rows_of_runs(counts, work, "dot1", rest)
    for length, times in runs:
        counts.loop("dot1 inputs", length, rest * times)
        counts.more("dot1 calls", rest * times)
    return counts


def _rows_of_runs(counts: Counts, work: Work, name: str, filters: int) -> None:
    """Rows of taps, of which each is a loop over dot products."""
    rows = filters * work.rows.covered
    counts.more(f"{name} rows", rows * work.columns.outputs)
    if not _joined(work):
        for taps in work.columns.inside:
            counts.loop(f"{name} columns", taps, rows)


def convolution_s4(work: Work) -> Counts:
    """`tesla_conv2d_s4`."""
    counts = _windows(work)
    blocks, rest = divmod(work.outputs, 4)
    runs = _runs(work)
    _blocks(counts, work, blocks, runs)
    _pairs_left(counts, rest, work.pixels)
    pairs = -(-rest // 2)
    _rows_of_runs(counts, work, "dot2", pairs)
    for length, times in runs:
        counts.loop("dot2 inputs", length, pairs * times)
        counts.more("dot2 calls", pairs * times)
    return counts


def _windows(work: Work) -> Counts:
    counts = _once(work)
    counts.more("image rows", work.rows.outputs)
    counts.more("pixels", work.pixels)
    return counts


def _blocks(counts: Counts, work: Work, blocks: int, runs: list[tuple[int, int]]) -> None:
    """Four outputs at a time under all taps."""
    counts.more("blocks", work.pixels * blocks)
    counts.more("dot4 rows", blocks * work.rows.covered * work.columns.outputs)
    for length, times in runs:
        counts.more("dot4 calls", blocks * times)
        counts.loop("dot4 inputs", length, blocks * times)


def _runs(work: Work) -> list[tuple[int, int]]:
    """Inputs of dot products and how many there are of that length for one output channel.

    At full width a row of taps is one of them.
    """
    rows, columns = work.rows.covered, work.columns
    if _joined(work):
        return [(taps * work.inputs, rows) for taps in columns.inside]
    return [(work.inputs, rows * columns.covered)]


def _joined(work: Work) -> bool:
    return work.inputs == work.full_source.channels and work.columns.dilation == 1


def convolution_parts(work: Work) -> Counts:
    """`tesla_conv2d_parts_s8`."""
    counts = _windows(work)
    rows = work.rows.covered * work.columns.outputs
    taps = work.rows.covered * work.columns.covered
    _parts(counts, work, work.pixels, rows, taps)
    return counts


def fully_connected_parts(work: Work) -> Counts:
    """`tesla_fully_connected_parts_s8`."""
    counts = _once(work)
    groups = work.full_source.positions
    _parts(counts, work, 1, 1, groups)
    return counts


def _parts(counts: Counts, work: Work, pixels: int, rows: int, taps: int) -> None:
    """`tesla_patch_outputs` of all pixels, which have so many rows of taps and taps."""
    blocks, rest = divmod(work.outputs, 4)
    for name, times in (("4", blocks), ("1", rest)):
        counts.more(f"rounds of {name}", times * pixels)
        counts.more(f"rows of {name}", times * rows)
        counts.more(f"taps of {name}", times * taps)
        for part in work.parts:
            counts.more(f"parts of {name}", times * taps)
            counts.loop(f"inputs of {name}", part.active, times * taps)


def depthwise(work: Work) -> Counts:
    """`tesla_depthwise_conv2d_s8`, `_s4` and `_parts_s8`: one output at a time."""
    counts = _windows(work)
    counts.more("parts", work.pixels * len(work.parts))
    for part in work.parts:
        counts.loop("channels", part.active, work.pixels)
    counts.loop("filters", work.outputs // work.inputs, work.pixels * work.inputs)
    _taps(counts, work, work.outputs)
    return counts


def depthwise_s4(work: Work) -> Counts:
    """`tesla_depthwise_conv2d_s4`: the halves of a byte are read by turns."""
    counts = _windows(work)
    counts.more("channels", work.pixels * work.inputs)
    odd = work.outputs // 2
    for half, outputs in (("even ", work.outputs - odd), ("odd ", odd)):
        counts.more(f"{half}outputs", outputs * work.pixels)
        _taps(counts, work, outputs, half)
    return counts


def _taps(counts: Counts, work: Work, channels: int, which: str = "") -> None:
    """Rows of taps, and the taps of a row as an innermost loop, of every channel."""
    for rows in work.rows.inside:
        counts.loop(f"{which}rows", rows, channels * work.columns.outputs)
    for taps in work.columns.inside:
        counts.loop(f"{which}taps", taps, channels * work.rows.covered)


def pool(work: Work) -> Counts:
    """`tesla_max_pool2d_s8` and `tesla_average_pool2d_s8`."""
    counts = _windows(work)
    lone = "lone " if work.outputs == 1 else ""  # its taps lie side by side, which compilers use
    counts.loop(f"{lone}channels", work.outputs, work.pixels)
    _taps(counts, work, work.outputs, lone)
    return counts


def mean(work: Work) -> Counts:
    """`tesla_mean_s8`."""
    counts = Counts(calls=1)
    counts.more("outputs", work.outputs)
    counts.more(f"outputs{_way(work.shifts[0])}", work.outputs)
    lone = "lone " if work.outputs == 1 else ""
    counts.loop(f"{lone}pixels", work.full_source.positions, work.outputs)
    return counts


def addition(work: Work) -> Counts:
    """`tesla_add_s8`; what is not shifted takes another way."""
    counts = Counts(calls=1)
    shifted = (shift < 0 for shift in work.shifts)
    ways = zip(("first", "second", "sum"), shifted, strict=True)
    kind = ", ".join(f"{name} shifted" for name, found in ways if found)
    counts.loop("elements", work.target.size)
    counts.more(f"elements, {kind}", work.target.size)
    return counts


def rescale(work: Work) -> Counts:
    """`tesla_rescale_s8`."""
    counts = Counts(calls=1)
    counts.loop("elements", work.target.size)
    counts.more(f"elements{_way(work.shifts[0])}", work.target.size)
    return counts


def _way(shift: int) -> str:
    """Requantisations take another way by the direction of their shift."""
    return " to the right" if shift < 0 else " to the left" if shift > 0 else " not shifted"


def concatenation(work: Work) -> Counts:
    """`tesla_concat_s8`, once for each input: copied where its quantisation is the output's."""
    assert isinstance(work.op, Concat)
    counts = Counts(calls=len(work.sources))
    blocks = math.prod(work.target.shape[: work.op.axis])
    start, pitch = 0, work.target.size // blocks
    for source, shift, kept in zip(work.sources, work.shifts, work.kept, strict=True):
        size = source.size // blocks
        if kept:
            _copies(counts, size, blocks, start, pitch)
        start += size
        if kept:
            continue
        counts.loop("elements", size, blocks)
        counts.more(f"elements{_way(shift)}", size * blocks)
        counts.more("blocks", blocks)
    return counts


def padding(work: Work) -> Counts:
    """`tesla_pad_s8`."""
    op = work.op
    assert isinstance(op, Pad)
    counts = Counts(calls=1)
    height, width = work.source.shape[:2]
    left, row, right = (n * work.inputs for n in (op.left, width, op.right))
    whole = left + row + right
    start = op.top * whole
    counts.bytes("fills", start)
    counts.bytes("fills", left, height, start, whole)
    _copies(counts, row, height, start + left, whole)
    counts.bytes("fills", right, height, start + left + row, whole)
    counts.bytes("fills", op.bottom * whole, 1, start + height * whole)
    return counts


def _copies(counts: Counts, size: int, times: int, at: int, step: int) -> None:
    """Copies of parts that follow each other, to addresses `step` bytes apart.

    It matters whether both addresses are whole words, or lie in their words alike.
    """
    for turn in range(min(times, 4)):
        target, source = at + turn * step, turn * size
        alike = (target - source) % 4 == 0
        name = "turned copies" if not alike else "odd copies" if source % 4 else "copies"
        counts.bytes(name, size, len(range(turn, times, 4)), target, 4 * step)


def lookup(work: Work) -> Counts:
    """`tesla_lookup_s8`."""
    counts = Counts(calls=1)
    counts.loop("elements", work.target.size)
    return counts


def softmax(work: Work) -> Counts:
    """`tesla_softmax_s8`. How many values count at all, and in which bits, depends on the data."""
    length = work.source.shape[-1]
    rows = work.source.size // length
    counts = Counts(calls=1)
    counts.more("rows", rows)
    counts.more("values", work.source.size)
    return counts
