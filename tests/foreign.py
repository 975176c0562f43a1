"""Random int8 `.tflite` files, as converters make them, built with LiteRT's own object API.

Scales are chosen so that sums spread over the int8 range; names, missing biases, per-tensor scales,
fused activations and paddings vary as they do in files that people have.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tesla_embed.ir.types import Quantization, TensorType
from tesla_embed.tflite.builder import Builder

Shape = tuple[int, ...]
ACTIVATIONS = {0: "NONE", 1: "RELU", 2: "RELU_N1_TO_1", 3: "RELU6"}


@dataclass(slots=True)
class Value:
    """A tensor of the file: its index, its shape without the batch, and its quantisation."""

    index: int
    shape: Shape
    q: Quantization


@dataclass(slots=True)
class Foreign:
    """A file in the making; `at` is the value that the next operator reads."""

    rng: np.random.Generator
    builder: Builder = field(default_factory=lambda: Builder(1))
    at: Value = field(init=False)
    entry: int = -1
    count: int = 0

    @property
    def schema(self) -> Any:
        return self.builder.schema

    def below(self, limit: int) -> int:
        return int(self.rng.integers(1, limit + 1))

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def name(self) -> str:
        self.count += 1
        names = (
            f"model/layer_{self.count}/Relu;model/layer_{self.count}/BiasAdd",
            f"StatefulPartitionedCall:{self.count}",
            f"{self.count} größe/конв",
            "same name",
            "",
        )
        return str(self.rng.choice(names))

    def quantization(self, scale: float | None = None) -> Quantization:
        value = self.rng.uniform(0.005, 0.2) if scale is None else scale
        zero = int(self.rng.choice([-128, 0, 127, int(self.rng.integers(-128, 128))]))
        return Quantization(scale=float(np.float32(value)), zero_point=zero)

    def value(self, shape: Shape, q: Quantization) -> Value:
        type_ = TensorType(shape=shape, channels=shape[-1], quantization=q)
        return Value(self.builder.activation(self.name(), type_), shape, q)

    def begin(self, shape: Shape, real: bool = False) -> None:
        """The input, with a QUANTIZE after it where the file takes real numbers."""
        self.at = self.value(shape, self.quantization())
        self.entry = self.at.index
        if real:
            self.entry = self.floats(self.at)
            self.builder.operator("QUANTIZE", 1, [self.entry], self.at.index)

    def floats(self, like: Value) -> int:
        """A float32 tensor of the same shape."""
        tensor = self.schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = self.name(), [1, *like.shape], 0
        tensor.type = self.schema.TensorType.FLOAT32
        self.builder.tensors.append(tensor)
        return len(self.builder.tensors) - 1

    def finish(self, real: bool = False) -> bytes:
        """The file, with a DEQUANTIZE at its end where it gives real numbers."""
        result = self.at.index
        if real:
            result = self.floats(self.at)
            self.builder.operator("DEQUANTIZE", 2, [self.at.index], result)
        return self.builder.pack(self.entry, [result])

    def weighted(
        self, builtin: str, data: npt.NDArray[np.int8], axis: int, terms: int
    ) -> tuple[list[int], Quantization]:
        """Inputs of a weighted operator, and an output quantisation that its sums fill."""
        out = data.shape[axis]
        common = self.chance(0.4)
        scale = self.rng.uniform(0.001, 0.01, 1 if common else out).astype(np.float32)
        if self.chance(0.2):
            scale[:] = np.float32(2.0**-7)  # many exact ties
        weights = self.builder.constant("w", data, scale.astype(np.float64), axis)
        inputs = [self.at.index, weights]
        if builtin != "FULLY_CONNECTED" or self.chance(0.7):  # LiteRT's convolutions want one
            bias = self.rng.integers(-3000, 3000, out).astype(np.int32)
            product = np.float64(self.at.q.scale) * scale.astype(np.float64)
            inputs.append(self.builder.constant("b", bias, product))
        elif self.chance(0.5):
            inputs.append(-1)
        spread = self.at.q.scale * float(scale.mean()) * 73 * 75 * math.sqrt(terms)
        ties = self.chance(0.2)
        q = self.quantization(2.0 ** round(math.log2(spread / 40)) if ties else spread / 40)
        return inputs, q

    def window(self, options: Any, height: int, width: int, dilate: bool) -> tuple[Shape, Shape]:
        """Fill in a window; the taps, and the size of the output."""
        padding = self.below(2) - 1
        taps = (self.below(4), self.below(4))
        strides, apart = (self.below(3), self.below(3)), (1, 1)
        if dilate and self.chance(0.2):
            apart = (self.below(2), self.below(3))
        reach = [(n - 1) * d + 1 for n, d in zip(taps, apart, strict=True)]
        if reach[0] > height or reach[1] > width:
            taps, apart, reach = (1, 1), (1, 1), [1, 1]
        options.padding = padding
        options.strideH, options.strideW = strides
        if dilate:
            options.dilationHFactor, options.dilationWFactor = apart
        sizes = [
            -(-n // s) if padding == 0 else (n - r) // s + 1
            for n, r, s in zip((height, width), reach, strides, strict=True)
        ]
        return taps, tuple(sizes)

    def activation(self, options: Any) -> None:
        options.fusedActivationFunction = int(self.rng.choice(list(ACTIVATIONS)))

    def conv(self) -> None:
        height, width, channels = self.at.shape
        options = self.schema.Conv2DOptionsT()
        taps, size = self.window(options, height, width, dilate=True)
        self.activation(options)
        out = self.below(8)
        data = self.rng.integers(-128, 128, (out, *taps, channels)).astype(np.int8)
        terms = channels * math.prod(taps)
        inputs, q = self.weighted("CONV_2D", data, 0, terms)
        made = self.value((*size, out), q)
        self.builder.operator("CONV_2D", 3, inputs, made.index, options)
        self.at = made

    def depthwise(self) -> None:
        height, width, channels = self.at.shape
        options = self.schema.DepthwiseConv2DOptionsT()
        taps, size = self.window(options, height, width, dilate=True)
        self.activation(options)
        options.depthMultiplier = self.below(2)
        out = channels * options.depthMultiplier
        data = self.rng.integers(-128, 128, (1, *taps, out)).astype(np.int8)
        inputs, q = self.weighted("DEPTHWISE_CONV_2D", data, 3, math.prod(taps))
        made = self.value((*size, out), q)
        self.builder.operator("DEPTHWISE_CONV_2D", 3, inputs, made.index, options)
        self.at = made

    def dense(self, out: int | None = None) -> None:
        size = math.prod(self.at.shape)
        out = out or self.below(12)
        data = self.rng.integers(-128, 128, (out, size)).astype(np.int8)
        options = self.schema.FullyConnectedOptionsT()
        self.activation(options)
        leading = self.at.shape[:-1]
        options.keepNumDims = math.prod(leading) == 1 and self.chance(0.5)
        inputs, q = self.weighted("FULLY_CONNECTED", data, 0, size)
        shape = (*leading, out) if options.keepNumDims else (out,)
        made = self.value(shape, q)
        self.builder.operator("FULLY_CONNECTED", 12, inputs, made.index, options)
        self.at = made

    def pool(self) -> None:
        height, width, channels = self.at.shape
        options = self.schema.Pool2DOptionsT()
        taps, size = self.window(options, height, width, dilate=False)
        options.filterHeight, options.filterWidth = taps
        self.activation(options)
        made = self.value((*size, channels), self.at.q)
        kind = str(self.rng.choice(["MAX_POOL_2D", "AVERAGE_POOL_2D"]))
        self.builder.operator(kind, 2, [self.at.index], made.index, options)
        self.at = made

    def residual(self) -> None:
        """An addition around a depthwise convolution or a change of quantisation."""
        start = self.at
        if len(start.shape) == 3 and self.chance(0.7):
            channels = start.shape[-1]
            data = self.rng.integers(-128, 128, (1, 3, 3, channels)).astype(np.int8)
            options = self.schema.DepthwiseConv2DOptionsT()
            options.padding, options.strideH, options.strideW = 0, 1, 1
            options.depthMultiplier = 1
            inputs, q = self.weighted("DEPTHWISE_CONV_2D", data, 3, 9)
            made = self.value(start.shape, q)
            self.builder.operator("DEPTHWISE_CONV_2D", 3, inputs, made.index, options)
            self.at = made
        else:
            self.rescale()
        options = self.schema.AddOptionsT()
        self.activation(options)
        sides = [start, self.at]
        self.rng.shuffle(sides)
        total = self.value(start.shape, self.quantization(max(s.q.scale for s in sides) * 1.5))
        self.builder.operator("ADD", 2, [side.index for side in sides], total.index, options)
        self.at = total

    def rescale(self) -> None:
        kind = str(self.rng.choice(["QUANTIZE", "RELU", "RELU6", "RELU_N1_TO_1"]))
        made = self.value(
            self.at.shape, self.quantization(self.at.q.scale * self.rng.uniform(0.5, 2))
        )
        version = 1 if kind == "RELU_N1_TO_1" else 2
        self.builder.operator(kind, version, [self.at.index], made.index)
        self.at = made

    def concat(self) -> None:
        """With a requantised copy of itself, in any order along any axis."""
        start, axis = self.at, self.below(len(self.at.shape)) - 1
        made = self.value(start.shape, self.quantization())
        self.builder.operator("QUANTIZE", 2, [start.index], made.index)
        again = self.value(start.shape, made.q)
        self.builder.operator("QUANTIZE", 2, [start.index], again.index)
        shape = list(start.shape)
        shape[axis] *= 2
        options = self.schema.ConcatenationOptionsT()
        options.axis = axis + 1 if self.chance(0.5) else axis - len(shape)
        joined = self.value(tuple(shape), made.q)
        self.builder.operator("CONCATENATION", 2, [again.index, made.index], joined.index, options)
        self.at = joined

    def pad(self) -> None:
        top, bottom, left, right = (int(n) for n in self.rng.integers(0, 3, 4))
        height, width, channels = self.at.shape
        amounts = np.array([(0, 0), (top, bottom), (left, right), (0, 0)], np.int32)
        made = self.value((height + top + bottom, width + left + right, channels), self.at.q)
        constant = self.builder.constant("paddings", amounts)
        options = self.schema.PadOptionsT()
        self.builder.operator("PAD", 1, [self.at.index, constant], made.index, options)
        self.at = made

    def mean(self) -> None:
        channels = self.at.shape[-1]
        options = self.schema.ReducerOptionsT()
        options.keepDims = self.chance(0.5)
        axes = self.rng.choice([(1, 2), (2, 1), (-3, -2)]).astype(np.int32)
        shape = (1, 1, channels) if options.keepDims else (channels,)
        made = self.value(shape, self.quantization(self.at.q.scale * self.rng.uniform(0.3, 1)))
        constant = self.builder.constant("axes", axes)
        self.builder.operator("MEAN", 2, [self.at.index, constant], made.index, options)
        self.at = made

    def reshape(self, shape: Shape) -> None:
        """By a constant, by the options, or by SQUEEZE's or the output's shape alone."""
        made = self.value(shape, self.at.q)
        wanted = [1, *shape]
        if self.chance(0.5):
            wanted[int(self.rng.integers(1, len(wanted)))] = -1
        options = self.schema.ReshapeOptionsT()
        options.newShape = wanted
        inputs = [self.at.index]
        if self.chance(0.7):
            inputs.append(self.builder.constant("shape", np.array(wanted, np.int32)))
        self.builder.operator("RESHAPE", 1, inputs, made.index, options)
        self.at = made

    def unit(self) -> None:
        """A softmax or a logistic."""
        made = self.value(self.at.shape, Quantization(scale=1 / 256, zero_point=-128))
        if self.chance(0.5):
            self.builder.operator("LOGISTIC", 2, [self.at.index], made.index)
        else:
            options = self.schema.SoftmaxOptionsT()
            options.beta = 1.0
            self.builder.operator("SOFTMAX", 2, [self.at.index], made.index, options)
        self.at = made


def random_file(seed: int, unit: bool = True) -> bytes:
    """A convolutional network; `unit` lets it end in a softmax or logistic."""
    foreign = random_network(seed, unit)
    return foreign.finish(real=foreign.chance(0.4))


def random_floats(seed: int) -> bytes:
    """A convolutional network of float32."""
    return floats_of(random_network(seed, real=False))


def floats_of(foreign: Foreign) -> bytes:
    """The same network in float32; what rescales becomes a ReLU."""
    schema, builder = foreign.schema, foreign.builder
    for tensor in builder.tensors:
        q, constant = tensor.quantization, builder.buffers[tensor.buffer].data
        if constant is not None and q is None:
            continue  # a shape and the like
        if constant is not None:
            kind = np.int8 if tensor.type == schema.TensorType.INT8 else np.int32
            integers = np.frombuffer(constant.tobytes(), kind).reshape(tensor.shape)
            along = [1] * len(tensor.shape)
            along[q.quantizedDimension] = len(q.scale)
            values = (integers * np.array(q.scale).reshape(along)).astype("<f4")
            builder.buffers[tensor.buffer].data = np.frombuffer(values.tobytes(), np.uint8)
        tensor.type, tensor.quantization = schema.TensorType.FLOAT32, None
    plain = {schema.BuiltinOperator.QUANTIZE: schema.BuiltinOperator.RELU}
    builder.codes = [(plain.get(kind, kind), version) for kind, version in builder.codes]
    return foreign.finish()


def random_network(seed: int, unit: bool = True, real: bool = True) -> Foreign:
    """A file in the making; `real` lets it begin with real numbers."""
    foreign = Foreign(np.random.default_rng([seed, 7]))
    shape = tuple(foreign.below(n) for n in (9, 9, 4))
    foreign.begin(shape, real=foreign.chance(0.4) and real)
    if foreign.chance(0.2):
        foreign.reshape((shape[1], shape[2], shape[0]))
    steps = ["conv", "depthwise", "pool", "residual", "rescale", "concat", "pad", "conv"]
    for _ in range(foreign.below(5)):
        getattr(foreign, str(foreign.rng.choice(steps)))()
    ending = foreign.below(4)
    if ending == 1:
        foreign.mean()
    elif ending == 2:
        foreign.reshape((math.prod(foreign.at.shape),))
    if ending > 1 or foreign.chance(0.7):
        for _ in range(foreign.below(3)):
            foreign.dense()
    if unit and foreign.chance(0.5):
        foreign.unit()
    return foreign


def autoencoder(seed: int) -> bytes:
    """Fully connected layers down to a bottleneck and up again."""
    foreign = Foreign(np.random.default_rng([seed, 8]))
    foreign.begin((40,), real=foreign.chance(0.5))
    for out in (16, 16, 4, 16, 16, 40):
        foreign.dense(out)
    return foreign.finish(real=foreign.chance(0.5))
