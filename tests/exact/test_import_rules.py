"""Every rule of the verifier that a file can break is told of the operator in the file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from conftest import require
from foreign import Foreign, Shape, floats_of
from shell import call

from tesla_embed.errors import ToolchainError, UnsupportedOp
from tesla_embed.ir.fixedpoint import INT32_MAX
from tesla_embed.ir.types import Quantization
from tesla_embed.tflite.importer import import_tflite

ALMOST = 1 - 2.0**-23
"""With its counterpart above one, a factor that is below a power of two and rounds up to it."""


@pytest.fixture(autouse=True)
def _litert() -> None:
    def find() -> object:
        try:
            import ai_edge_litert.schema_py_generated as schema
        except ImportError as error:
            raise ToolchainError("LiteRT is not installed; run: pip install '.[oracle]'") from error
        return schema

    require(find)


def scaled(scale: float, zero_point: int = 0) -> Quantization:
    return Quantization(scale=float(np.float32(scale)), zero_point=zero_point)


def begin(shape: Shape, scale: float = 0.05) -> Foreign:
    foreign = Foreign(np.random.default_rng(0))
    foreign.at = foreign.value(shape, scaled(scale))
    foreign.entry = foreign.at.index
    return foreign


def apply(
    foreign: Foreign,
    kind: str,
    shape: Shape,
    scale: float = 0.05,
    constants: tuple[int, ...] = (),
    options: Any = None,
) -> Foreign:
    """Append an operator that reads the present value, twice if it is an addition."""
    made = foreign.value(shape, scaled(scale))
    if kind == "SOFTMAX":
        made = foreign.value(shape, Quantization(scale=1 / 256, zero_point=-128))
    sources = [foreign.at.index] * (2 if kind == "ADD" else 1)
    foreign.builder.operator(kind, 2, [*sources, *constants], made.index, options)
    foreign.at = made
    return foreign


def layer(
    weights: npt.NDArray[np.int8],
    scales: tuple[float, float, float] = (0.05, 0.01, 0.05),
    bias: int = 0,
    entry: Shape = (),
    **options: int,
) -> Foreign:
    """One convolution or fully connected layer; scales of input, weights and output."""
    convolution = weights.ndim == 4
    foreign = begin(entry or (weights.shape[-1],), scales[0])
    schema, builder = foreign.schema, foreign.builder
    chosen = schema.Conv2DOptionsT() if convolution else schema.FullyConnectedOptionsT()
    if convolution:
        chosen.strideH = chosen.strideW = 1
    for name, value in options.items():
        setattr(chosen, name, value)
    scale = np.array([np.float32(scales[1])], np.float64)
    biases = np.full(len(weights), bias, np.int32)
    inputs = (
        builder.constant("w", weights, scale),
        builder.constant("b", biases, np.float64(np.float32(scales[0])) * scale),
    )
    shape = (*entry[:2], len(weights))
    kind = "CONV_2D" if convolution else "FULLY_CONNECTED"
    return apply(foreign, kind, shape, scales[2], inputs, chosen)


def pixel(**given: Any) -> Foreign:
    """A convolution of one pixel with one weight."""
    return layer(np.full((1, 1, 1, 1), 127, np.int8), entry=(1, 1, 1), **given)


def padding(amount: int, side: int = 4) -> Foreign:
    foreign = begin((side, side, 1))
    amounts = np.array([(0, 0), (amount, 0), (0, 0), (0, 0)], np.int32)
    constant = foreign.builder.constant("p", amounts)
    return apply(foreign, "PAD", (side + amount, side, 1), constants=(constant,))


def softmax(length: int, scale: float) -> Foreign:
    foreign = begin((length,), scale)
    options = foreign.schema.SoftmaxOptionsT()
    options.beta = 1.0
    return apply(foreign, "SOFTMAX", (length,), options=options)


def added(scale: float) -> Foreign:
    foreign = begin((3,))
    return apply(foreign, "ADD", (3,), scale, options=foreign.schema.AddOptionsT())


def averaged(scale: float) -> Foreign:
    foreign = begin((3, 3, 1))
    axes = foreign.builder.constant("axes", np.array([1, 2], np.int32))
    options = foreign.schema.ReducerOptionsT()
    options.keepDims = True
    return apply(foreign, "MEAN", (1, 1, 1), scale, (axes,), options)


def pools(count: int) -> Foreign:
    """Pools with a fused activation, which are two operations each."""
    foreign = begin((1, 1, 1))
    options = foreign.schema.Pool2DOptionsT()
    options.strideH = options.strideW = options.filterHeight = options.filterWidth = 1
    options.fusedActivationFunction = 1
    for _ in range(count):
        apply(foreign, "MAX_POOL_2D", (1, 1, 1), options=options)
    return foreign


def reshaped(start: Shape, shape: Shape) -> Foreign:
    foreign = begin(start)
    foreign.reshape(shape)
    return foreign


def dilated() -> Foreign:
    weights = np.ones((1, 4, 1, 1), np.int8)
    return layer(weights, entry=(4, 4, 1), dilationHFactor=255)


OPERATOR = r"operator \d+, {} '.*': {}.*; {}"
SIZES = "the C kernels take no more"
SCALES = "convert the network again, calibrated on data"
CASES: dict[str, tuple[Callable[[], Foreign], str, str, str]] = {
    "dimensions": (
        lambda: reshaped((300, 300, 1), (90_000,)),
        "RESHAPE", "shape .* needs 1 to 3 dimensions of 1 to 65535", SIZES,
    ),
    "elements": (lambda: padding(255, 4090), "PAD", "has over 16777216 elements", SIZES),
    "padding": (lambda: padding(300), "PAD", "padding must be 0 to 255", SIZES),
    "dilated": (dilated, "CONV_2D", "padding must be at most 255", SIZES),
    "softmax": (lambda: softmax(600, 0.05), "SOFTMAX", "takes at most 511 values, gets 600", SIZES),
    "softmax scale": (
        lambda: softmax(6, 2.0**-26), "SOFTMAX", "the input's scale is too small", SCALES,
    ),
    "accumulator": (
        lambda: pixel(bias=INT32_MAX), "CONV_2D", "the accumulator can overflow int32", SCALES,
    ),
    "ratio": (
        lambda: pixel(scales=(1.0, 1e10, 1.0)),
        "CONV_2D", "the ratio of input, weight and output scales is out of range", SCALES,
    ),
    "rounded ratio": (
        lambda: pixel(scales=(ALMOST, (1 + 2.0**-23) * 2.0**30, 1.0)),
        "CONV_2D", "the ratio of scales rounds up out of range", SCALES,
    ),
    "requantisation": (
        lambda: pixel(scales=(1.0, 2.0**20, 1.0)),
        "CONV_2D", "requantisation can overflow", SCALES,
    ),
    "transitions": (
        lambda: layer(np.full((8, 60_000), 127, np.int8), (1.0, 0.31, 3e6)),
        "FULLY_CONNECTED", "channel 0: no 31-bit multiplier", "quantise with a smaller",
    ),
    "rescaling": (
        lambda: apply(begin((3,), 1.0), "QUANTIZE", (3,), 2.0**-24),
        "QUANTIZE", "the ratio of input and output scales is out of range", SCALES,
    ),
    "mean": (lambda: averaged(2.0**-30), "MEAN", "the ratio of input and output .*", SCALES),
    "addition": (
        lambda: added(2.0**-30), "ADD", "the output's scale is too small for its inputs", SCALES,
    ),
    "activation": (
        lambda: apply(begin((3,), 1e-9), "RELU6", (3,), 1e-9),
        "RELU6", "a scale of 1e-09 is too small for ReLU6", SCALES,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_operator_is_named(case: str) -> None:
    make, kind, reason, hint = CASES[case]
    with pytest.raises(UnsupportedOp, match=OPERATOR.format(kind, reason, hint)):
        import_tflite(make().finish(), "net")


WHOLE: dict[str, tuple[Callable[[], Foreign], str]] = {
    "a long input": (lambda: reshaped((70_000,), (70, 1000)), "the input .* needs 1 to 3 dim"),
    "a large input": (
        lambda: apply(begin((4096, 4096, 2)), "RELU", (4096, 4096, 2)),
        "the input .*: has over 16777216 elements; the C kernels take no more",
    ),
    "no operation": (lambda: reshaped((6,), (6,)), "the network has no operation; import one that"),
    "only a reshape": (lambda: reshaped((6,), (2, 3)), "the network computes nothing: its output"),
    "too many": (lambda: pools(2100), "the network has over 4096 operations; import one"),
}


@pytest.mark.parametrize("case", WHOLE)
def test_the_input_or_the_network_is_named(case: str) -> None:
    make, message = WHOLE[case]
    with pytest.raises(UnsupportedOp, match=message):
        import_tflite(make().finish(), "net")


def test_float_weights_must_be_finite() -> None:
    foreign = begin((2,))
    foreign.dense(3)
    content = floats_of(foreign)
    weights = foreign.builder.tensors[foreign.builder.operators[0].inputs[1]]
    buffer = foreign.builder.buffers[weights.buffer]
    buffer.data = np.frombuffer(np.full(6, np.inf, np.float32).tobytes(), np.uint8)
    import_tflite(content, "net", floats=True)
    with pytest.raises(UnsupportedOp, match=r"operator 0, FULLY_CONNECTED .*weights are not fin"):
        import_tflite(foreign.finish(), "net", floats=True)


def test_the_command_names_file_and_operator(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "net.tflite", tmp_path / "m.safetensors"
    path.write_bytes(softmax(600, 0.05).finish())
    assert call("import", path, "--out", out) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: {path}: operator 0, SOFTMAX '")
    assert not out.exists()
