"""Cost models of the kernels for the DSP instructions but convolutions: their loops, as in C."""

from tesla_codegen.cost.counts import Counts
from tesla_codegen.cost.work import Axis, Work


def fully_connected(work: Work) -> Counts:
    """`tesla_fully_connected_dsp`: blocks of four rows of weights, the last ones may be two."""
    counts = Counts(calls=1)
    groups = 1 if work.whole else work.full_source.positions
    channels = work.source.size if work.whole else work.inputs
    full = -(-(work.full_source.size if work.whole else work.full_source.channels) // 4)
    counts.more("groups", groups)
    widen(counts, "wide", channels, groups)
    quads = -(-channels // 4)
    runs = 1 if quads == full else groups
    length = quads * groups // runs
    blocks, rest = -(-work.outputs // 4), work.outputs % 4
    short = work.full_target.channels % 4 in (1, 2) and blocks * 4 > work.full_target.channels
    counts.more("blocks", blocks)
    counts.more("short blocks", int(short))
    counts.more("runs", blocks * runs)
    part = work.constants["part"]
    for size, parts in ((part, length // part), (length % part, int(length % part > 0))):
        times = (blocks - short) * runs * parts
        counts.more("parts", times)
        counts.more("eights", times * (size // 8))
        counts.more("quads", times * (size % 8))
        counts.more("short parts", short * runs * parts)
        counts.loop("short words", 2 * size, short * runs * parts)
    counts.more("outputs", work.outputs)
    counts.loop("last outputs", rest)
    clamp(counts, work)
    return counts


def widen(counts: Counts, name: str, channels: int, times: int) -> None:
    """`tesla_widen`, or `tesla_widen_two` of pixels: quads, then the one that is not whole."""
    counts.more(f"{name} calls", times)
    counts.loop(f"{name} quads", channels // 4, times)
    some(counts, name, channels % 4, times)


def some(counts: Counts, name: str, channels: int, times: int) -> None:
    """`tesla_some`: a loop over less than a quad."""
    counts.more(f"{name} some of {channels}", times * (channels > 0))


def clamp(counts: Counts, work: Work) -> None:
    """`tesla_clamp_outputs`, which does nothing where int8 clamps enough."""
    counts.more("clamps", int(work.clamped))
    counts.loop("clamped", work.target.size * work.clamped)


def depthwise(work: Work) -> Counts:
    """`tesla_depthwise_conv2d_dsp`: four channels become planes, filtered line by line."""
    counts = Counts(calls=1)
    along, across = work.columns, work.rows
    if work.constants["by_columns"]:
        along, across = across, along
    stride = along.stride
    strip = work.constants["strip"]
    needed = ((along.outputs - 1) * stride + 5) & ~1
    groups = [4] * (work.outputs // 4) + [work.outputs % 4] * (work.outputs % 4 > 0)
    for first in range(0, across.outputs, strip):
        lines = min(strip, across.outputs - first)
        counts.more("strips of all channels", 1)
        for channels in groups:
            counts.more("strips", 1)
            counts.more("filters", channels)
            for line in range((lines - 1) * stride + 3):
                inside = 0 <= first * stride + line - across.pad < across.length
                _spread(counts, along, channels, needed, inside)
            _filter(counts, along, channels * lines)
    clamp(counts, work)
    return counts


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
                some(counts, "slow", channels, found)
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


def average_pool(work: Work) -> Counts:
    """`tesla_average_pool2d_dsp`: four channels at a time, then one."""
    counts = Counts(calls=1)
    rows, columns = work.rows, work.columns
    blocks, rest = divmod(work.outputs, 4)
    counts.more("image rows", rows.outputs)
    counts.more("pixels", work.pixels)
    for name, times in (("fours", blocks), ("ones", rest)):
        lone = "lone " if work.outputs == 1 else ""  # its taps lie side by side
        counts.more(name, work.pixels * times)
        counts.more(f"pixels with {name}", work.pixels * (times > 0))
        for taps in rows.inside:
            counts.loop(f"{lone}rows of {name}", taps, times * columns.outputs)
        for taps in columns.inside:
            counts.loop(f"{lone}pixels of {name}", taps, times * rows.covered)
    return counts


def mean(work: Work) -> Counts:
    """`tesla_mean_dsp`: sums of up to 255 pixels fit halves of words."""
    counts = Counts(calls=1)
    blocks, rest = divmod(work.outputs, 4)
    way = "left" if work.shifts[0] > 0 else "right"
    counts.more("outputs", work.outputs)
    counts.more(f"outputs to the {way}", work.outputs)
    pixels = work.full_source.positions
    counts.more("fours", blocks)
    counts.more("runs of fours", blocks * -(-pixels // 255))
    counts.loop("pixels of fours", 255, blocks * (pixels // 255))
    counts.loop("pixels of fours", pixels % 255, blocks * (pixels % 255 > 0))
    lone = "lone " if work.outputs == 1 else ""
    counts.more("ones", rest)
    counts.loop(f"{lone}pixels of ones", pixels, rest)
    return counts


def addition_once(work: Work) -> Counts:
    """`tesla_add_once_dsp`."""
    counts = Counts(calls=1)
    counts.loop("fours", work.target.size // 4)
    counts.loop("ones", work.target.size % 4)
    clamp(counts, work)
    return counts


def addition(work: Work) -> Counts:
    """`tesla_add_dsp`."""
    counts = Counts(calls=1)
    same = work.halved[0] and work.halved[1]
    fours, rest = divmod(work.target.size, 4)
    counts.more("fours of one scale" if same else "fours", fours)
    counts.more("ones of one scale" if same else "ones", rest)
    counts.more("turned", int(not work.halved[0]))
    clamp(counts, work)
    return counts
