"""One test per rule of the operations without weights and of graphs that branch."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from tesla_embed.errors import GraphError
from tesla_embed.ir.graph import Graph, Model, Region, Table
from tesla_embed.ir.ops import (
    UNIT,
    Activation,
    Add,
    Concat,
    Conv2D,
    DepthwiseConv2D,
    Logistic,
    Mean,
    Op,
    Pad,
    Rescale,
    Softmax,
    Window,
)
from tesla_embed.ir.types import Quantization, Tensor, TensorType, Weights
from tesla_embed.ir.verify import verify

ONE = Quantization(scale=1.0, zero_point=0)
IMAGE = (4, 5, 6)


def of(
    op: Op,
    shapes: Sequence[tuple[int, ...]],
    scales: Sequence[Quantization] = (),
    table: Table | None = None,
) -> Model:
    """The input, rescaled for every further input of `op`, and then `op`."""
    scales = scales or [ONE] * len(shapes)
    types = [
        TensorType(shape=shape, channels=shape[-1], quantization=q)
        for shape, q in zip(shapes, scales, strict=True)
    ]
    ops: list[Op] = []
    for index in range(1, len(shapes) - 1):
        ops.append(Rescale(name=f"copy{index}", inputs=(0,), output=index))
    last = len(shapes) - 1
    ops.append(dataclasses.replace(op, inputs=tuple(range(last)), output=last))
    tensors = tuple(
        Tensor(name=f"t{i}", type=dataclasses.replace(type_, quantization=None))
        for i, type_ in enumerate(types)
    )
    graph = Graph(tensors=tensors, ops=tuple(ops), input=0, output=last)
    tables = (*[None] * (len(ops) - 1), table)
    return Model(
        name="m", graph=graph, regions=(Region(dp=100, types=tuple(types), tables=tables),)
    )


def scale(value: float, zero_point: int = 0) -> Quantization:
    return Quantization(scale=value, zero_point=zero_point)


ADD = Add(name="op", inputs=(), output=0)
CONCAT = Concat(name="op", inputs=(), output=0, axis=2)
PAD = Pad(name="op", inputs=(), output=0, top=1, right=2)
MEAN = Mean(name="op", inputs=(), output=0)
RESCALE = Rescale(name="op", inputs=(), output=0)
SOFTMAX = Softmax(name="op", inputs=(), output=0)
LOGISTIC = Logistic(name="op", inputs=(), output=0)


def depthwise(outputs: int, height: int = 3) -> Model:
    """Three by three over IMAGE, unpadded."""
    weights = Weights(data=np.ones((outputs, height, 3), np.int8), scale=np.ones(outputs))
    op = DepthwiseConv2D(
        name="op", inputs=(), output=0, weights=weights, window=Window(height=3, width=3)
    )
    table = Table(bias=np.zeros(outputs, np.int32), weight_scale=np.ones(outputs))
    return of(op, [IMAGE, (2, 3, outputs)], table=table)


GOOD = {
    "add": of(ADD, [IMAGE] * 3),
    "join channels": of(CONCAT, [IMAGE, IMAGE, (4, 5, 12)]),
    "join rows": of(dataclasses.replace(CONCAT, axis=0), [IMAGE, IMAGE, (8, 5, 6)]),
    "join vectors": of(dataclasses.replace(CONCAT, axis=0), [(3,), (3,), (3,), (9,)]),
    "pad": of(PAD, [IMAGE, (5, 7, 6)]),
    "mean": of(MEAN, [IMAGE, (1, 1, 6)], [ONE, scale(0.25, 3)]),
    "rescale": of(RESCALE, [IMAGE] * 2, [ONE, scale(2.0**-22)]),
    "softmax": of(SOFTMAX, [(511,)] * 2, [ONE, UNIT]),
    "logistic": of(LOGISTIC, [IMAGE] * 2, [scale(2.0**-40), UNIT]),
    "depthwise": depthwise(12),
}


@pytest.mark.parametrize("name", GOOD)
def test_good(name: str) -> None:
    assert verify(GOOD[name]) is GOOD[name]


BAD: dict[str, tuple[Callable[[], Model], str]] = {
    "add shapes": (lambda: of(ADD, [IMAGE, IMAGE, (4, 5, 5)]), "op: needs tensors of shape (4, 5"),
    "add one": (lambda: of(ADD, [IMAGE] * 2), "op: cannot have 1 inputs"),
    "add three": (lambda: of(ADD, [IMAGE] * 4), "op: cannot have 3 inputs"),
    "add scale": (
        lambda: of(ADD, [IMAGE] * 3, [ONE, ONE, scale(2.0**-19)]),
        "op: the output's scale is too small for its inputs",
    ),
    "join one": (lambda: of(CONCAT, [IMAGE] * 2), "op: cannot have 1 inputs"),
    "join axis": (
        lambda: of(dataclasses.replace(CONCAT, axis=3), [IMAGE, IMAGE, (4, 5, 12)]),
        "op: has no axis 3",
    ),
    "join size": (lambda: of(CONCAT, [IMAGE, IMAGE, (4, 5, 11)]), "op: makes (4, 5, 12), not"),
    "join scale": (
        lambda: of(CONCAT, [IMAGE, IMAGE, (4, 5, 12)], [ONE, ONE, scale(2.0**-23)]),
        "op: the ratio of input and output scales is out of range",
    ),
    "pad vector": (lambda: of(PAD, [(6,), (9,)]), "op: needs an image, gets (6,)"),
    "pad size": (lambda: of(PAD, [IMAGE, IMAGE]), "op: makes (5, 7, 6), not (4, 5, 6)"),
    "pad negative": (
        lambda: of(dataclasses.replace(PAD, left=-1), [IMAGE, (5, 6, 6)]),
        "op: padding must be 0 to 255",
    ),
    "pad scale": (
        lambda: of(PAD, [IMAGE, (5, 7, 6)], [ONE, scale(2.0)]),
        "op: must keep the quantisation of its input",
    ),
    "mean size": (lambda: of(MEAN, [IMAGE, (6,)]), "op: makes (1, 1, 6), not (6,)"),
    "mean scale": (
        lambda: of(MEAN, [IMAGE, (1, 1, 6)], [ONE, scale(2.0**-19)]),
        "op: the ratio of input and output scales is out of range",
    ),
    "rescale shape": (lambda: of(RESCALE, [IMAGE, (120,)]), "op: changes shape or channels"),
    "rescale scale": (
        lambda: of(RESCALE, [IMAGE] * 2, [scale(2.0**127), scale(2.0**-127)]),
        "op: the ratio of input and output scales is out of range",
    ),
    "rescale table": (
        lambda: of(RESCALE, [IMAGE] * 2, table=Table(bias=np.zeros(6, np.int32))),
        "op: has a table but no weights",
    ),
    "softmax long": (
        lambda: of(SOFTMAX, [(512,)] * 2, [ONE, UNIT]),
        "op: takes at most 511 values, gets 512",
    ),
    "softmax output": (
        lambda: of(SOFTMAX, [(5,)] * 2),
        "op: its output must have scale 1/256 and zero point -128",
    ),
    "softmax input": (
        lambda: of(SOFTMAX, [(5,)] * 2, [scale(2.0**-26), UNIT]),
        "op: the input's scale is too small",
    ),
    "logistic output": (
        lambda: of(LOGISTIC, [(5,)] * 2, [ONE, scale(1 / 256, 127)]),
        "op: its output must have scale 1/256",
    ),
    "depthwise filters": (lambda: depthwise(9), "op: has 9 filters, no multiple of 6 channels"),
    "depthwise window": (lambda: depthwise(6, 2), "op: weights do not match the window"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad(name: str) -> None:
    make, message = BAD[name]
    with pytest.raises(GraphError) as caught:
        verify(make())
    assert message in str(caught.value)


def branches(widths: tuple[int, int], op: Op) -> Model:
    """Two convolutions of one image, narrowed apart at 50 %, and what joins them."""
    full, joined = (2, 2, 4), (4, 2, 4) if isinstance(op, Concat) else (2, 2, 4)
    shapes = [(2, 2, 1), full, full, joined, (*joined[:2], 1)]
    graph_types = [TensorType(shape=shape, channels=shape[-1]) for shape in shapes]
    weights = Weights(data=np.ones((4, 1, 1, 1), np.int8), scale=np.ones(4))
    last = Weights(data=np.ones((1, 1, 1, 4), np.int8), scale=np.ones(1))
    window = Window(height=1, width=1)
    ops: tuple[Op, ...] = (
        Conv2D(name="a", inputs=(0,), output=1, weights=weights, window=window),
        Conv2D(name="b", inputs=(0,), output=2, weights=weights, window=window),
        dataclasses.replace(op, inputs=(1, 2), output=3),
        Conv2D(name="c", inputs=(3,), output=4, weights=last, window=window),
    )
    channels = (1, *widths, widths[0], 1)
    types = tuple(
        dataclasses.replace(type_, shape=(*type_.shape[:2], n), channels=n, quantization=ONE)
        for type_, n in zip(graph_types, channels, strict=True)
    )
    tables = tuple(
        Table(bias=np.zeros(n, np.int32), weight_scale=np.ones(n)) if n else None
        for n in (*widths, 0, 1)
    )
    tensors = tuple(Tensor(name=f"t{i}", type=type_) for i, type_ in enumerate(graph_types))
    graph = Graph(tensors=tensors, ops=ops, input=0, output=4)
    return Model(name="m", graph=graph, regions=(Region(dp=50, types=types, tables=tables),))


@pytest.mark.parametrize("op", [ADD, dataclasses.replace(CONCAT, axis=0)])
def test_the_same_channels_must_be_active_on_all_sides(op: Op) -> None:
    verify(branches((3, 3), op))
    with pytest.raises(GraphError, match="region 50 %, op: the same channels must be active"):
        verify(branches((3, 2), op))


@pytest.mark.parametrize("activation", [Activation.RELU6])
def test_a_clamp_beyond_32_bits(activation: Activation) -> None:
    """TensorFlow Lite's overflows where the output's scale is below 6 / 2^31."""
    op = Rescale(name="r", inputs=(0,), output=1, activation=activation)
    for value, fits in ((2.0**-28, True), (2.0**-29, False)):
        model = of(op, (IMAGE, IMAGE), (scale(value), scale(value)))
        if fits:
            verify(model)
            continue
        with pytest.raises(GraphError, match="too small for ReLU6"):
            verify(model)
