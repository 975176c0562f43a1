"""Cost models of the kernels for the DSP instructions: their loops, in the order of their C."""

from tesla_codegen.cost.counts import Counts
from tesla_codegen.cost.work import Axis, Work

_STRIP_BYTES = 4096


def fully_connected(work: Work) -> Counts:
    """`tesla_fully_connected_dsp`."""
    counts = Counts(calls=1)
    groups = 1 if work.whole else work.full_source.positions
    channels = work.source.size if work.whole else work.inputs
    full = -(-(work.full_source.size if work.whole else work.full_source.channels) // 4)
    counts.more("groups", groups)
    _widen(counts, "wide", channels, groups)
    quads = -(-channels // 4)
    runs = 1 if quads == full else groups
    length = quads * groups // runs
    blocks, rest = -(-work.outputs // 4), work.outputs % 4
    counts.more("blocks", blocks)
    counts.more("runs", blocks * runs)
    counts.more("eights", blocks * runs * (length // 8))
    counts.more("quads", blocks * runs * (length % 8))
    counts.more("outputs", work.outputs)
    counts.more("last outputs", rest)
    return counts


def _widen(counts: Counts, name: str, channels: int, times: int) -> None:
    """`tesla_widen`, or `tesla_widen_two` of pixels: quads, then the one that is not whole."""
    counts.more(f"{name} calls", times)
    counts.loop(f"{name} quads", channels // 4, times)
    _some(counts, name, channels % 4, times)


def _some(counts: Counts, name: str, channels: int, times: int) -> None:
    """`tesla_some`: a loop over less than a quad."""
    counts.more(f"{name} some of {channels}", times * (channels > 0))


def convolution(work: Work) -> Counts:
    """`tesla_conv2d_dsp`: two pixels are gathered, then `tesla_pair_dsp` computes them."""
    counts = Counts(calls=1)
    taps = work.window.height * work.window.width
    pairs = -(-work.pixels // 2)
    counts.bytes("fills", work.inputs)
    plain = taps == 1 and _one_to_one(work)
    if plain:
        counts.more("plain pairs", pairs)
        counts.more("last alone", work.pixels % 2)
    else:
        counts.more("gathered pairs", pairs)
        counts.more("gathered pixels", work.pixels)
        counts.more("image rows", work.rows.outputs)
        counts.more("rows of taps", pairs * work.window.height)
        _beside(counts, work)
    _widen(counts, "plain" if plain else "gathered", work.inputs, pairs * taps)
    _pairs(counts, work, pairs, -(-work.inputs // 4) * taps)
    _clamp(counts, work)
    return counts


def _one_to_one(work: Work) -> bool:
    rows, columns = work.rows, work.columns
    same = work.target.shape[:2] == work.source.shape[:2]
    return rows.stride == columns.stride == 1 and same


def _beside(counts: Counts, work: Work) -> None:
    """Taps within the image, above or below it, and beside it; an odd last pixel's count twice."""
    rows, columns = work.rows, work.columns
    odd = work.pixels % 2
    last_row, last_column = rows.inside[-1], columns.inside[-1]
    total = (work.pixels + odd) * rows.taps * columns.taps
    level = rows.covered * columns.outputs * columns.taps + odd * last_row * columns.taps
    inside = rows.covered * columns.covered + odd * last_row * last_column
    counts.more("taps above", total - level)
    counts.more("taps beside", level - inside)
    counts.more("taps inside", inside)


def _pairs(counts: Counts, work: Work, pairs: int, quads: int) -> None:
    """`tesla_pair_channels` with `tesla_pair_dsp`, whose loop holds four quads."""
    blocks = _blocks(counts, work, pairs)
    counts.more("quads", blocks * quads)
    counts.more("fours of quads", blocks * -(-quads // 4))


def _blocks(counts: Counts, work: Work, pairs: int) -> int:
    """What `tesla_pair_channels` does beside the products; returns the blocks of all pairs."""
    whole, rest = divmod(work.outputs, 4)
    counts.more("pairs", pairs)
    counts.more("runs", pairs * ((whole > 0) + (rest > 0)))
    counts.more("blocks", pairs * (whole + (rest > 0)))
    counts.more("last blocks", pairs * (rest > 0))
    counts.more("last channels", pairs * rest)
    return pairs * (whole + (rest > 0))


def _clamp(counts: Counts, work: Work) -> None:
    counts.loop("clamped", work.target.size * work.clamped)


def convolution_3x3(work: Work) -> Counts:
    """`tesla_conv2d_3x3_dsp`: three rows stand in a line buffer."""
    counts = Counts(calls=1)
    quads, rest = -(-work.inputs // 4), work.inputs % 4
    columns = work.target.shape[1] + 2
    pixels = min(work.source.shape[1], columns - work.window.pad_left)
    counts.bytes("fills", quads * columns * 24)
    lines = work.target.shape[0] + 2
    inside = sum(0 <= y - work.window.pad_top < work.source.shape[0] for y in range(lines))
    counts.more("lines", lines)
    for name, times, width in (
        ("line", inside, work.inputs // 4),
        ("narrow line", inside, int(rest > 0)),
        ("line beside", lines - inside, quads),
    ):
        counts.more(f"{name} quads", times * width)
        counts.loop(f"{name} pixels", pixels, times * width)
    _some(counts, "narrow", rest, inside * pixels)
    blocks = _blocks(counts, work, work.target.shape[0] * -(-work.target.shape[1] // 2))
    counts.more("image rows", work.target.shape[0])
    counts.more("quads", blocks * quads)
    _clamp(counts, work)
    return counts


def convolution_flat(work: Work) -> Counts:
    """`tesla_conv2d_flat_dsp`: the taps of a pixel are copied one after the other."""
    counts = Counts(calls=1)
    rows, columns = work.rows, work.columns
    length = columns.taps * work.inputs
    quads = -(-rows.taps * length // 4)
    pairs = -(-work.pixels // 2)
    counts.bytes("fills", quads * 8)
    across = sum(taps == columns.taps for taps in columns.inside)
    down = sum(taps == rows.taps for taps in rows.inside)
    counts.more("pixels", work.pixels)
    counts.more("image rows", rows.outputs)
    counts.more("inner pixels", across * down)
    copied = across * down * rows.taps
    bordering = across * (rows.covered - down * rows.taps)
    counts.more("border pixels", work.pixels - across * down)
    counts.more("border rows copied", bordering)
    _copy_rows(counts, length, copied + bordering)
    outer = across * (rows.outputs * rows.taps - rows.covered)
    outer += (columns.outputs - across) * rows.outputs * rows.taps
    counts.more("border rows", outer)
    above = (columns.outputs - across) * (rows.outputs * rows.taps - rows.covered)
    above += across * (rows.outputs * rows.taps - rows.covered)
    found = rows.covered * sum(taps for taps in columns.inside if taps != columns.taps)
    counts.more("border taps above", above * columns.taps)
    counts.more("border taps inside", found)
    counts.more("border taps beside", (outer - above) * columns.taps - found)
    counts.loop("border inputs", work.inputs, found)
    counts.loop("border zeros", work.inputs, outer * columns.taps - found)
    _widen(counts, "wide", quads * 4, pairs)
    _pairs(counts, work, pairs, quads)
    counts.more("last alone", work.pixels % 2)
    _clamp(counts, work)
    return counts


def _copy_rows(counts: Counts, length: int, times: int) -> None:
    if length == 9:
        counts.more("rows of nine", times)
        return
    counts.more("copied rows", times)
    counts.more("copied words", times * (length // 4))
    counts.more("copied bytes", times * (length % 4))


def depthwise(work: Work) -> Counts:
    """`tesla_depthwise_conv2d_dsp`: four channels become planes, filtered line by line."""
    counts = Counts(calls=1)
    by_columns = work.target.shape[0] > work.target.shape[1]
    along, across = (work.rows, work.columns) if by_columns else (work.columns, work.rows)
    stride = along.stride
    strip = _strip(along, across.outputs)
    needed = ((along.outputs - 1) * stride + 5) & ~1
    groups = [4] * (work.outputs // 4) + [work.outputs % 4] * (work.outputs % 4 > 0)
    counts.more("groups", len(groups))
    for channels in groups:
        for first in range(0, across.outputs, strip):
            lines = min(strip, across.outputs - first)
            counts.more("strips", 1)
            counts.more("filters", channels)
            for line in range((lines - 1) * stride + 3):
                inside = 0 <= first * stride + line - across.pad < across.length
                _spread(counts, along, channels, needed, inside)
            _filter(counts, along, channels * lines)
    _clamp(counts, work)
    return counts


def _strip(along: Axis, lines: int) -> int:
    """Lines of outputs that are computed at a time, as the generator chooses them."""
    needed = (along.outputs - 1) * along.stride + 4
    pitch = next(pitch for pitch in (32, 64, 128) if needed <= pitch)
    room = _STRIP_BYTES // (8 * pitch)
    return min(lines, max(1, (room - 3) // along.stride + 1))


def _spread(counts: Counts, along: Axis, channels: int, needed: int, inside: bool) -> None:
    """One line of the image as lines of four planes."""
    if not inside:
        counts.more("lines beside", 1)
        counts.more("pairs beside", needed // 2)
        return
    counts.more("lines", 1)
    done, at = 0, -along.pad
    while done < needed:
        if channels == 4 and 0 <= at < along.length:
            fast = min((along.length - at) & ~1, needed - done)
            counts.more("runs of pairs", 1)
            counts.more("pairs", fast // 2)
            done, at = done + fast, at + fast
        if done < needed:
            found = sum(0 <= place < along.length for place in (at, at + 1))
            kind = "slow pairs of four" if channels == 4 else "slow pairs"
            counts.more(kind, 1)
            counts.more(f"{kind}, pixels", found)
            if channels < 4:
                _some(counts, "slow", channels, found)
            done, at = done + 2, at + 2


def _filter(counts: Counts, along: Axis, lines: int) -> None:
    if along.stride == 2:
        counts.more("strided lines", lines)
        counts.more("strided outputs", lines * along.outputs)
        return
    counts.more("filtered lines", lines)
    counts.more("fours", lines * (along.outputs // 4))
    counts.more("twos", lines * (along.outputs // 2 % 2))
    counts.more("ones", lines * (along.outputs % 2))


def max_pool(work: Work) -> Counts:
    """`tesla_max_pool2d_dsp`: windows of 2 by 2 within the image have a loop of their own."""
    counts = Counts(calls=1)
    rows, columns = work.rows, work.columns
    words, rest = divmod(work.outputs, 4)
    plain = (columns.taps, columns.stride, columns.pad) == (2, 2, 0)
    plain = plain and 2 * columns.outputs <= columns.length
    counts.more("image rows", rows.outputs)
    line = work.outputs * columns.outputs
    for y, taps in enumerate(rows.inside):
        if plain and taps == 2:
            counts.more("plain rows", 1)
            counts.more("plain pixels", columns.outputs)
            counts.loop("plain words", words, columns.outputs)
            counts.loop("plain bytes", rest, columns.outputs)
            continue
        counts.more("pixels", columns.outputs)
        counts.bytes("fills", work.outputs, columns.outputs, y * line, work.outputs)
        counts.more("rows of taps", taps * columns.outputs)
        counts.more("taps", taps * columns.covered)
        counts.loop("words", words, taps * columns.covered)
        counts.loop("bytes", rest, taps * columns.covered)
    return counts


def addition(work: Work) -> Counts:
    """`tesla_add_dsp`."""
    counts = Counts(calls=1)
    same = work.halved[0] and work.halved[1]
    fours, rest = divmod(work.target.size, 4)
    counts.more("fours of one scale" if same else "fours", fours)
    counts.more("ones of one scale" if same else "ones", rest)
    counts.more("turned", int(not work.halved[0]))
    _clamp(counts, work)
    return counts
