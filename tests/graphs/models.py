"""Random scalable models: float and quantised, verified, from a seed alone."""

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from graphs.grow import Builder, Cell
from tesla_embed.ir.graph import Graph, Model, Region, Table
from tesla_embed.ir.ops import Conv2D, Weighted
from tesla_embed.ir.verify import verify
from tesla_embed.quant import calibrate, quantize

Int8 = npt.NDArray[np.int8]
Float32 = npt.NDArray[np.float32]


def float_model(seed: int, name: str = "net", portable: bool = False) -> Model:
    """A random verified float model; `portable` leaves out what a .tflite cannot express."""
    builder = Builder(np.random.default_rng(seed), portable)
    image = builder.chance(0.8)
    builder.begin(tuple(builder.below(n) for n in (8, 8, 4)) if image else (builder.below(20),))
    if image:
        _grow_image(builder)
    dense = 0 if image and builder.chance(0.3) else builder.below(3)
    for index in range(dense):
        _flatten(builder)
        if builder.last.positions == 1 and builder.chance(0.1):
            builder.concat()
        builder.fully_connected(scalable=index < dense - 1 and builder.chance(0.8))
    if builder.scales or not builder.weighted:  # an output never scales
        _flatten(builder)
        builder.fully_connected(scalable=False)
    if builder.chance(0.15):
        builder.softmax()
    return verify(finish(builder, name))


def _flatten(builder: Builder) -> None:
    if len(builder.last.shape) > 1:
        builder.reshape((builder.last.size,))


_GROWTH: dict[str, tuple[float, Callable[[Builder], None]]] = {
    "conv": (0.25, lambda b: b.conv()),
    "depthwise": (0.15, lambda b: b.depthwise(multiplier=b.below(3))),
    "pool": (0.15, lambda b: b.pool()),
    "residual": (0.15, lambda b: b.residual()),
    "concat": (0.1, lambda b: b.concat()),
    "pad": (0.05, lambda b: b.pad()),
    "rescale": (0.05, lambda b: b.rescale()),
    "mean": (0.05, lambda b: b.mean()),
    "logistic": (0.03, lambda b: b.logistic()),
    "softmax": (0.02, lambda b: b.softmax()),
}
"""How often an image grows by what."""


def _grow_image(builder: Builder) -> None:
    shares = [share for share, _ in _GROWTH.values()]
    for _ in range(builder.below(4)):
        kind = str(builder.rng.choice(list(_GROWTH), p=shares))
        _GROWTH[kind][1](builder)
        if builder.chance(0.1):  # the same pixels, arranged otherwise
            height, width, channels = builder.last.shape
            builder.reshape((width, height, channels))


def finish(builder: Builder, name: str, dps: tuple[int, ...] = ()) -> Model:
    """Regions and tables, random ones unless `dps` says which; now and then other numbers."""
    if not dps:
        count = builder.below(4)
        drawn = builder.rng.choice([1, 10, 33, 37, 50, 75, 99, 100], count)
        dps = tuple(sorted({int(dp) for dp in drawn}))
    multiple = builder.below(3)
    regions = tuple(_region(builder, dp, multiple) for dp in dps)
    graph = Graph(
        tensors=tuple(builder.tensors),
        ops=tuple(builder.ops),
        input=0,
        output=len(builder.tensors) - 1,
    )
    model = Model(name=name, graph=graph, regions=regions)
    return _shuffled(model, builder.rng) if builder.chance(0.3) else model


def _region(builder: Builder, dp: int, multiple: int) -> Region:
    types = []
    for tensor, cells in zip(builder.tensors, builder.cells, strict=True):
        full, channels = tensor.type, sum(cell.active(dp, multiple) for cell in cells)
        flat = len(full.shape) == 1
        shape = (full.positions * channels,) if flat else (*full.shape[:2], channels)
        types.append(dataclasses.replace(full, shape=shape, channels=channels))
    tables: list[Table | None] = []
    shared = np.random.default_rng(1)
    for op in builder.ops:
        table = None
        if isinstance(op, Weighted):
            source = shared if builder.chance(0.5) else builder.rng
            bias = source.normal(0, 0.3, types[op.output].channels)
            table = Table(bias=bias.astype(np.float32))
        tables.append(table)
    return Region(dp=dp, types=tuple(types), tables=tuple(tables))


def _shuffled(model: Model, rng: np.random.Generator) -> Model:
    """The same model with its tensors numbered in another order."""
    order = [int(i) for i in rng.permutation(len(model.graph.tensors))]
    place = {old: new for new, old in enumerate(order)}
    ops = tuple(
        dataclasses.replace(op, inputs=tuple(place[i] for i in op.inputs), output=place[op.output])
        for op in model.graph.ops
    )
    graph = Graph(
        tensors=tuple(model.graph.tensors[old] for old in order),
        ops=ops,
        input=place[model.graph.input],
        output=place[model.graph.output],
    )
    regions = tuple(
        dataclasses.replace(region, types=tuple(region.types[old] for old in order))
        for region in model.regions
    )
    return dataclasses.replace(model, graph=graph, regions=regions)


def float_inputs(model: Model, seed: int, count: int) -> Float32:
    """Random normal inputs `[count, *input shape]`."""
    shape = model.graph.tensors[model.graph.input].type.shape
    return np.random.default_rng(seed).normal(0, 1, (count, *shape)).astype(np.float32)


def int8_inputs(model: Model, seed: int, count: int) -> Int8:
    """Random inputs `[count, *input shape]`; the first two are all -128 and all 127."""
    shape = model.graph.tensors[model.graph.input].type.shape
    inputs = np.random.default_rng(seed).integers(-128, 128, (count, *shape), dtype=np.int8)
    inputs[:1], inputs[1:2] = -128, 127
    return inputs


def quantized_model(seed: int, name: str = "net", portable: bool = False) -> Model:
    """`float_model` after calibration and quantisation."""
    model = float_model(seed, name, portable)
    return quantize(model, calibrate(model, float_inputs(model, seed, 16)))


def every_operation() -> Model:
    """A quantised model with every operation and inputs of several parts, in three regions."""
    builder = Builder(np.random.default_rng(7), portable=True)
    builder.begin((9, 8, 3))
    builder.conv(Cell(6, scalable=True), style="keep")
    builder.depthwise(style="keep")
    builder.residual()
    start = builder.at
    branches = []
    for size in (5, 7):
        builder.at = start
        builder.conv(Cell(size, scalable=True), style="keep")
        branches.append(builder.at)
    builder.join(branches, axis=2)
    builder.depthwise(style="same", multiplier=2)
    builder.pad()
    builder.pool(average=True)
    builder.conv(Cell(8, scalable=True), style="same")
    builder.pool(average=False)
    builder.rescale()
    builder.mean()
    builder.logistic()
    builder.reshape((builder.last.size,))
    builder.fully_connected(scalable=False)
    builder.softmax()
    model = verify(finish(builder, "everything", dps=(20, 60, 100)))
    return quantize(model, calibrate(model, float_inputs(model, 0, 16)))


def _rich(model: Model) -> bool:
    dps = [region.dp for region in model.regions]
    return isinstance(model.graph.ops[0], Conv2D) and len(dps) > 1 and 33 not in dps


RICH = next(seed for seed in itertools.count() if _rich(float_model(seed)))
"""A seed whose model begins with a convolution and has several regions, none of them at 33 %."""
