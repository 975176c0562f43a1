"""The networks that cost models are fitted to: many small layers, of many shapes.

In: a seed. Out: models. A network is a bundle of chains, one for each kind of layer, which all
begin at its input, so that one build measures every kernel. Every size that a cost model looks at
varies apart from the others: widths that are and are no multiples of blocks, images with and
without borders, regions that leave much out.
"""

from collections.abc import Callable

import numpy as np

from tesla_embed.ir.graph import Model
from tesla_embed.ir.ops import Logistic, Softmax, Window
from tesla_host.estimate.sketch import Sketch

NETWORKS = 6
"""As many as a fit takes; most kernels then have fifty layers and more, in three regions each."""
_WIDTHS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 16, 18, 20, 24, 25, 31, 32, 40, 47, 48, 64)
_REGIONS = ((17, 50, 100), (30, 75, 100), (25, 62, 100), (12, 40, 100))


def design(seed: int) -> Model:
    """A network with a chain of every kind."""
    return _grown(seed, CHAINS)


def further_design(seed: int) -> Model:
    """A network with chains of what is built otherwise for speed, and of what needs more."""
    return _grown(seed, FURTHER_CHAINS)


def _grown(seed: int, chains: "Chains") -> Model:
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(5, 17)), int(rng.integers(5, 17)), 1 + seed % 5)
    sketch = Sketch(rng, shape)
    ends = []
    for chain, bits in chains:
        sketch.at, sketch.bits = 0, bits
        chain(sketch)
        sketch.dense(2, scalable=False)
        ends.append(sketch.at)
    sketch.join(ends)
    dps = _REGIONS[seed % len(_REGIONS)]
    return sketch.model(dps, sketch.pick(1, 1, 2, 4))


def _width(s: Sketch, most: int = 64) -> int:
    return s.pick(*(w for w in _WIDTHS if w <= most))


