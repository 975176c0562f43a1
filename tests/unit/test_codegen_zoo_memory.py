"""The arenas of the networks that ship as recipes: at the bound, or within eight bytes of it."""

import numpy as np
import pytest
from graphs import zoo_model

from tesla_codegen.kernels.variant import Isa
from tesla_codegen.lower import lower
from tesla_embed.nn.export import to_model
from tesla_embed.nn.networks import build
from tesla_embed.nn.norm import norms
from tesla_embed.quant import calibrate, quantize
from tesla_embed.train.recipe import load_recipe

NETWORKS = {
    "digits-cnn": ((8, 8, 1), 10, 1_560, 1_920),
    "cifar10-resnet8": ((32, 32, 3), 10, 33_312, 49_152),
    "kws-dscnn": ((49, 10, 1), 12, 10_048, 16_000),
    "vww-mobilenet": ((96, 96, 3), 2, 36_888, 55_296),
    "ad-autoencoder": ((640,), 640, 256, 256),
}
"""By recipe: the shape of an example, classes, bytes of the arena, and of what is alive at most."""


@pytest.mark.parametrize("name", NETWORKS)
def test_the_arena_is_at_the_bound(name: str) -> None:
    shape, classes, expected, alive = NETWORKS[name]
    recipe = load_recipe(name, [])
    network = build(recipe.network, shape, classes, recipe.profile, 0, recipe.batch_norm)
    for layer in norms(network):
        layer.batches.fill_(1)
    model = to_model(network, "net", (50, 100))
    inputs = np.random.default_rng(0).random((2, *shape)).astype(np.float32)
    made = lower(quantize(model, calibrate(model, inputs))).plan
    sizes = [
        sum(-(-b.size // 8) * 8 for b in made.buffers if b.first <= step <= b.last)
        for step in range(len(model.graph.ops))
    ]
    assert max(sizes) == alive
    assert made.arena_bytes == expected
    assert made.arena_bytes - made.bound_bytes <= 8


FAST = {
    ("kws", Isa.DSP): (10_832, 0),
    ("ic", Isa.DSP): (36_248, 0),
    ("vww", Isa.DSP): (41_872, 0),
    ("ad", Isa.DSP): (1_408, 0),
    # Five images of 8,000 bytes, each 256 before the one it overwrites, and 1,296 bytes of scratch
    # beside the first four: the third has two before it and two behind, 8,000 + 2 * 256 + 1,296.
    ("kws", Isa.HELIUM): (9_808, 512),
    ("ic", Isa.HELIUM): (34_400, 0),
    ("vww", Isa.HELIUM): (48_432, 0),
    ("ad", Isa.HELIUM): (768, 0),
}
"""Bytes of the arena, and how many the bound is below them."""


@pytest.mark.parametrize(("name", "isa"), FAST)
def test_the_arena_with_fast_kernels_is_at_the_bound(name: str, isa: Isa) -> None:
    made = lower(zoo_model(name), isa=isa).plan
    assert (made.arena_bytes, made.arena_bytes - made.bound_bytes) == FAST[name, isa]
