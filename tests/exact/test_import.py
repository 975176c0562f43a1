"""Imported files compute what LiteRT computes from the original: interpreter, C and emulator."""

import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import require
from foreign import Foreign, Value, autoencoder, random_file
from graphs import Native, Request, first_difference, int8_inputs

from tesla_embed.errors import GraphError, TeslaEmbedError, ToolchainError, UnsupportedOp
from tesla_embed.ir.interpret import interpret_layers
from tesla_embed.ir.ops import FullyConnected, Weighted
from tesla_embed.ir.types import Quantization
from tesla_embed.tflite import importer
from tesla_embed.tflite.importer import Imported, import_tflite
from tesla_host.judge import judge_original, run_file

SEEDS = range(60)


@pytest.fixture(autouse=True)
def _litert() -> None:
    def find() -> object:
        try:
            import ai_edge_litert.interpreter as interpreter
        except ImportError as error:
            raise ToolchainError("LiteRT is not installed; run: pip install '.[oracle]'") from error
        return interpreter

    require(find)


def gcc() -> list[str]:
    if shutil.which("gcc") is None:
        raise ToolchainError("gcc is not installed; run: apt install gcc")
    return ["gcc"]


def disagreement(content: bytes, seed: int, samples: int = 6) -> str:
    """Where the interpreter and LiteRT on the original file differ first."""
    imported = import_tflite(content, "net")
    model = imported.model
    inputs = int8_inputs(model, seed, samples)
    ours = interpret_layers(model, model.regions[0], inputs)
    judged = judge_original(content, imported, inputs)
    assert len(model.graph.ops) - 1 in judged, "the output is compared in any case"
    for place, wanted in judged.items():
        where = f"seed {seed}, {model.graph.ops[place].name}"
        if difference := first_difference(where, ours[place], wanted):
            return difference
    return ""


@pytest.mark.parametrize("make", [random_file, autoencoder])
def test_random_files_equal_their_originals(make: Callable[[int], bytes]) -> None:
    found = [text for seed in range(150) if (text := disagreement(make(seed), seed))]
    assert found == []


def test_the_c_of_imported_files_equals_their_originals(tmp_path: Path) -> None:
    """Without the interpreter in between."""
    files = [random_file(seed) for seed in SEEDS] + [autoencoder(seed) for seed in range(5)]
    imported = [import_tflite(content, "net") for content in files]
    native = Native([entry.model for entry in imported], tmp_path, require(gcc), ["-O1"])
    requests = [
        Request(index, 100, int8_inputs(entry.model, index, 4))
        for index, entry in enumerate(imported)
    ]
    outputs = [layers[-1] for layers in native.layers(requests)]
    for request, content, entry, output in zip(requests, files, imported, outputs, strict=True):
        judged = judge_original(content, entry, request.inputs)
        assert not first_difference(f"file {request.model}", output, judged[max(judged)])


def test_weights_are_those_of_the_file() -> None:
    foreign = Foreign(np.random.default_rng(3))
    foreign.begin((5,))
    foreign.dense(7)
    content = foreign.finish()
    stored = bytes(next(b.data for b in foreign.builder.buffers if b.data is not None))
    (op,) = import_tflite(content, "net").model.graph.ops
    assert isinstance(op, FullyConnected)
    assert op.weights.data.tobytes() == stored


def test_weights_may_be_minus_128(tmp_path: Path) -> None:
    """Files that others made need not be symmetric in this; every third weight is."""
    foreign = Foreign(np.random.default_rng(11))
    foreign.begin((7, 6, 3))
    for step in (foreign.conv, foreign.depthwise, foreign.dense):
        step()
    kept = 0
    for tensor in foreign.builder.tensors:
        if tensor.type == foreign.schema.TensorType.INT8 and tensor.buffer:
            buffer = foreign.builder.buffers[tensor.buffer]
            buffer.data = buffer.data.copy()
            buffer.data[::3] = 128
            kept += 1
    content = foreign.finish()
    assert kept == 3 and not disagreement(content, 0, samples=32)
    entry = import_tflite(content, "net")
    native = Native([entry.model], tmp_path, require(gcc), ["-O1"])
    inputs = int8_inputs(entry.model, 1, 32)
    (layers,) = native.layers([Request(0, 100, inputs)])
    judged = judge_original(content, entry, inputs)
    assert not first_difference("the C", layers[-1], judged[max(judged)])


