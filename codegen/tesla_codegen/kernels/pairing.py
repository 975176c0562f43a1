"""Weights for SMLAD: two output channels share every halfword, four channels make a block.

Of the even channel's weight A and the odd channel's weight B the halfword 256 B + A is stored, so
that one word holds two inputs of two channels in four bytes. A kernel sums x (256 B + A) into T
with the word as it is, and x A into S once SXTB16 has taken the lower bytes out; then S belongs to
channel A and (T - S) >> 8 to channel B. T may wrap around: the difference modulo 2^32 is 256 times
B's sum, which is right as long as that sum lies within -2^23 … 2^23 - 1.
"""

import numpy as np
import numpy.typing as npt

from tesla_embed.ir.fixedpoint import Int64

Int8 = npt.NDArray[np.int8]

BLOCK = 4
"""Output channels of a block, and inputs of a quad."""
_WORDS = ([0, 2], [1, 3])
"""Inputs of a quad as SXTB16 takes them out of four bytes: the even ones, then the odd ones."""
_ODD_SUM = 2**23


def paired(rows: Int8) -> Int8:
    """Pack weights `[out, in]`, both filled up with zeros to multiples of 4, which `halves_fit`.

    A block of 4 channels takes 16 bytes for each 4 inputs, one quad after the other. Word 0 of a
    quad holds its inputs 0 and 2 of the channels 0 and 1, word 1 the same inputs of the channels 2
    and 3, words 2 and 3 its inputs 1 and 3. Leading channels are leading blocks, and leading inputs
    are the beginning of every block. Returns flat int8.
    """
    wide = filled(rows).astype(np.int64)
    out, inputs = wide.shape
    even, odd = wide[0::2], wide[1::2]
    halves = (256 * odd + even).astype("<i2").reshape(out // BLOCK, 2, inputs // 4, 4)
    words = halves[..., np.array(_WORDS)]  # [block, pair, quad, word, half]
    return np.ascontiguousarray(words.transpose(0, 2, 3, 1, 4)).reshape(-1).view(np.int8)


def paired_compactly(rows: Int8) -> Int8:
    """As `paired`, but one or two channels behind the last whole block take 8 bytes for 4 inputs.

    These are the words of the first pair alone: inputs 0 and 2, then 1 and 3. Returns flat int8.
    """
    out = len(rows)
    if out % BLOCK not in (1, 2):
        return paired(rows)
    words = (
        paired(rows).view("<i4").reshape(-(-out // BLOCK), -1, 2, 2)
    )  # [block, quad, word, pair]
    last = np.ascontiguousarray(words[-1, ..., 0]).reshape(-1)
    return np.concatenate([words[:-1].reshape(-1), last]).view(np.int8)


def filled(rows: Int8) -> Int8:
    """`[out, in]` with zeros up to multiples of 4."""
    return np.pad(rows, [(0, -size % BLOCK) for size in rows.shape])


def halves_fit(weights: Int8) -> bool:
    """Whether every 256 B + A of weights `[out, ...]` is an int16: a B of -128 needs an A >= 0."""
    odd = weights[1::2]
    return not bool(((odd == -128) & (weights[0::2][: len(odd)] < 0)).any())


def part_that_fits(rows: Int8, least: int, most: int) -> int | None:
    """How many quads of inputs in sequence odd channels' sums come out of, at most all there are.

    `rows` `[out, in]`, inputs from `least` to `most` with their offset, a multiple of 4 in number.
    Whatever the quads, and however many of them are active. `None` if not even one does.
    """
    odd = rows[1::2].astype(np.int64)
    quads: int = max(1, rows.shape[1] // BLOCK)
    signs = (np.maximum(odd, 0), np.minimum(odd, 0))
    sums = [
        np.cumsum(np.pad(side, ((0, 0), (BLOCK, 0))), axis=1)[:, BLOCK - 1 :: BLOCK]
        for side in signs
    ]
    for parts in range(1, quads + 1):
        part: int = -(-quads // parts)
        high, low = (side[:, part:] - side[:, :-part] for side in sums)
        largest = np.maximum(high * most + low * least, -(high * least + low * most))
        if int(largest.max(initial=0)) < _ODD_SUM:
            return part
    return None


def paired_exactly(low: Int64, high: Int64) -> bool:
    """Whether odd channels' sums, without bias and from `low` to `high` per channel, come out."""
    odd = slice(1, None, 2)
    return bool((low[odd] >= -_ODD_SUM).all() and (high[odd] < _ODD_SUM).all())
