"""The picture of class activation maps: a row for each image, a column for each DP percentage.

In: images, their classes and the maps at each percentage. Out: one picture with headings, so that
it can be read wherever it is shown. The colour of a frame says whether the answer is right, and the
words below each map say the answer itself, for those who cannot tell red from green.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tesla_host.report.pictures import (
    GREEN,
    INK,
    RED,
    Floats,
    Rgb,
    framed,
    overlay,
    plain,
    stacked,
    table,
    words,
)

if TYPE_CHECKING:
    from tesla_embed.nn.cam import ActivationMaps

_PIXELS = 96
"""Height of one map, about."""


def draw_maps(
    images: Floats, labels: Sequence[int], first: int, found: "Mapping[int, ActivationMaps]"
) -> Rgb:
    """Draw the maps `found` by DP percentage for `images` `[B, H, W, C]` of values 0 to 1.

    `labels` `[B]` are the true classes; `first` is the number of the first image.
    """
    zoom = max(1, _PIXELS // images.shape[1])
    rows = [[words(" "), words("image"), *(words(f"DP {dp} %") for dp in found)]]
    for index, label in enumerate(labels):
        row = [
            stacked([words(f"# {first + index}"), words(f"class {label}")]),
            stacked([framed(plain(images[index], zoom), INK), words(" ")]),
        ]
        for maps in found.values():
            answer = int(maps.predictions[index])
            colour = GREEN if answer == label else RED
            heat = overlay(images[index], maps.maps[index], zoom)
            row.append(stacked([framed(heat, colour), words(f"says {answer}", colour)]))
        rows.append(row)
    return table(rows)