def two_dense() -> Foreign:
    foreign = Foreign(np.random.default_rng(5))
    foreign.begin((6,))
    foreign.dense(6)
    foreign.dense(6)
    return foreign


def imported(foreign: Foreign) -> Imported:
    return import_tflite(foreign.finish(), "net")


def of_bytes(foreign: Foreign, like: Value, zero_point: int | None = None) -> int:
    """A uint8 tensor that is `like` and 128 more."""
    index = foreign.floats(like)
    tensor = foreign.builder.tensors[index]
    tensor.type = foreign.schema.TensorType.UINT8
    tensor.quantization = foreign.schema.QuantizationParametersT()
    tensor.quantization.scale = [like.q.scale]
    tensor.quantization.zeroPoint = [like.q.zero_point + 128 if zero_point is None else zero_point]
    return index


def image_of_bytes() -> Foreign:
    foreign = Foreign(np.random.default_rng(4))
    foreign.begin((5, 6, 3))
    foreign.entry = of_bytes(foreign, foreign.at)
    foreign.builder.operator("QUANTIZE", 1, [foreign.entry], foreign.at.index)
    foreign.conv()
    foreign.dense(7)
    return foreign


@pytest.mark.parametrize("output", [False, True])
def test_bytes_at_the_ends_are_int8_and_128_more(output: bool) -> None:
    """What converters write for inference_input_type=uint8, and for the output."""
    foreign = image_of_bytes()
    if output:
        last = of_bytes(foreign, foreign.at)
        foreign.builder.operator("QUANTIZE", 1, [foreign.at.index], last)
        foreign.at = Value(last, foreign.at.shape, foreign.at.q)
    content = foreign.finish()
    assert not disagreement(content, 0, samples=32)
    if output:
        entry = import_tflite(content, "net")
        inputs = int8_inputs(entry.model, 0, 4)
        wanted = interpret_layers(entry.model, entry.model.regions[0], inputs)[-1]
        for sample, integers in zip(inputs, wanted, strict=True):
            (found,) = run_file(content, (sample.astype(np.int16) + 128).astype(np.uint8))
            assert np.array_equal(found.reshape(-1), integers.astype(np.int16).reshape(-1) + 128)


def test_bytes_that_are_quantised_otherwise_are_refused() -> None:
    foreign = image_of_bytes()
    foreign.builder.tensors[foreign.entry].quantization.zeroPoint = [3]
    with pytest.raises(UnsupportedOp, match=r"operator 0, QUANTIZE .*only uint8 that are int8"):
        imported(foreign)
    foreign = image_of_bytes()
    last = of_bytes(foreign, foreign.at, zero_point=7)
    foreign.builder.operator("QUANTIZE", 1, [foreign.at.index], last)
    foreign.at = Value(last, foreign.at.shape, foreign.at.q)
    with pytest.raises(UnsupportedOp, match=r"operator 3, QUANTIZE .*only uint8 that are int8"):
        imported(foreign)


def test_paddings_may_be_of_64_bits() -> None:
    foreign = Foreign(np.random.default_rng(4))
    foreign.begin((5, 6, 3))
    foreign.pad()
    amounts = foreign.builder.operators[-1].inputs[1]
    tensor = foreign.builder.tensors[amounts]
    tensor.type = foreign.schema.TensorType.INT64
    buffer = foreign.builder.buffers[tensor.buffer]
    wide = np.frombuffer(buffer.data.tobytes(), np.int32).astype(np.int64)
    buffer.data = np.frombuffer(wide.tobytes(), np.uint8)
    foreign.conv()
    assert not disagreement(foreign.finish(), 0)


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize(("axis", "shape"), [(1, (9, 1, 4)), (2, (1, 7, 4)), (-2, (1, 5, 3))])
def test_means_over_one_axis_where_the_other_has_one_pixel(
    axis: int, shape: tuple[int, ...], kept: bool
) -> None:
    for seed in range(10):
        foreign = Foreign(np.random.default_rng(seed))
        foreign.begin(shape)
        axes = foreign.builder.constant("axes", np.array([axis], np.int32))
        options = foreign.schema.ReducerOptionsT()
        options.keepDims = kept
        made = (1, 1, shape[-1]) if kept else (1, shape[-1])
        scale = foreign.at.q.scale * foreign.rng.uniform(0.3, 1)
        mean = foreign.value(made, foreign.quantization(scale))
        foreign.builder.operator("MEAN", 2, [foreign.at.index, axes], mean.index, options)
        foreign.at = mean
        foreign.dense(3)
        assert not disagreement(foreign.finish(), seed, samples=32)


