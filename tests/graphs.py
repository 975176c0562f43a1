"""Random scalable models for tests, and the C of many models in one program.

`float_model`, `quantized_model` and `extreme_model` make verified models from a seed alone.
`Native` generates the C of some models, builds one program from it and runs inputs through any
region; every input, output and arena it hands to a model is a heap block of the exact size.
"""

import dataclasses
import math
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tesla_codegen.project import generate
from tesla_embed.ir.fixedpoint import INT32_MAX, quantize_multiplier
from tesla_embed.ir.graph import Graph, Model, Region, Table, active_channels
from tesla_embed.ir.ops import (
    Activation,
    AveragePool2D,
    Conv2D,
    FullyConnected,
    MaxPool2D,
    Op,
    Reshape,
    Weighted,
    Window,
)
from tesla_embed.ir.requantization import quantization, rescale_factors
from tesla_embed.ir.specialize import active_weights
from tesla_embed.ir.types import DType, Quantization, Tensor, TensorType, Weights
from tesla_embed.ir.verify import verify
from tesla_embed.quant import calibrate, quantize

Int8 = npt.NDArray[np.int8]
Float32 = npt.NDArray[np.float32]

STRICT = (
    *("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow"),
    *("-Wmissing-prototypes", "-Werror"),
)
"""What every generated and static C file must pass without a warning."""


