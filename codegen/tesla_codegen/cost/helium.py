"""Cost models of the kernels for Helium: their loops, in the order of their C."""

from tesla_codegen.cost.counts import Counts
from tesla_codegen.cost.work import Axis, Work

_LANES = 16


def _blocks_of(channels: int) -> int:
    return -(-channels // _LANES)


def _run(counts: Counts, work: Work, times: int) -> None:
    """`tesla_helium_run`: pairs of channels, then an odd one alone."""
    even, odd = work.outputs // 2, work.outputs % 2
    counts.more("runs", times)
    counts.more("runs of pairs", times * (even > 0))
    counts.more("runs of one", times * odd)
    counts.more("pairs", times * (even + odd))


def _patches(counts: Counts, work: Work, times: int, blocks: int) -> None:
    """`tesla_helium_run` with `tesla_helium_patches`, unrolled by what divides the blocks."""
    _run(counts, work, times)
    unrolled = next(count for count in (4, 3, 2, 1) if blocks % count == 0)
    calls = times * ((work.outputs > 1) + work.outputs % 2)
    pairs = times * -(-work.outputs // 2)
    counts.more(f"calls by {unrolled}", calls)
    rounds = blocks // unrolled  # one count, weighed as in the assembly: rounds go with pairs
    counts.more("inner loop", pairs * (14 * blocks + 2 * rounds + (rounds > 1)))


def convolution(work: Work) -> Counts:
    """`tesla_conv2d_helium`: one tap, or any window, patch by patch."""
    counts = Counts(calls=1)
    window, pixels = work.window, work.pixels
    taps, blocks = window.height * window.width, _blocks_of(work.inputs)
    whole = work.inputs % _LANES == 0
    if taps == 1 and _within(work.rows) and _within(work.columns):
        direct = 0
        if whole and work.rows.stride == work.columns.stride == 1:
            same = work.target.shape[1] == work.source.shape[1]
            direct = pixels // 4 if same else 0
        counts.more("direct fours", direct)
        left = pixels - 4 * direct
        counts.more("fours", -(-left // 4))
        counts.more("pixels", left)
        counts.more("missing pixels", -left % 4)
        if not whole:
            counts.loop("blocks copied", blocks, left)
            counts.more("pixels copied", left)
        _patches(counts, work, direct + -(-left // 4), blocks)
        return counts
    counts.more("patch fours", -(-pixels // 4))
    counts.more("patches", pixels)
    counts.more("rows of taps", pixels * window.height)
    counts.more("taps", pixels * taps)
    inside = work.rows.covered * work.columns.covered
    counts.more("blocks inside", inside * blocks)
    counts.more("blocks beside", (pixels * taps - inside) * blocks)
    _patches(counts, work, -(-pixels // 4), taps * blocks)
    return counts


def _within(axis: Axis) -> bool:
    return axis.pad == 0 and (axis.outputs - 1) * axis.stride < axis.length


def _fill_planes(counts: Counts, work: Work, inside: bool, width: int) -> None:
    """`tesla_helium_fill_planes`: a padded row of `width` pixels."""
    counts.more("rows inside" if inside else "rows beside", 1)
    before = work.window.pad_left if inside else width
    room = width - work.window.pad_left
    pixels = min(work.source.shape[1], room)
    full, rest = divmod(work.inputs, _LANES)
    padding = before + (room - pixels if inside else 0)
    counts.more("planes inside" if inside else "planes beside", full + (rest > 0))
    counts.more("padding", (full + (rest > 0)) * padding)
    if inside:
        counts.more("whole pixels", full * pixels)
        counts.more("narrow pixels", pixels * (rest > 0))
        counts.more("narrow planes", int(rest > 0))


def convolution_3x3(work: Work) -> Counts:
    """`tesla_conv2d_3x3_helium`: three padded rows as planes of 16 channels."""
    counts = Counts(calls=1)
    height, width = work.target.shape[:2]
    for y in range(height + 2):
        inside = 0 <= y - work.window.pad_top < work.source.shape[0]
        _fill_planes(counts, work, inside, -(-width // 4) * 4 + 2)
    counts.more("image rows", height)
    fours = height * -(-width // 4)
    blocks = _blocks_of(work.inputs)
    _run(counts, work, fours)
    pairs = fours * -(-work.outputs // 2)
    counts.more("blocks", pairs * blocks)
    skipped = blocks < _blocks_of(work.full_source.channels)
    counts.more("pairs with a gap", pairs * skipped)
    return counts


def convolution_planes(work: Work) -> Counts:
    """`tesla_conv2d_planes_helium`."""
    planes = _blocks_of(work.inputs)
    return _convolve(work, planes, _LANES)


def convolution_dense(work: Work) -> Counts:
    """`tesla_conv2d_dense_helium`: all channels of a row one behind the other."""
    return _convolve(work, 1, work.inputs)


def _convolve(work: Work, planes: int, unit: int) -> Counts:
    """`tesla_helium_convolve`: padded rows in a ring, patches out of them, four at a time."""
    counts = Counts(calls=1)
    window, rows = work.window, work.rows
    width = (work.columns.outputs - 1) * window.stride_width + window.width
    for y in _filled(rows):
        inside = 0 <= y - window.pad_top < work.source.shape[0]
        if unit == _LANES:
            _fill_planes(counts, work, inside, width)
        else:
            _fill_row(counts, work, inside, width)
    counts.more("image rows", rows.outputs)
    counts.loop("row pointers", window.height, rows.outputs)
    counts.more(
        "skipped rows", max(0, (rows.outputs - 1) * rows.stride + rows.taps) - len(_filled(rows))
    )
    counts.more("pixels", work.pixels)
    vectors = _blocks_of(window.width * unit)
    parts = work.pixels * planes
    kind = "one vector" if vectors == 1 else "several"
    counts.more(f"parts of {kind}", parts)
    counts.more(f"lines of {kind}", parts * window.height)
    counts.more("vectors", parts * window.height * vectors * (vectors > 1))
    blocks = _blocks_of(window.height * window.width * unit) * planes
    _patches(counts, work, -(-work.pixels // 4), blocks)
    return counts


def _filled(rows: Axis) -> list[int]:
    """Rows of the padded image that are written, in order: those that a window sees."""
    found: list[int] = []
    filled = 0
    for out in range(rows.outputs):
        top = out * rows.stride
        found += range(max(filled, top), top + rows.taps)
        filled = max(filled, top + rows.taps)
    return found


def _fill_row(counts: Counts, work: Work, inside: bool, width: int) -> None:
    row = width * work.inputs
    counts.more("rows inside" if inside else "rows beside", 1)
    if not inside:
        counts.more("vectors set", _blocks_of(row))
        return
    bytes_, before = work.source.shape[1] * work.inputs, work.window.pad_left * work.inputs
    room = row - before
    counts.more("rows with a left edge", int(before > 0))
    counts.more("rows with a right edge", int(bytes_ < room))
    counts.more("vectors set", _blocks_of(before) + _blocks_of(max(0, room - bytes_)))
    counts.more("vectors copied", _blocks_of(min(bytes_, room)))


def fully_connected(work: Work) -> Counts:
    """`tesla_fully_connected_helium`."""
    counts = Counts(calls=1)
    groups = 1 if work.whole else work.full_source.positions
    channels = work.source.size if work.whole else work.inputs
    full = _blocks_of(work.full_source.size if work.whole else work.full_source.channels)
    active = _blocks_of(channels)
    if channels % _LANES:
        counts.more("groups copied", groups)
        counts.more("blocks copied", groups * active)
    runs = 1 if active == full else groups
    length = active * groups // runs
    wide = work.full_target.channels // 8
    eights = -(-work.outputs // 8)
    counts.more("eights", eights)
    counts.more("dots", min(eights, wide) * runs)
    counts.more("dots of four", min(eights, wide) * runs * (length // 4))
    counts.more("dots of one", min(eights, wide) * runs * (length % 4))
    counts.more("dots with rest", min(eights, wide) * runs * (length % 4 > 0))
    if eights > wide:
        pairs = -(-(work.outputs - 8 * wide) // 2) * runs
        counts.more("narrow runs", runs)
        counts.more("narrow pairs", pairs)
        counts.loop("narrow blocks", length, pairs)
    counts.more("second halves", eights - (0 < work.outputs % 8 <= 4))
    return counts


def depthwise(work: Work) -> Counts:
    """`tesla_depthwise_conv2d_helium` and `tesla_depthwise_conv2d_3x3_helium`."""
    counts = Counts(calls=1)
    by_columns = work.target.shape[0] > work.target.shape[1]
    lines, along = (work.columns, work.rows) if by_columns else (work.rows, work.columns)
    width = (along.outputs - 1) * along.stride + along.taps
    counts.more("vectors set", lines.taps * width)
    pixels = min(along.length, width - along.pad)
    filled = _filled(lines)
    inside = sum(0 <= y - lines.pad < lines.length for y in filled)
    whole, rest = divmod(work.outputs, _LANES)
    groups = whole + (rest > 0)
    counts.more("groups", groups)
    counts.more("lines", groups * lines.outputs)
    counts.more("lines of taps", groups * lines.outputs * lines.taps)
    counts.more("filled lines", groups * len(filled))
    counts.more("lines beside", groups * (len(filled) - inside))
    counts.more("vectors beside", groups * (len(filled) - inside) * pixels)
    counts.more("whole pixels", whole * inside * pixels)
    counts.more("narrow pixels", (rest > 0) * inside * pixels)
    counts.more("narrow lines", (rest > 0) * inside)
    outputs = groups * lines.outputs * along.outputs
    counts.more("outputs", outputs)
    counts.more("outputs of stride 2", outputs * (along.stride == 2))
    counts.more("rows of taps", outputs * lines.taps)
    counts.more("taps", outputs * lines.taps * along.taps)
    return counts


def max_pool(work: Work) -> Counts:
    """`tesla_max_pool2d_helium`: windows of 2 by 2 within the image have a loop of their own."""
    counts = Counts(calls=1)
    rows, columns = work.rows, work.columns
    blocks = _blocks_of(work.outputs)
    counts.more("image rows", rows.outputs)
    inside = rows.covered == rows.taps * rows.outputs and rows.pad == 0
    inside = inside and columns.covered == columns.taps * columns.outputs and columns.pad == 0
    if rows.taps == columns.taps == 2 and inside:
        counts.more("quarters", work.pixels)
        counts.more("quarter blocks", work.pixels * blocks)
        return counts
    counts.more("pixels", work.pixels)
    _tap_blocks(counts, work, blocks)
    return counts


def _tap_blocks(counts: Counts, work: Work, blocks: int) -> None:
    """Taps of every pixel for blocks of channels."""
    counts.more("blocks", work.pixels * blocks)
    counts.more("rows of taps", work.rows.covered * work.columns.outputs * blocks)
    for taps in work.columns.inside:
        counts.loop("taps", taps, work.rows.covered * blocks)


def average_pool(work: Work) -> Counts:
    """`tesla_average_pool2d_helium`: four channels at a time."""
    counts = Counts(calls=1)
    counts.more("image rows", work.rows.outputs)
    counts.more("pixels", work.pixels)
    counts.more("outputs", work.pixels * work.outputs)
    _tap_blocks(counts, work, -(-work.outputs // 4))
    return counts


def mean(work: Work) -> Counts:
    """`tesla_mean_helium`: four channels at a time."""
    counts = Counts(calls=1)
    counts.more("blocks", -(-work.outputs // 4))
    counts.loop("pixels", work.full_source.positions, -(-work.outputs // 4))
    return counts


def addition(work: Work) -> Counts:
    """`tesla_add_helium`: four elements at a time; where an input is halved, a shift does it."""
    fours = -(-work.target.size // 4)
    kind = "first" if work.halved[0] else "second" if work.halved[1] else "neither"
    counts = Counts()
    counts.more(f"calls, {kind} halved", 1)
    counts.more(f"fours, {kind} halved", fours)
    return counts