def test_means_over_one_axis_of_several_are_refused() -> None:
    for axes in ([1], [2], [1, 3], [1, 1, 2], [1, 6]):
        foreign = Foreign(np.random.default_rng(0))
        foreign.begin((3, 4, 2))
        foreign.mean()
        constant = foreign.builder.operators[-1].inputs[1]
        foreign.builder.tensors[constant].shape = [len(axes)]
        buffer = foreign.builder.buffers[foreign.builder.tensors[constant].buffer]
        buffer.data = np.frombuffer(np.array(axes, np.int32).tobytes(), np.uint8)
        with pytest.raises(UnsupportedOp, match=r"operator 0, MEAN .*only height and width"):
            imported(foreign)


def test_operators_may_share_weights() -> None:
    foreign = two_dense()
    first, second = foreign.builder.operators
    tensors = foreign.builder.tensors
    tensors[second.inputs[1]].buffer = tensors[first.inputs[1]].buffer
    one, two = (op for op in imported(foreign).model.graph.ops if isinstance(op, Weighted))
    assert np.array_equal(one.weights.data, two.weights.data)


def test_a_batch_may_be_unknown() -> None:
    foreign = two_dense()
    for operator in foreign.builder.operators:
        foreign.builder.tensors[operator.outputs[0]].shape = [-1, 6]
    assert imported(foreign).model.regions[0].types[-1].shape == (6,)


def test_what_the_output_does_not_need_is_left_out() -> None:
    foreign = two_dense()
    result = foreign.at
    foreign.dense(3)
    foreign.at = result
    assert len(imported(foreign).model.graph.ops) == 2


def test_names_become_distinct_identifiers() -> None:
    foreign = two_dense()
    for tensor in foreign.builder.tensors:
        tensor.name = "größe/0"
    names = [op.name for op in imported(foreign).model.graph.ops]
    assert len(set(names)) == 2
    assert all(name.isidentifier() and name.isascii() for name in names)


Change = Callable[[Foreign, Any], None]


def _operator(foreign: Foreign, kind: str) -> None:
    foreign.builder.codes[0] = (getattr(foreign.schema.BuiltinOperator, kind), 1)


def _option(name: str, value: object) -> Change:
    return lambda foreign, operator: setattr(operator.builtinOptions, name, value)


def _tensor(position: int | None, **fields: object) -> Change:
    """Change an input of the second operator, or its output for `None`."""

    def change(foreign: Foreign, operator: Any) -> None:
        index = operator.outputs[0] if position is None else operator.inputs[position]
        for name, value in fields.items():
            owner = foreign.builder.tensors[index]
            if name in ("scale", "zeroPoint", "quantizedDimension"):
                owner = owner.quantization
            setattr(owner, name, value)

    return change