@dataclass(slots=True)
class _Builder:
    """A chain of operations that grows from a random input."""

    rng: np.random.Generator
    portable: bool
    tensors: list[Tensor] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    scalable: list[bool] = field(default_factory=list)  # by tensor: follows the DP percentage

    @property
    def last(self) -> TensorType:
        return self.tensors[-1].type

    def below(self, limit: int) -> int:  # 1 to `limit`
        return int(self.rng.integers(1, limit + 1))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def add(self, op: Op, shape: tuple[int, ...], channels: int, scalable: bool) -> None:
        type_ = TensorType(shape=shape, channels=channels, dtype=DType.FLOAT32)
        self.ops.append(op)
        self.tensors.append(Tensor(name=op.name, type=type_))
        self.scalable.append(scalable)

    def ends(self, kind: str) -> tuple[str, int, int]:
        """Name, input and output of the next operation."""
        return f"{kind}{len(self.ops)}", len(self.tensors) - 1, len(self.tensors)

    def window(self, pool: bool) -> Window:
        """A random window that fits the last image."""
        height, width = self.last.shape[:2]
        style = self.rng.choice(["valid", "same", "valid" if pool and self.portable else "free"])
        rows, columns = self.below(4), self.below(4)
        if style == "valid":
            rows, columns = min(rows, height), min(columns, width)
        strides = self.below(3), self.below(3)
        vertical = self._padding(str(style), height, rows, strides[0])
        horizontal = self._padding(str(style), width, columns, strides[1])
        pads = dict(zip(("pad_top", "pad_bottom"), vertical, strict=True))
        pads |= dict(zip(("pad_left", "pad_right"), horizontal, strict=True))
        return Window(
            height=rows, width=columns, stride_height=strides[0], stride_width=strides[1], **pads
        )

    def _padding(self, style: str, length: int, size: int, stride: int) -> tuple[int, int]:
        if style == "valid":
            return 0, 0
        if style == "same":
            total = max((-(-length // stride) - 1) * stride + size - length, 0)
            return total // 2, total - total // 2
        before, after = (int(n) for n in self.rng.integers(0, size, 2))
        return before, max(after, min(size - 1, size - length - before))

    def conv(self, scalable: bool) -> None:
        window, outputs = self.window(pool=False), self.below(9)
        if not _fits(window, self.last):
            return
        name, source, target = self.ends("conv")
        shape = (outputs, window.height, window.width, self.last.channels)
        op = Conv2D(
            name=name,
            input=source,
            output=target,
            weights=self.weights(shape),
            window=window,
            activation=self.activation(),
        )
        size = window.output_size(*self.last.shape[:2])
        self.add(op, (*size, outputs), outputs, scalable)

    def pool(self) -> None:
        window = self.window(pool=True)
        if not _fits(window, self.last):
            return
        kind = MaxPool2D if self.chance(0.5) else AveragePool2D
        name, source, target = self.ends("pool")
        op = kind(name=name, input=source, output=target, window=window)
        channels = self.last.channels
        size = window.output_size(*self.last.shape[:2])
        self.add(op, (*size, channels), channels, self.scalable[-1])

    def reshape(self, shape: tuple[int, ...]) -> None:
        name, source, target = self.ends("reshape")
        op = Reshape(name=name, input=source, output=target)
        self.add(op, shape, self.last.channels, self.scalable[-1])

    def fully_connected(self, scalable: bool) -> None:
        outputs = self.below(12)
        name, source, target = self.ends("fc")
        op = FullyConnected(
            name=name,
            input=source,
            output=target,
            weights=self.weights((outputs, self.last.size)),
            activation=self.activation(),
        )
        self.add(op, (outputs,), outputs, scalable)

    def weights(self, shape: tuple[int, ...]) -> Weights:
        """Normal weights; now and then a dead or a nearly dead channel."""
        data = self.rng.normal(0, 1 / math.sqrt(math.prod(shape[1:])), shape)
        fates = self.rng.choice([1.0, 0.0, 0.01], shape[0], p=[0.9, 0.04, 0.06])
        fates[0] = 1.0
        scaled = data * fates.reshape(-1, *(1 for _ in shape[1:]))
        return Weights(data=scaled.astype(np.float32))

    def activation(self) -> Activation:
        return Activation(str(self.rng.choice([a.value for a in Activation])))


def _fits(window: Window, type_: TensorType) -> bool:
    return min(window.output_size(*type_.shape[:2])) >= 1


def float_model(seed: int, name: str = "net", portable: bool = False) -> Model:
    """A random verified float model; `portable` leaves out what a .tflite cannot express."""
    builder = _Builder(np.random.default_rng(seed), portable)
    image = builder.chance(0.7)
    shape = tuple(builder.below(n) for n in (8, 8, 4)) if image else (builder.below(20),)
    type_ = TensorType(shape=shape, channels=shape[-1], dtype=DType.FLOAT32)
    builder.tensors.append(Tensor(name="input", type=type_))
    builder.scalable.append(False)
    if image:
        _grow_image(builder)
    dense = 0 if image and builder.chance(0.3) else builder.below(3)
    for index in range(dense):
        builder.fully_connected(scalable=index < dense - 1 and builder.chance(0.8))
    if not any(isinstance(op, Weighted) for op in builder.ops):
        if len(builder.last.shape) > 1:
            builder.reshape((builder.last.size,))
        builder.fully_connected(scalable=False)
    return verify(_finish(builder, name))


def _grow_image(builder: _Builder) -> None:
    for _ in range(builder.below(4)):
        if builder.chance(0.6):
            builder.conv(scalable=builder.chance(0.8))
        else:
            builder.pool()
        if builder.chance(0.1):  # the same pixels, arranged otherwise
            height, width, channels = builder.last.shape
            builder.reshape((width, height, channels))
    builder.reshape((builder.last.size,))


def _finish(builder: _Builder, name: str) -> Model:
    """Regions and tables; the tensors in an order of their own now and then."""
    tail = builder.scalable[-1]  # an output that would scale: its producer must not
    for index in reversed(range(len(builder.ops))):
        if not tail:
            break
        builder.scalable[index + 1] = False
        tail = not isinstance(builder.ops[index], Weighted)
    count = builder.below(4)
    dps = sorted({int(dp) for dp in builder.rng.choice([1, 10, 33, 37, 50, 75, 99, 100], count)})
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


def _region(builder: _Builder, dp: int, multiple: int) -> Region:
    types = [builder.tensors[0].type]
    tables: list[Table | None] = []
    shared = np.random.default_rng(1)
    for op, tensor, scalable in zip(
        builder.ops, builder.tensors[1:], builder.scalable[1:], strict=True
    ):
        full, channels = tensor.type, types[-1].channels
        if isinstance(op, Weighted):
            channels = full.channels
            channels = active_channels(channels, dp, multiple) if scalable else channels
            bias = (shared if builder.chance(0.5) else builder.rng).normal(0, 0.3, channels)
            tables.append(Table(bias=bias.astype(np.float32)))
        else:
            tables.append(None)
        flat = len(full.shape) == 1
        shape = (full.positions * channels,) if flat else (*full.shape[:2], channels)
        types.append(dataclasses.replace(full, shape=shape, channels=channels))
    return Region(dp=dp, types=tuple(types), tables=tuple(tables))


def _shuffled(model: Model, rng: np.random.Generator) -> Model:
    """The same model with its tensors numbered in another order."""
    order = [int(i) for i in rng.permutation(len(model.graph.tensors))]
    place = {old: new for new, old in enumerate(order)}
    ops = tuple(
        dataclasses.replace(op, input=place[op.input], output=place[op.output])
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


def extreme_model(seed: int, name: str = "net", portable: bool = False) -> Model:
    """A quantised model at the edges of what `verify` accepts.

    Mantissas next to 2^30 and 2^31, shifts from -31 to the left, factors that vanish, zero points
    at the ends, weights of ±127, biases as large as the accumulator allows; tables of every region
    its own.
    """
    rng = np.random.default_rng([seed, 1])
    model = quantized_model(seed, name, portable)
    ops = tuple(_extreme_op(op, rng) for op in model.graph.ops)
    model = dataclasses.replace(model, graph=dataclasses.replace(model.graph, ops=ops))
    entry = _extreme_quantization(rng)
    regions = tuple(_extreme_region(model, region, entry, rng) for region in model.regions)
    return verify(dataclasses.replace(model, regions=regions))


def _extreme_op(op: Op, rng: np.random.Generator) -> Op:
    if not isinstance(op, Weighted):
        return op
    data = rng.choice(np.array([-127, -126, -1, 0, 1, 127], np.int8), op.weights.data.shape)
    quiet = rng.random(len(data)) < 0.3  # sums stay small: room for a shift to the left
    data[quiet] = np.clip(data[quiet], -1, 1) * (rng.random(data[quiet].shape) < 0.2)
    assert op.weights.scale is not None
    return dataclasses.replace(op, weights=Weights(data=data, scale=op.weights.scale.copy()))


def _extreme_quantization(rng: np.random.Generator) -> Quantization:
    zero = int(rng.choice([-128, 127, 0, -1, int(rng.integers(-128, 128))]))
    scale = float(np.float32(2.0 ** rng.uniform(-14, 8)))
    return Quantization(scale=scale, zero_point=zero)


def _extreme_region(
    model: Model, region: Region, entry: Quantization, rng: np.random.Generator
) -> Region:
    graph, types = model.graph, list(region.types)
    types[graph.input] = dataclasses.replace(types[graph.input], quantization=entry)
    tables: list[Table | None] = []
    for op in graph.ops:
        weighted = isinstance(op, Weighted)
        q = _extreme_quantization(rng) if weighted else quantization(types[op.input])
        types[op.output] = dataclasses.replace(types[op.output], quantization=q)
        source, target = types[op.input], types[op.output]
        table = None
        if isinstance(op, Weighted):
            data = active_weights(op, graph.tensors[op.input].type, source, target)
            table = _extreme_table(data, source, target, rng)
        tables.append(table)
    return dataclasses.replace(region, types=tuple(types), tables=tuple(tables))


def _extreme_table(
    data: npt.NDArray[np.generic],
    source: TensorType,
    target: TensorType,
    rng: np.random.Generator,
) -> Table:
    """Factors and biases at the edge, pulled back where the accumulator would overflow."""
    count = len(data)
    sums = np.abs(data.reshape(count, -1).astype(np.int64)).sum(axis=1) * 255
    mantissa = rng.choice([0.5, 1 - 2.0**-24, 0.5 + 2.0**-24, rng.uniform(0.5, 1)], count)
    room = np.floor(np.log2((INT32_MAX - 128) / np.maximum(sums, 1))).astype(np.int64) - 1
    edge = np.minimum(room, 20)
    fitting = 10 - np.ceil(np.log2(sums + 1)).astype(np.int64)  # spreads over the int8 range
    anywhere = rng.integers(-34, 0, count)
    choice = rng.choice(3, count, p=[0.2, 0.65, 0.15])
    exponent = np.minimum(np.choose(choice, [edge, fitting, anywhere]), edge)
    ratio = quantization(target).scale / quantization(source).scale
    scale = (np.ldexp(mantissa, exponent) * ratio).astype(np.float32).astype(np.float64)
    bare = Table(bias=np.zeros(count, np.int32), weight_scale=scale.copy())
    shift = quantize_multiplier(rescale_factors(source, target, bare)).shift.astype(np.int64)
    limit = ((INT32_MAX - 128) >> np.maximum(shift, 0)) - sums
    part = rng.choice([1.0, -1.0, 0.0, 1e-6, -1e-3], count, p=[0.1, 0.1, 0.5, 0.2, 0.1])
    bias = np.trunc(limit * part).astype(np.int32)
    return Table(bias=bias, weight_scale=scale)


_DRIVER_HEAD = """
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static int8_t *block(size_t size) {
    int8_t *memory = malloc(size);
    if (memory == NULL) exit(9);
    return memory;
}
static void record(void *user, uint16_t layer, const int8_t *output, uint32_t size) {
    uint32_t head[2] = { layer, size };
    fwrite(head, 4, 2, (FILE *)user);
    fwrite(output, 1, size, (FILE *)user);
}
"""

_DRIVER_MODEL = """
#include "tesla_{n}.h"
static int run_{n}(uint8_t dp, unsigned count) {{
    tesla_{n}_t ctx;
    int8_t *input = block(TESLA_{N}_INPUT_BYTES), *output = block(TESLA_{N}_OUTPUT_BYTES);
    int8_t *before = block(TESLA_{N}_INPUT_BYTES);
    void *arena = block(TESLA_{N}_ARENA_BYTES);
    if (tesla_{n}_init(&ctx, arena) != TESLA_OK || tesla_{n}_set_dp(&ctx, dp) != TESLA_OK) return 1;
    tesla_{n}_set_callback(&ctx, record, stdout);
    while (count-- > 0u) {{
        if (fread(input, 1, TESLA_{N}_INPUT_BYTES, stdin) != TESLA_{N}_INPUT_BYTES) return 2;
        memcpy(before, input, TESLA_{N}_INPUT_BYTES);
        memset(arena, 0xA5, TESLA_{N}_ARENA_BYTES);
        memset(output, 0x5A, TESLA_{N}_OUTPUT_BYTES);
        if (tesla_{n}_run(&ctx, input, output) != TESLA_OK) return 3;
        if (memcmp(before, input, TESLA_{N}_INPUT_BYTES) != 0) return 4;
        fwrite(output, 1, TESLA_{N}_OUTPUT_BYTES, stdout);
    }}
    free(input); free(output); free(before); free(arena);
    return 0;
}}
"""

_DRIVER_MAIN = """
int main(void) {
    uint32_t head[3]; /* model, DP percentage, samples */
    while (fread(head, 4, 3, stdin) == 3) {
        const int status = runs[head[0]]((uint8_t)head[1], head[2]);
        if (status != 0) return 10 + status;
    }
    return 0;
}
"""


@dataclass(frozen=True, slots=True)
class Request:
    """Samples `[N, *input shape]` for one region of the model at index `model`."""

    model: int
    dp: int
    inputs: Int8


class Native:
    """One program that holds the generated C of several models, compiled without a warning."""

    def __init__(
        self, models: Sequence[Model], folder: Path, compiler: Sequence[str], flags: Sequence[str]
    ) -> None:
        self.models = [dataclasses.replace(m, name=f"m{i}") for i, m in enumerate(models)]
        self.program = folder / "program"
        kernels: dict[str, Path] = {}
        sources: list[Path] = []
        includes: list[str] = []
        for model in self.models:
            root = folder / model.name
            generate(model, root)
            kernels |= {path.name: path for path in (root / "src/kernels").glob("*.c")}
            sources += sorted((root / "src").glob("*.c"))
            includes += ["-I", str(root / "include")]
        (folder / "driver.c").write_text(self._driver())
        units = [str(path) for path in (*kernels.values(), *sources)]
        compile_c([*compiler, *STRICT, *flags, *includes, "-c", *units], folder)
        made = [path.name for path in sorted(folder.glob("*.o"))]
        compile_c([*compiler, *flags, *includes, "driver.c", *made, "-o", "program"], folder)

    def _driver(self) -> str:
        bodies = [_DRIVER_MODEL.format(n=m.name, N=m.name.upper()) for m in self.models]
        runs = ", ".join(f"run_{model.name}" for model in self.models)
        table = f"static int (*const runs[])(uint8_t, unsigned) = {{ {runs} }};\n"
        return "".join([_DRIVER_HEAD, *bodies, table, _DRIVER_MAIN])

    def layers(self, requests: Sequence[Request]) -> list[list[Int8]]:
        """Per request the `[N, *shape]` results of every layer, then the output's own buffer."""
        stream = b"".join(
            np.array([r.model, r.dp, len(r.inputs)], "<u4").tobytes() + r.inputs.tobytes()
            for r in requests
        )
        done = subprocess.run([self.program], input=stream, capture_output=True, check=False)
        assert done.returncode == 0, f"exit status {done.returncode}: {done.stderr.decode()}"
        trace = _Trace(done.stdout)
        results = [trace.read(self.models[request.model], request) for request in requests]
        assert trace.position == len(done.stdout)
        return results


@dataclass(slots=True)
class _Trace:
    content: bytes
    position: int = 0

    def take(self, size: int) -> bytes:
        self.position += size
        return self.content[self.position - size : self.position]

    def read(self, model: Model, request: Request) -> list[Int8]:
        region = model.region(request.dp)
        ops = [op for op in model.graph.ops if not isinstance(op, Reshape)]
        shapes = [region.types[op.output].shape for op in ops]
        shapes.append(region.types[model.graph.output].shape)
        samples: list[list[Int8]] = [[] for _ in shapes]
        for _ in range(len(request.inputs)):
            for index, shape in enumerate(shapes):
                size = math.prod(shape)
                if index < len(ops):
                    head = np.frombuffer(self.take(8), "<u4").tolist()
                    assert head == [index, size], f"{ops[index].name} reports layer, size {head}"
                samples[index].append(np.frombuffer(self.take(size), np.int8).reshape(shape))
        return [np.stack(layer) for layer in samples]


def compile_c(command: Sequence[str], folder: Path) -> None:
    """Run a compiler in `folder`; fails with what it said."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command[:12])} ...\n{done.stdout}{done.stderr}"


def first_difference(name: str, actual: Int8, expected: Int8) -> str:
    """Empty if equal; otherwise where two results differ first, and by what."""
    if actual.shape != expected.shape:
        return f"{name}: shape {actual.shape} instead of {expected.shape}"
    where = np.argwhere(actual != expected)
    if not len(where):
        return ""
    index = tuple(int(i) for i in where[0])
    return f"{name}{list(index)}: {actual[index]} instead of {expected[index]}"
