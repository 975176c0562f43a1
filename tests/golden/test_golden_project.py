"""The generated text of one tiny model, compared with the files beside this one.

After a wanted change: `TESLA_REFRESH_GOLDEN=1 python -m pytest tests/golden`, then read the diff.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from tesla_codegen.lower import lower
from tesla_codegen.project import render
from tesla_embed import __version__
from tesla_embed.ir.graph import Graph, Model, Region, Table
from tesla_embed.ir.ops import Activation, AveragePool2D, Conv2D, FullyConnected, Reshape, Window
from tesla_embed.ir.types import Quantization, Tensor, TensorType, Weights
from tesla_embed.ir.verify import verify

EXPECTED = Path(__file__).parent / "project"
REFRESH = "TESLA_REFRESH_GOLDEN"


def tiny_model() -> Model:
    """4 x 4 image, convolution to 4 channels (2 at 50 %), average pool, 3 outputs."""
    full = ((4, 4, 1), (3, 3, 4), (1, 1, 4), (4,), (3,))
    half = ((4, 4, 1), (3, 3, 2), (1, 1, 2), (2,), (3,))
    names = ("image", "conv", "pool", "flat", "logits")
    tensors = tuple(
        Tensor(name=name, type=TensorType(shape=shape, channels=shape[-1]))
        for name, shape in zip(names, full, strict=True)
    )
    conv = np.arange(-8, 8, dtype=np.int8).reshape(4, 2, 2, 1)
    dense = np.array([[127, -127, 1, 0], [-1, 2, -3, 4], [5, 6, 7, 8]], np.int8)
    pool = Window(height=2, width=2, stride_height=2, stride_width=2)
    ops = (
        Conv2D(
            name="conv",
            inputs=(0,),
            output=1,
            weights=Weights(data=conv, scale=np.full(4, 2.0**-6)),
            window=Window(height=2, width=2),
            activation=Activation.RELU,
        ),
        AveragePool2D(name="pool", inputs=(1,), output=2, window=pool),
        Reshape(name="flat", inputs=(2,), output=3),
        FullyConnected(
            name="fc", inputs=(3,), output=4, weights=Weights(data=dense, scale=np.full(3, 2.0**-7))
        ),
    )
    graph = Graph(tensors=tensors, ops=ops, input=0, output=4)
    regions = (_region(50, half, 0.25), _region(100, full, 0.5))
    return verify(Model(name="tiny", graph=graph, regions=regions))


def _region(dp: int, shapes: tuple[tuple[int, ...], ...], output_scale: float) -> Region:
    scales = (0.0078125, 0.125, 0.125, 0.125, output_scale)
    zero_points = (-128, -128, -128, -128, 3)
    types = tuple(
        TensorType(
            shape=shape,
            channels=shape[-1],
            quantization=Quantization(scale=scale, zero_point=zero_point),
        )
        for shape, scale, zero_point in zip(shapes, scales, zero_points, strict=True)
    )
    channels = shapes[1][-1]
    conv = Table(
        bias=np.arange(100, 100 + channels, dtype=np.int32),
        weight_scale=np.full(channels, 2.0**-6),
    )
    dense = Table(bias=np.array([0, -5, dp], np.int32), weight_scale=np.full(3, 2.0**-7))
    return Region(dp=dp, types=types, tables=(conv, None, None, dense))


def rendered() -> dict[str, str]:
    """What templates make; the static sources are compiled elsewhere, not repeated here."""
    texts = render(lower(tiny_model()))
    own = {k: v for k, v in texts.items() if "/kernels/" not in k and "include/tesla/" not in k}
    return {name: text.replace(__version__, "VERSION") for name, text in own.items()}


def test_no_golden_file_is_missing_or_left_over() -> None:
    if os.environ.get(REFRESH):
        for name, text in rendered().items():
            path = EXPECTED / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
    found = {str(p.relative_to(EXPECTED)) for p in EXPECTED.rglob("*") if p.is_file()}
    assert found == set(rendered())


@pytest.mark.parametrize("name", sorted(rendered()))
def test_generated_text(name: str) -> None:
    expected = (EXPECTED / name).read_text(encoding="utf-8")
    assert rendered()[name] == expected, f"{name} changed; if wanted, see this file's first lines"