REFUSED: dict[str, tuple[Change, str]] = {
    "an unknown operator": (
        lambda foreign, _: _operator(foreign, "UNIDIRECTIONAL_SEQUENCE_LSTM"),
        "operator 0, UNIDIRECTIONAL_SEQUENCE_LSTM '.*': is not supported; supported are ADD, ",
    ),
    "a custom operator": (lambda foreign, _: _operator(foreign, "CUSTOM"), "CUSTOM"),
    "an unnamed operator": (
        lambda foreign, _: _operator(foreign, "STABLEHLO_SORT"),
        r"built-in operator \d+",
    ),
    "TANH": (
        _option("fusedActivationFunction", 4),
        "fused activation TANH; supported are NONE, RELU, RELU_N1_TO_1, RELU6",
    ),
    "shuffled weights": (_option("weightsFormat", 1), "operator 1, FULLY_CONNECTED .*shuffled"),
    "float activations": (_tensor(None, type=0), "is float32; only int8 is supported"),
    "16-bit activations": (_tensor(None, type=7), "is int16; only int8 is supported"),
    "unsigned activations": (_tensor(None, type=3), "is uint8; only int8"),
    "float weights": (_tensor(1, type=0, shape=[3, 3]), "weights are float32; only int8"),
    "computed weights": (_tensor(1, buffer=0), "weights are computed, not constant"),
    "asymmetric weights": (_tensor(1, zeroPoint=[3]), "weights have a zero point other than 0"),
    "scales along another axis": (
        _tensor(1, scale=[0.5] * 6, zeroPoint=[0] * 6, quantizedDimension=1),
        "has weight scales along axis 1",
    ),
    "a missing weight scale": (_tensor(1, scale=[0.5] * 5), "has 5 weight scales for 6 filters"),
    "a scale of zero": (_tensor(1, scale=[0.0]), "weight scales are not positive"),
    "a bias of another scale": (_tensor(2, scale=[0.5]), "the scale of its biases is not that of"),
    "a bias of 64 bits": (_tensor(2, type=4, buffer=0), "biases are int64; only int32"),
    "no scale": (_tensor(None, scale=[]), "needs one scale and zero point, not 0"),
    "many scales": (_tensor(None, scale=[0.1, 0.2]), "needs one scale and zero point, not 2"),
    "a scale that is none": (_tensor(None, scale=[float("nan")]), "has scale nan"),
    "a batch": (_tensor(None, shape=[2, 6]), "has a batch of 2; only one sample"),
    "too many dimensions": (_tensor(None, shape=[1, 1, 1, 1, 6]), "supported are 1 to 3 known"),
    "another shape": (_tensor(None, shape=[1, 7]), r"makes shape \(6,\), and the file says \(7,\)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_exact_is_refused(case: str) -> None:
    change, message = REFUSED[case]
    foreign = two_dense()
    change(foreign, foreign.builder.operators[1])
    with pytest.raises(UnsupportedOp, match=message):
        imported(foreign)


@pytest.mark.filterwarnings("error")
def test_a_signalling_nan_is_refused_without_a_warning() -> None:
    """Found by damaging files: converting one to float64 made NumPy warn."""
    foreign = two_dense()
    _tensor(1, scale=[0.123])(foreign, foreign.builder.operators[1])
    content, scale = foreign.finish(), struct.pack("<f", 0.123)
    assert content.count(scale) == 1
    with pytest.raises(UnsupportedOp, match="weight scales are not positive"):
        import_tflite(content.replace(scale, struct.pack("<I", 0x7F800001)), "net")


def test_options_of_another_kind_are_refused() -> None:
    """LiteRT takes such an operator for one without options: its activation is not computed."""
    foreign = two_dense()
    operator = foreign.builder.operators[1]
    operator.builtinOptionsType = foreign.schema.BuiltinOptions.Conv2DOptions
    with pytest.raises(GraphError, match=r"operator 1, FULLY_CONNECTED, .* of another kind"):
        imported(foreign)


def test_absurd_dimensions_are_refused_not_multiplied() -> None:
    """Products of many sizes left float64, and NumPy has a limit on dimensions."""
    foreign = two_dense()
    foreign.reshape((6,))
    operator = foreign.builder.operators[-1]
    operator.inputs = operator.inputs[:1]
    operator.builtinOptions.newShape = [2**31 - 1] * 60
    with pytest.raises(UnsupportedOp, match=r"operator 2, RESHAPE .*: asks for shape"):
        imported(foreign)
    foreign = two_dense()
    weights = foreign.builder.operators[1].inputs[1]
    foreign.builder.tensors[weights].shape = [1] * 60 + [6, 6]
    with pytest.raises(UnsupportedOp, match="is a constant of 62 dimensions"):
        imported(foreign)


@pytest.mark.parametrize(("what", "count"), [("inputs", 0), ("inputs", 2), ("outputs", 2)])
def test_one_input_and_one_output(what: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = two_dense()
    schema = foreign.schema

    class Graph(schema.SubGraphT):  # type: ignore[name-defined, misc]
        def Pack(self, builder: Any) -> Any:  # noqa: N802
            setattr(self, what, [0, 1][:count])
            return super().Pack(builder)

    monkeypatch.setattr(schema, "SubGraphT", Graph)
    with pytest.raises(UnsupportedOp, match=f"the file has {count} {what} .*exactly one"):
        imported(foreign)


def test_damaged_order_is_refused() -> None:
    foreign = two_dense()
    foreign.builder.operators.reverse()
    with pytest.raises(UnsupportedOp, match="is not computed before; the file is damaged"):
        imported(foreign)


def test_tensors_are_written_once() -> None:
    foreign = two_dense()
    foreign.builder.operators.append(foreign.builder.operators[1])
    with pytest.raises(GraphError, match="is written twice"):
        imported(foreign)


def test_a_long_vector_of_zero_points_is_not_looked_through() -> None:
    """A crafted file named one of millions in thousands of operators: half a minute."""
    for position, what in ((1, "weights"), (2, "biases")):
        foreign = two_dense()
        operator = foreign.builder.operators[1]
        tensor = foreign.builder.tensors[operator.inputs[position]]
        tensor.quantization.zeroPoint = np.zeros(7, np.int64)
        with pytest.raises(UnsupportedOp, match=f"its {what} have 7 zero points for 6 filters"):
            imported(foreign)


def shared(channels: int) -> Foreign:
    """A file for images of one pixel, whose operators all name the same few constants."""
    foreign = Foreign(np.random.default_rng(0))
    q = Quantization(scale=float(np.float32(0.05)), zero_point=0)
    foreign.at = foreign.value((1, 1, channels), q)
    foreign.entry = foreign.at.index
    return foreign


def append(
    foreign: Foreign, kind: str, inputs: list[int], shape: tuple[int, ...], options: object
) -> None:
    made = foreign.value(shape, foreign.at.q)
    version = 12 if kind == "FULLY_CONNECTED" else 2
    foreign.builder.operator(kind, version, inputs, made.index, options)
    foreign.at = made


def test_small_files_cannot_ask_for_much_time() -> None:
    """Outputs of fully connected layers: five seconds for two constants of 64 KiB and a pair."""
    foreign = shared(1)
    options = foreign.schema.FullyConnectedOptionsT()
    options.keepNumDims = True
    constants = [
        foreign.builder.constant("w", np.ones(shape, np.int8), np.array([1.0]))
        for shape in ((4000, 1), (1, 4000))
    ]
    for number in range(10):
        weights, size = constants[number % 2], (4000, 1)[number % 2]
        inputs = [foreign.at.index, weights]
        append(foreign, "FULLY_CONNECTED", inputs, (1, 1, size), options)
    with pytest.raises(UnsupportedOp, match="fully connected layers have over 16,384 outputs"):
        imported(foreign)


def test_small_files_cannot_join_for_ever() -> None:
    """Channels that the verifier follows through concatenations, a second for each 12 KiB."""
    foreign = shared(60_000)
    joined, mean = foreign.schema.ConcatenationOptionsT(), foreign.schema.ReducerOptionsT()
    joined.axis, mean.keepDims = 1, True
    axes = foreign.builder.constant("axes", np.array([1, 2], np.int32))
    for _ in range(20):
        append(foreign, "CONCATENATION", [foreign.at.index] * 60, (60, 1, 60_000), joined)
        append(foreign, "MEAN", [foreign.at.index, axes], (1, 1, 60_000), mean)
    with pytest.raises(UnsupportedOp, match="read and make over 67,108,864 channels"):
        imported(foreign)


def test_small_files_cannot_ask_for_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """One weight buffer, named by thousands of operators."""
    monkeypatch.setattr(importer, "MAX_ROWS", 2**31)
    foreign = Foreign(np.random.default_rng(0))
    foreign.begin((1024,))
    foreign.dense(1024)
    (operator,) = foreign.builder.operators
    tensors = foreign.builder.tensors
    for _ in range(80):
        again = type(operator)()
        again.__dict__ |= operator.__dict__
        made = foreign.value((1024,), foreign.at.q)
        tensors[made.index].quantization = tensors[foreign.at.index].quantization
        again.inputs = [foreign.at.index, operator.inputs[1]]
        again.outputs = [made.index]
        foreign.builder.operators.append(again)
        foreign.at = made
    with pytest.raises(TeslaEmbedError, match="the weights take over 64 MiB"):
        imported(foreign)