def _same(s: Sketch, height: int, width: int, strides: tuple[int, int] = (1, 1)) -> Window:
    """A window with "same" padding."""
    sizes = s.last.shape[:2]
    before, after = [], []
    for length, taps, stride in zip(sizes, (height, width), strides, strict=True):
        total = max((-(-length // stride) - 1) * stride + taps - length, 0)
        before.append(total // 2)
        after.append(total - total // 2)
    return Window(
        height=height, width=width, stride_height=strides[0], stride_width=strides[1],
        pad_top=before[0], pad_bottom=after[0], pad_left=before[1], pad_right=after[1],
    )  # fmt: skip


def _valid(s: Sketch, height: int, width: int, strides: tuple[int, int] = (1, 1)) -> Window:
    """A window without padding, no larger than the image."""
    height, width = min(height, s.last.shape[0]), min(width, s.last.shape[1])
    return Window(height=height, width=width, stride_height=strides[0], stride_width=strides[1])


def _grow_back(s: Sketch) -> None:
    """Pads an image that has become small."""
    if min(s.last.shape[:2]) < 5:
        s.pad(s.up_to(4, 2), s.up_to(4, 2), s.up_to(4, 2), s.up_to(5, 2))


def _budget(s: Sketch, taps: int) -> int:
    """The widest layer whose products are some 120,000 at most."""
    height, width, channels = s.last.shape
    return max(1, 120_000 // (height * width * channels * taps))


def _dense(s: Sketch) -> None:
    s.pool(_valid(s, 3, 3, (3, 3)), average=False)
    for _ in range(7):
        s.dense(s.up_to(130), scalable=s.rng.random() < 0.8)


def _dense_images(s: Sketch) -> None:
    """Flattened images, whose channels scale or do not."""
    s.conv(_width(s, 40), _same(s, 1, 1), scalable=s.rng.random() < 0.7)
    s.pool(_valid(s, 3, 3, (s.up_to(3), s.up_to(3))), average=False)
    s.dense(max(1, min(s.up_to(60, 4), 24_000 // s.last.size)))
    s.dense(s.up_to(20, 1), scalable=False)


def _pointwise(s: Sketch) -> None:
    s.pool(_valid(s, s.up_to(3), s.up_to(3)), average=True)
    for _ in range(6):
        s.conv(min(_width(s), _budget(s, 1)), _same(s, 1, 1), scalable=s.rng.random() < 0.8)
    s.conv(_width(s, 16), _valid(s, 1, 1, (2, 2)))
    s.conv(min(_width(s, 32), _budget(s, 1)), _same(s, 1, 1))


def _three_by_three(s: Sketch) -> None:
    for _ in range(5):
        _grow_back(s)
        window = _same(s, 3, 3) if s.rng.random() < 0.75 else _valid(s, 3, 3)
        s.conv(min(_width(s), _budget(s, 9)), window)


def _transformed(s: Sketch) -> None:
    """Convolutions of 3 by 3 taps with as many channels as transformed filters want."""
    s.pool(_valid(s, s.up_to(3), s.up_to(3), (s.up_to(2), s.up_to(2))), average=True)
    s.conv(s.pick(9, 12, 15, 16, 24), _same(s, 1, 1))
    for _ in range(4):
        _grow_back(s)
        window = _same(s, 3, 3) if s.rng.random() < 0.7 else _valid(s, 3, 3)
        s.conv(s.pick(9, 11, 12, 14, 16, 17, 20, 24, 31, 40, 68), window)


def _windows(s: Sketch) -> None:
    """Convolutions of other windows and strides."""
    s.conv(_width(s, 12), _same(s, 1, 1))
    for _ in range(6):
        _grow_back(s)
        strides = (s.pick(1, 2, 2, 3), s.pick(1, 2, 2, 3))
        taps = (s.pick(1, 2, 3, 3, 5), s.pick(1, 2, 3, 3, 4, 5, 7))
        window = (_same if s.rng.random() < 0.6 else _valid)(s, *taps, strides)
        s.conv(min(_width(s), _budget(s, taps[0] * taps[1])), window)


def _colours(s: Sketch) -> None:
    """Convolutions of few channels, all of them active: first layers."""
    for _ in range(7):
        _grow_back(s)
        strides = (s.pick(1, 1, 2), s.pick(1, 1, 2))
        taps = (s.pick(1, 3, 3, 5, 10), s.pick(1, 3, 3, 4, 5))
        window = (_same if s.rng.random() < 0.75 else _valid)(s, *taps, strides)
        s.conv(s.pick(1, 2, 3, 3, 5, 6, 7, 9, 10), window, scalable=False)
    s.conv(min(_width(s), _budget(s, 9)), _same(s, 3, 3))


def _depthwise(s: Sketch) -> None:
    s.conv(_width(s, 48), _same(s, 1, 1))
    for _ in range(5):
        _grow_back(s)
        if s.rng.random() < 0.3:
            s.pad(s.up_to(8), s.up_to(8), s.up_to(9), s.up_to(9))
        stride = s.pick(1, 1, 2)
        window = (_same if s.rng.random() < 0.7 else _valid)(s, 3, 3, (stride, stride))
        s.depthwise(window)
    s.conv(_width(s, 32), _same(s, 1, 1))
    s.depthwise(_same(s, 3, 3))


def _depthwise_windows(s: Sketch) -> None:
    """Depthwise convolutions of any window, now and then of several filters a channel."""
    s.conv(_width(s, 24), _same(s, 1, 1))
    for index in range(4):
        _grow_back(s)
        taps = (s.up_to(5), s.up_to(5))
        strides = (s.up_to(2), s.up_to(2))
        s.depthwise(_same(s, *taps, strides), s.pick(1, 1, 1, 2) if index < 2 else 1)


def _pools(s: Sketch) -> None:
    for _ in range(4):
        s.conv(_width(s, 40), _same(s, 1, 1))
        _grow_back(s)
        average, style = s.rng.random() < 0.5, s.rng.random()
        if style < 0.5:
            s.pool(_valid(s, 2, 2, (2, 2)), average)
        else:
            taps, strides = (s.up_to(4), s.up_to(4)), (s.up_to(2), s.up_to(2))
            s.pool((_valid if style < 0.7 else _same)(s, *taps, strides), average)
        _grow_back(s)
        s.pool(_same(s, s.up_to(3), s.up_to(3)), not average)
    height, width = s.last.shape[:2]
    s.pool(_valid(s, height, width), s.rng.random() < 0.7)


def _sums(s: Sketch) -> None:
    for _ in range(5):
        s.conv(_width(s, 40), _same(s, 1, 1))
        start = s.at
        s.conv(s.last.channels, _same(s, 1, 1))
        sides = [start, s.at]
        s.rng.shuffle(sides)
        s.add(*sides)
        _grow_back(s)
        s.pool(_valid(s, 2, 2), average=False)


def _fine_sums(s: Sketch) -> None:
    """Sums whose scale is so small that they are rounded several times."""
    for _ in range(5):
        s.conv(_width(s, 40), _same(s, 1, 1))
        start = s.at
        s.conv(s.last.channels, _same(s, 1, 1))
        s.add(start, s.at, share=0.08)
        _grow_back(s)
        s.pool(_valid(s, 2, 2), average=False)


def _pads(s: Sketch) -> None:
    """Pads of any width: what `memset` and `memcpy` take depends on many things."""
    for _ in range(2):
        s.conv(_width(s, 24), _same(s, 1, 1))
        for _ in range(4):
            s.pad(*(s.up_to(4) - 1 for _ in range(4)))
            s.pool(_valid(s, 3, 3, (s.up_to(2), s.up_to(2))), average=False)


def _joins(s: Sketch) -> None:
    """Concatenations, and what reads them."""
    for _ in range(3):
        s.conv(_width(s, 12), _same(s, 1, 1))
        start, branches = s.at, []
        for _ in range(s.pick(2, 2, 3)):
            s.at = start
            s.conv(_width(s, 20), _same(s, 1, 1))
            branches.append(s.at)
        s.join(branches)
        joined = s.at
        s.depthwise(_same(s, s.up_to(3), s.up_to(3)), s.pick(1, 1, 2))
        width, taps = _width(s, 24), (s.pick(1, 3, 3), s.pick(1, 2, 3))
        s.conv(width, _same(s, *taps))
        side, s.at = s.at, joined
        s.conv(width, _same(s, *taps))
        s.join([side, s.at], axis=s.pick(0, 1))
        _grow_back(s)
        s.pool(_valid(s, 2, 2, (2, 2)), average=False)
    s.conv(4, _same(s, 1, 1))
    start = s.at
    s.conv(_width(s, 8), _same(s, 1, 1))
    s.join([start, s.at])
    s.dense(s.up_to(20, 2))
    start = s.at
    s.dense(s.up_to(30), scalable=True)
    s.join([start, s.at])
    s.dense(s.up_to(40, 4))


def _others(s: Sketch) -> None:
    """What has no weights and no fast kernel."""
    s.conv(_width(s, 24), _same(s, 1, 1))
    for _ in range(2):
        s.pad(s.up_to(3) - 1, s.up_to(3) - 1, s.up_to(3) - 1, s.up_to(3))
        s.rescale()
        s.conv(_width(s, 40), _same(s, 1, 1))
        s.unit(Logistic)
        s.conv(_width(s, 40), _valid(s, 2, 2))
        s.rescale()


def _softmax(s: Sketch) -> None:
    """Softmaxes of inputs of several ranges: what they cost depends on the data."""
    s.pool(_valid(s, 4, 4, (3, 3)), average=False)
    start, branches = s.at, []
    for _ in range(6):
        s.at = start
        s.dense(s.pick(2, 3, 4, 10, 12, 35, 100), s.rng.random() < 0.7, 1 / s.pick(10, 16, 24))
        s.unit(Softmax)
        branches.append(s.at)
    s.join(branches)


def _means(s: Sketch) -> None:
    ends: list[int] = []
    for taps in (1, 2, 4):
        s.conv(_width(s, 40), _same(s, 1, 1))
        s.pool(_valid(s, taps, s.up_to(5), (s.up_to(2), 1)), average=False)
        start = s.at
        s.mean()
        s.dense(1, scalable=False)
        ends.append(s.at)
        s.at = start
    s.join(ends)


Chains = tuple[tuple[Callable[[Sketch], None], int], ...]

CHAINS: Chains = (
    (_dense, 8),
    (_dense_images, 8),
    (_pointwise, 8),
    (_three_by_three, 8),
    (_three_by_three, 8),
    (_windows, 8),
    (_colours, 8),
    (_depthwise, 8),
    (_depthwise_windows, 8),
    (_pools, 8),
    (_sums, 8),
    (_joins, 8),
    (_others, 8),
    (_means, 8),
    (_softmax, 8),
    (_dense, 4),
    (_dense_images, 4),
    (_windows, 4),
    (_depthwise_windows, 4),
)
"""What grows a chain, and the bits of its weights."""
FURTHER_CHAINS: Chains = (
    (_transformed, 8),
    (_transformed, 8),
    (_depthwise, 8),
    (_dense, 8),
    (_dense_images, 8),
    (_fine_sums, 8),
    (_pads, 8),
    (_pads, 8),
    (_pads, 8),
)
"""The same of networks that are built for speed."""
