"""One test per rule: a good model, one mutation, and a message that names the culprit.

The good model: a (4, 5, 2) image → conv (3 of 6 channels at 50 %) → max pool → reshape →
fully connected → 3 outputs.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from graphs import extreme_model, float_model, quantized_model

from tesla_embed.errors import GraphError
from tesla_embed.ir.fixedpoint import INT32_MAX
from tesla_embed.ir.graph import Graph, Model, Region, Table
from tesla_embed.ir.ops import Conv2D, FullyConnected, MaxPool2D, Op, Reshape, Window
from tesla_embed.ir.types import DType, Quantization, Tensor, TensorType, Weights
from tesla_embed.ir.verify import MAX_ELEMENTS, verify

SCALES = (0.5, 0.25, 0.25, 0.25, 2.0)
SHAPES = ((4, 5, 2), (4, 5, 6), (2, 2, 6), (24,), (3,))
ACTIVE = ((4, 5, 2), (4, 5, 3), (2, 2, 3), (12,), (3,))
CHANNELS, ACTIVE_CHANNELS = (2, 6, 6, 6, 3), (2, 3, 3, 3, 3)
NAMES = ("image", "conv", "pool", "flat", "logits")


def good(float_: bool = False) -> Model:
    dtype = DType.FLOAT32 if float_ else DType.INT8
    plain = [
        TensorType(shape=shape, channels=channels, dtype=dtype)
        for shape, channels in zip(SHAPES, CHANNELS, strict=True)
    ]
    tensors = tuple(Tensor(name=n, type=t) for n, t in zip(NAMES, plain, strict=True))
    graph = Graph(tensors=tensors, ops=_ops(float_), input=0, output=4)
    regions = (
        _region(50, plain, ACTIVE, ACTIVE_CHANNELS),
        _region(100, plain, SHAPES, CHANNELS),
    )
    return Model(name="good", graph=graph, regions=regions)


def _ops(float_: bool) -> tuple[Op, ...]:
    window = Window(height=3, width=3, pad_top=1, pad_bottom=1, pad_left=1, pad_right=1)
    return (
        Conv2D(
            name="conv", inputs=(0,), output=1, weights=_weights(float_, 6, 3, 3, 2), window=window
        ),
        MaxPool2D(
            name="pool",
            inputs=(1,),
            output=2,
            window=Window(height=2, width=2, stride_height=2, stride_width=2),
        ),
        Reshape(name="flat", inputs=(2,), output=3),
        FullyConnected(name="dense", inputs=(3,), output=4, weights=_weights(float_, 3, 24)),
    )


def _weights(float_: bool, *shape: int) -> Weights:
    data = np.random.default_rng(0).integers(-127, 128, shape)
    if float_:
        return Weights(data=data.astype(np.float32))
    return Weights(data=data.astype(np.int8), scale=np.full(shape[0], 0.125))


def _region(
    dp: int, plain: list[TensorType], shapes: tuple[tuple[int, ...], ...], channels: tuple[int, ...]
) -> Region:
    float_ = plain[0].dtype is DType.FLOAT32
    types = tuple(
        dataclasses.replace(
            type_,
            shape=shape,
            channels=count,
            quantization=None if float_ else Quantization(scale=scale, zero_point=-128),
        )
        for type_, shape, count, scale in zip(plain, shapes, channels, SCALES, strict=True)
    )
    tables = (_table(float_, channels[1]), None, None, _table(float_, 3))
    return Region(dp=dp, types=types, tables=tables)


def _table(float_: bool, count: int) -> Table:
    if float_:
        return Table(bias=np.ones(count, np.float32))
    return Table(bias=np.ones(count, np.int32), weight_scale=np.full(count, 0.125))


Change = Callable[[Model], Model]


def graph_with(**fields: Any) -> Change:
    return lambda m: dataclasses.replace(m, graph=dataclasses.replace(m.graph, **fields))


def op_with(index: int, **fields: Any) -> Change:
    def change(model: Model) -> Model:
        ops = list(model.graph.ops)
        ops[index] = dataclasses.replace(ops[index], **fields)
        return graph_with(ops=tuple(ops))(model)

    return change


def tensor_with(index: int, name: str | None = None, **fields: Any) -> Change:
    def change(model: Model) -> Model:
        tensors = list(model.graph.tensors)
        old = tensors[index]
        type_ = dataclasses.replace(old.type, **fields)
        tensors[index] = Tensor(name=old.name if name is None else name, type=type_)
        return graph_with(tensors=tuple(tensors))(model)

    return change


def region_with(index: int, **fields: Any) -> Change:
    def change(model: Model) -> Model:
        regions = list(model.regions)
        regions[index] = dataclasses.replace(regions[index], **fields)
        return dataclasses.replace(model, regions=tuple(regions))

    return change


def active_with(index: int, region: int = 0, **fields: Any) -> Change:
    def change(model: Model) -> Model:
        types = list(model.regions[region].types)
        types[index] = dataclasses.replace(types[index], **fields)
        return region_with(region, types=tuple(types))(model)

    return change


def table_with(index: int, table: Table | None) -> Change:
    def change(model: Model) -> Model:
        tables = list(model.regions[0].tables)
        tables[index] = table
        return region_with(0, tables=tuple(tables))(model)

    return change


def weights_with(index: int, data: Any, scale: Any = None, bits: int = 8) -> Change:
    return op_with(index, weights=Weights(data=np.array(data), scale=scale, bits=bits))


def window_with(index: int, **fields: Any) -> Change:
    def change(model: Model) -> Model:
        op = model.graph.ops[index]
        assert isinstance(op, Conv2D | MaxPool2D)
        return op_with(index, window=dataclasses.replace(op.window, **fields))(model)

    return change


def scale(value: float, zero_point: int = -128) -> Quantization:
    return Quantization(scale=value, zero_point=zero_point)


def bias_table(bias: Any, weight_scale: Any = (0.125,) * 3) -> Table:
    return Table(bias=np.array(bias), weight_scale=np.array(weight_scale))


POOL = MaxPool2D(name="pool2", inputs=(3,), output=4, window=Window(height=1, width=1))
I8 = np.zeros((6, 3, 3, 2), np.int8)
EIGHTH = np.full(6, 0.125)
NARROW = dataclasses.replace(good().regions[0].types[4], shape=(2,), channels=2)

RULES: dict[str, tuple[Change, str]] = {
    "model name": (lambda m: dataclasses.replace(m, name="9lives"), "model: the name '9lives'"),
    "long name": (lambda m: dataclasses.replace(m, name="a" * 64), "at most 63"),
    "newline in a name": (lambda m: dataclasses.replace(m, name="net\n"), "no C identifier"),
    "tensor name": (tensor_with(1, name="a b"), "tensor: the name 'a b'"),
    "operation name": (op_with(0, name='x"'), "operation: the name"),
    "equal tensor names": (tensor_with(1, name="pool"), "the tensors: share a name"),
    "equal operation names": (op_with(1, name="conv"), "the operations: share a name"),
    "no operation": (graph_with(ops=()), "the graph: has no operation"),
    "many operations": (
        graph_with(ops=good().graph.ops * 1025),
        "the graph: has over 4096 operations",
    ),
    "input out of range": (graph_with(input=5), "the graph: input 5 is no tensor"),
    "negative input": (graph_with(input=-1), "the graph: input -1 is no tensor"),
    "unknown tensor": (op_with(1, output=9), "pool: refers to a tensor that does not exist"),
    "negative tensor": (op_with(1, inputs=(-2,)), "pool: refers to a tensor that does not exist"),
    "read before write": (op_with(1, inputs=(3,)), "pool: reads a tensor before it is written"),
    "write twice": (op_with(1, output=1), "pool: writes a tensor that is written already"),
    "write the input": (op_with(1, output=0), "pool: writes a tensor that is written already"),
    "output": (graph_with(output=2), "the graph: must end in its output"),
    "no input": (op_with(1, inputs=()), "pool: reads nothing"),
    "two inputs": (op_with(1, inputs=(1, 1)), "pool: cannot have 2 inputs"),
    "orphan tensor": (
        lambda m: graph_with(
            tensors=(*m.graph.tensors, Tensor(name="x", type=m.graph.tensors[0].type))
        )(m),
        "the graph: has a tensor that nothing writes",
    ),
    "no dimension": (tensor_with(0, shape=()), "image: shape () needs 1 to 3"),
    "four dimensions": (tensor_with(0, shape=(1, 4, 5, 2)), "image: shape (1, 4, 5, 2) needs"),
    "empty dimension": (tensor_with(0, shape=(0, 5, 2)), "image: shape (0, 5, 2) needs"),
    "huge dimension": (tensor_with(3, shape=(65536,)), "flat: shape (65536,) needs"),
    "huge tensor": (tensor_with(0, shape=(3000, 3000, 2)), f"image: has over {MAX_ELEMENTS}"),
    "channels do not divide": (tensor_with(3, channels=5), "flat: 5 channels do not divide"),
    "no channels": (tensor_with(3, channels=0), "flat: 0 channels do not divide"),
    "image channels": (tensor_with(0, channels=1), "image: an image's last dimension"),
    "element type": (tensor_with(0, dtype=DType.INT32), "image: must be int8 or float32"),
    "quantised float": (
        tensor_with(0, dtype=DType.FLOAT32, quantization=scale(1.0)),
        "image: float32 cannot be quantised",
    ),
    "zero scale": (tensor_with(0, quantization=scale(0.0)), "image: scale 0.0 is no positive"),
    "negative scale": (tensor_with(0, quantization=scale(-1.0)), "image: scale -1.0"),
    "NaN scale": (tensor_with(0, quantization=scale(float("nan"))), "image: scale nan"),
    "infinite scale": (tensor_with(0, quantization=scale(float("inf"))), "image: scale inf"),
    "float64 scale": (tensor_with(0, quantization=scale(0.1)), "image: scale 0.1 is no"),
    "zero point": (active_with(0, quantization=scale(1.0, 128)), "image: zero point 128"),
    "mixed types": (tensor_with(0, dtype=DType.FLOAT32), "conv: cannot change the element type"),
    "conv rank": (weights_with(0, I8[0], EIGHTH), "conv: weights need 4 dimensions"),
    "dense rank": (weights_with(3, I8, EIGHTH), "dense: weights need 2 dimensions"),
    "no weights": (weights_with(3, np.zeros((0, 24), np.int8)), "dense: weights need 2"),
    "float scale": (weights_with(0, I8.astype(np.float32), EIGHTH), "conv: float weights have no"),
    "infinite weight": (weights_with(0, I8 + np.float32(np.inf)), "conv: weights are not finite"),
    "weights' type": (weights_with(0, I8.astype(np.int16), EIGHTH), "conv: weights are int16"),
    "weight of -8": (
        weights_with(0, I8 * 0 - np.int8(8), EIGHTH, 4),
        "int4 weights must lie in -7…7",
    ),
    "five bits": (weights_with(0, I8 * 0, EIGHTH, 5), "conv: weights of 5 bits are not 4 or 8"),
    "float of four bits": (
        weights_with(0, I8.astype(np.float32), None, 4),
        "conv: float weights have no width",
    ),
    "no scale": (weights_with(0, I8), "conv: int8 weights need a scale"),
    "scales short": (weights_with(0, I8, EIGHTH[:5].copy()), "conv: needs 6 weight scales"),
    "scales' type": (weights_with(0, I8, EIGHTH.astype(np.float32)), "conv: needs 6 weight scales"),
    "scale of zero": (weights_with(0, I8, EIGHTH * 0), "conv: weight scales must be positive"),
    "scale of NaN": (weights_with(0, I8, EIGHTH * np.nan), "conv: weight scales must be positive"),
    "dense width": (
        weights_with(3, np.zeros((3, 23), np.int8), EIGHTH[:3].copy()),
        "dense: needs 23 inputs, gets 24",
    ),
    "dense on an image": (
        op_with(3, inputs=(2,)),
        "dense: needs a vector, gets shape (2, 2, 6)",
    ),
    "conv window": (window_with(0, height=2, pad_top=0), "conv: weights do not match the window"),
    "conv channels": (
        weights_with(0, np.zeros((6, 3, 3, 3), np.int8), EIGHTH.copy()),
        "conv: needs 3 channels, gets 2",
    ),
    "no image": (tensor_with(1, shape=(120,)), "conv: makes (4, 5, 6), not (120,)"),
    "pool on a vector": (
        graph_with(ops=(*good().graph.ops[:3], POOL)),
        "pool2: needs an image, gets shape (24,)",
    ),
    "pool on another image": (op_with(1, inputs=(0,)), "pool: makes (2, 2, 2), not (2, 2, 6)"),
    "stride 0": (window_with(0, stride_width=0), "conv: window, stride and dilation must be 1"),
    "window 256": (window_with(1, height=256), "pool: window, stride and dilation must be 1"),
    "dilation 0": (window_with(0, dilation_width=0), "conv: window, stride and dilation must be"),
    "dilated pool": (window_with(1, dilation_height=2), "pool: pools have no dilation"),
    "negative padding": (window_with(1, pad_left=-1), "pool: padding must be smaller"),
    "padding": (window_with(1, pad_bottom=2), "pool: padding must be smaller than the window"),
    "large window": (window_with(1, height=5), "pool: window is larger than the image (4, 5, 6)"),
    "elements": (tensor_with(3, shape=(30,)), "flat: changes the number of elements"),
    "channels": (
        lambda m: active_with(3, channels=12)(tensor_with(3, channels=24)(m)),
        "region 50 %, flat: changes the channels, of which some are inactive",
    ),
    "grouped output": (tensor_with(4, channels=1), "dense: output channels must be innermost"),
    "no region": (lambda m: dataclasses.replace(m, regions=()), "the model: has no operating"),
    "descending": (
        lambda m: dataclasses.replace(m, regions=m.regions[::-1]),
        "the regions: do not ascend by DP percentage: [100, 50]",
    ),
    "equal regions": (region_with(0, dp=100), "do not ascend by DP percentage: [100, 100]"),
    "DP 0": (region_with(0, dp=0), "region 0 %: DP must be 1 to 100"),
    "DP 101": (region_with(1, dp=101), "region 101 %: DP must be 1 to 100"),
    "types": (region_with(0, types=good().regions[0].types[1:]), "region 50 %: needs a type"),
    "tables": (region_with(0, tables=(None,)), "region 50 %: needs a table entry"),
    "active type": (
        active_with(1, dtype=DType.FLOAT32, quantization=None),
        "region 50 %, conv: does not match",
    ),
    "active rank": (active_with(1, shape=(60,)), "region 50 %, conv: does not match the graph"),
    "active image": (active_with(1, shape=(5, 4, 3)), "region 50 %, conv: does not match"),
    "active size": (active_with(3, shape=(9,)), "region 50 %, flat: does not match the graph"),
    "too wide": (active_with(1, shape=(4, 5, 7), channels=7), "conv: has more channels than"),
    "unquantised": (active_with(2, quantization=None), "region 50 %, pool: int8 activations need"),
    "scaled output": (
        region_with(0, types=(*good().regions[0].types[:4], NARROW)),
        "region 50 %, logits: input and output never scale",
    ),
    "no table": (table_with(3, None), "region 50 %, dense: has weights but no table"),
    "table without weights": (
        table_with(1, _table(False, 3)),
        "region 50 %, pool: has a table but no weights",
    ),
    "pool changes channels": (
        active_with(2, shape=(2, 2, 2), channels=2),
        "region 50 %, pool: cannot change the channels",
    ),
    "pool changes the scale": (
        active_with(2, quantization=scale(0.5)),
        "region 50 %, pool: must keep the quantisation",
    ),
    "input quantisation": (
        active_with(0, quantization=scale(1.0)),
        "the regions: must all quantise the input the same way",
    ),
    "biases short": (table_with(0, bias_table(np.zeros(2, np.int32))), "conv: needs 3 biases"),
    "biases' type": (table_with(0, bias_table(np.zeros(3, np.int64))), "biases must be int32"),
    "float weights": (
        weights_with(0, I8.astype(np.float32)),
        "region 50 %, conv: int8 activations need int8 weights",
    ),
    "table without scale": (
        table_with(0, Table(bias=np.zeros(3, np.int32))),
        "region 50 %, conv: needs weight scales",
    ),
    "table scale": (
        table_with(0, bias_table(np.zeros(3, np.int32), [1.0, -1.0, 1.0])),
        "region 50 %, conv: weight scales must be positive",
    ),
    "accumulator": (
        table_with(0, bias_table(np.array([0, INT32_MAX, 0], np.int32))),
        "region 50 %, conv: the accumulator can overflow int32",
    ),
    "ratio": (
        table_with(0, bias_table(np.zeros(3, np.int32), [1e10] * 3)),
        "region 50 %, conv: the ratio of input, weight and output scales is out of range",
    ),
    "inexact weight scale": (
        table_with(0, bias_table(np.zeros(3, np.int32), [0.1] * 3)),
        "region 50 %, conv: weight scales must be float32, as in a .tflite",
    ),
    "left shift": (
        table_with(0, bias_table(np.zeros(3, np.int32), [2.0**14] * 3)),
        "region 50 %, conv: requantisation can overflow",
    ),
}


def test_the_good_models_are_good() -> None:
    for model in (good(), good(float_=True)):
        assert verify(model) is model


def test_whole_tensors_may_change_their_channels() -> None:
    model = tensor_with(3, channels=24)(good())
    model = dataclasses.replace(model, regions=model.regions[1:])
    assert verify(active_with(3, channels=24)(model))


def test_weights_of_minus_128_are_counted_as_such() -> None:
    """The absolute value of -128 is -128 in int8: 18 of them reach further than 18 of 127."""
    least = weights_with(0, I8 - np.int8(127) - np.int8(1), EIGHTH)(good())
    assert verify(least)
    bias = np.full(3, INT32_MAX - 18 * 128 * 255 + 1, np.int32)
    with pytest.raises(GraphError, match="the accumulator can overflow int32"):
        verify(table_with(0, bias_table(bias))(least))


@pytest.mark.parametrize("rule", RULES)
def test_rule(rule: str) -> None:
    change, message = RULES[rule]
    with pytest.raises(GraphError) as caught:
        verify(change(good()))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "table",
    [
        _table(False, 3),
        Table(bias=np.ones(3, np.float64)),
        Table(bias=np.ones(3, np.float32), weight_scale=np.ones(3)),
    ],
)
def test_float_model_needs_float_tables(table: Table) -> None:
    with pytest.raises(GraphError, match="conv: a float model needs float weights and biases"):
        verify(table_with(0, table)(good(float_=True)))


def test_float_model_needs_float_weights() -> None:
    with pytest.raises(GraphError, match="conv: a float model needs float weights"):
        verify(weights_with(0, I8, EIGHTH.copy())(good(float_=True)))


def lonely(weight: int, bias: int, factors: tuple[float, float], zero_point: int = 127) -> Model:
    """One input, one output, requantised by the product of two float32 `factors`."""
    types = tuple(
        TensorType(shape=(1,), channels=1, quantization=q)
        for q in (scale(factors[0]), scale(1.0, zero_point))
    )
    plain = [dataclasses.replace(type_, quantization=None) for type_ in types]
    op = FullyConnected(
        name="fc",
        inputs=(0,),
        output=1,
        weights=Weights(data=np.array([[weight]], np.int8), scale=np.ones(1)),
    )
    table = Table(bias=np.array([bias], np.int32), weight_scale=np.array([factors[1]]))
    return Model(
        name="lonely",
        graph=Graph(
            tensors=(Tensor(name="x", type=plain[0]), Tensor(name="y", type=plain[1])),
            ops=(op,),
            input=0,
            output=1,
        ),
        regions=(Region(dp=100, types=types, tables=(table,)),),
    )


def test_the_pixels_of_a_flattened_image_fit_16_bits() -> None:
    """Kernels of fully connected layers count them; 257 by 256 are too many."""
    for shape, words in (((257 * 256 * 2,), "1 to 65535"), ((257, 256, 2), "needs a vector")):
        model = lonely(1, 0, (1.0, 1.0), 0)
        weights = Weights(data=np.ones((1, 257 * 256 * 2), np.int8), scale=np.ones(1))
        op = dataclasses.replace(model.graph.ops[0], weights=weights)
        full = TensorType(shape=shape, channels=2)
        tensors = (Tensor(name="x", type=full), model.graph.tensors[1])
        graph = dataclasses.replace(model.graph, ops=(op,), tensors=tensors)
        types = (dataclasses.replace(full, quantization=scale(1.0)), model.regions[0].types[1])
        region = dataclasses.replace(model.regions[0], types=types)
        with pytest.raises(GraphError, match=words):
            verify(dataclasses.replace(model, graph=graph, regions=(region,)))


@pytest.mark.parametrize("sign", [1, -1])
def test_zero_point_fits_on_top_of_the_largest_accumulator(sign: int) -> None:
    """The offset is added in int32 as well: the last 128 values belong to it."""
    largest = INT32_MAX - 128 - 255
    almost_one = (1 + 2.0**-15, 1 - 2.0**-15)
    verify(lonely(1, sign * largest, almost_one))
    with pytest.raises(GraphError, match="fc: requantisation can overflow"):
        verify(lonely(1, sign * (largest + 1), almost_one))


def test_shift_of_31_is_out_of_range_even_for_a_dead_channel() -> None:
    just_below = 2.0**30 * (1 - 2.0**-20)
    below = (1 + 2.0**-20, just_below)  # under 2**30, but the product's mantissa rounds up
    verify(lonely(0, 0, (1.0, just_below)))
    with pytest.raises(GraphError, match="fc: the ratio of scales rounds up out of range"):
        verify(lonely(0, 0, below))


@pytest.mark.parametrize("seed", range(60))
def test_random_models_are_valid(seed: int) -> None:
    for make in (float_model, quantized_model, extreme_model):
        assert verify(make(seed))
