"""Words in pixels, for pictures that must explain themselves wherever they are shown.

In: a word of the few characters that headings need. Out: which pixels are ink. Refuses nothing:
a character without a shape of its own becomes a box.
"""

import numpy as np
import numpy.typing as npt

HEIGHT, _WIDTH = 7, 5
_BOX = "1f11111111111f"
# Seven rows from the top, two hexadecimal digits each; the lowest five bits are pixels.
_SHAPES = {
    " ": "00000000000000", "%": "18190204081303", ".": "00000000000c0c", "#": "0a0a1f0a1f0a0a",
    "0": "0e11111511110e", "1": "040c040404040e", "2": "0e11010204081f", "3": "1f02040201110e",
    "4": "02060a121f0202", "5": "1f101e0101110e", "6": "0608101e11110e", "7": "1f010204080808",
    "8": "0e11110e11110e", "9": "0e11110f01020c", "D": "1c12111111121c", "P": "1e11111e101010",
    "a": "00000e010f110f", "c": "00000e1010110e", "e": "00000e111f100e", "g": "00000f110f010e",
    "i": "04000c0404040e", "l": "0c04040404040e", "m": "00001a15151111", "n": "00001619111111",
    "s": "00000f100e011e", "t": "08081c08080906", "y": "000011110f010e",
}  # fmt: skip


def lettered(word: str, scale: int) -> npt.NDArray[np.bool_]:
    """Ink `[7 scale, (6 letters - 1) scale]` of a word; empty words have no columns."""
    ink = np.zeros((HEIGHT, len(word) * (_WIDTH + 1)), np.bool_)
    for place, letter in enumerate(word):
        shape = np.array(list(bytes.fromhex(_SHAPES.get(letter, _BOX))), np.uint8)
        bits = np.unpackbits(shape[:, None], axis=1)[:, -_WIDTH:]
        left = place * (_WIDTH + 1)
        ink[:, left : left + _WIDTH] = bits.astype(np.bool_)
    return ink[:, :-1].repeat(scale, axis=0).repeat(scale, axis=1)
