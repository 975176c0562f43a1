"""Read an int8 `.tflite` that somebody else made, or one of floats that is to be quantised.

In: the bytes of a file. Out: a verified `Model` of one operating region, 100 %, with the weights as
they are in the file; it computes the same bits as TensorFlow Lite's reference kernels on that file.
A float model is what `quant` takes, and no more exact than floats are.
Refuses, with `UnsupportedOp`, whatever it cannot compute with the same bits, naming the operator;
with `GraphError`, damaged files. LiteRT is not needed.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from tesla_embed import __version__
from tesla_embed.errors import GraphError, UnsupportedOp
from tesla_embed.ir.graph import Graph, Model, Provenance, Region
from tesla_embed.ir.ops import Op
from tesla_embed.ir.types import Tensor
from tesla_embed.ir.verify import IDENTIFIER, verify
from tesla_embed.tflite.draft import Draft, Node, file_shape
from tesla_embed.tflite.operators import CONVERTERS
from tesla_embed.tflite.schema import File, FileOperator, FileTensor, read

MAX_FILE_BYTES = 2**26
MAX_WEIGHT_BYTES = 2**26
"""What all weights together may take: a small file can name one buffer many times."""
MAX_ROWS = 2**14
"""Outputs of all fully connected layers together: for each, integers are looked for and proved."""
MAX_CHANNELS = 2**26
"""Channels that all operations together read and make; the verifier follows each of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A model, and where its values are in the file.

    `entry` is the tensor that holds the int8 input, `layers[i]` the one that operation `i` makes,
    -1 for what the file has not.
    """

    model: Model
    entry: int
    layers: tuple[int, ...]


def import_file(path: Path, name: str | None = None, *, floats: bool = False) -> Imported:
    """Read the file at `path`; the model is called `name`, or as the file is.

    It is int8, or with `floats` a float model that is to be quantised.

    Raises `GraphError` where it cannot be read or is damaged, `UnsupportedOp`.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise GraphError(
                f"{path}: is larger than {MAX_FILE_BYTES >> 20} MiB; no such network fits"
            )
        content = path.read_bytes()
    except OSError as error:
        raise GraphError(f"cannot read {path}: {error.strerror}; check the path") from error
    _check_format(path, content)
    try:
        found = import_tflite(content, name or model_name(path.name), floats=floats)
    except (GraphError, UnsupportedOp) as error:
        raise type(error)(f"{path}: {error}") from error
    return replace(found, model=replace(found.model, provenance=provenance(path)))


def _check_format(path: Path, content: bytes) -> None:
    """Refuse a file that begins as one of another kind, and say where that kind goes."""
    for begins, start, what in _FORMATS:
        if content[start : start + len(begins)] == begins:
            raise UnsupportedOp(f"{path}: is no .tflite but {what}")


_FORMATS = (
    (
        b'{"',
        8,
        "a .safetensors: a trained network goes to `tesla-embed quantize`, and an integer model is "
        "ready for `inspect`, `run` and `generate`",
    ),
    (b"\x89HDF", 0, "HDF5: load it in Keras, where you trust it, and save it as .keras"),
    (
        b"PK\x03\x04",
        0,
        "a ZIP archive: import what Keras saved as .keras, what torch.export saved as .pt2",
    ),
)
"""How files begin that are taken for a `.tflite`: the bytes, where they are, and what to do."""


def import_tflite(content: bytes, name: str, *, floats: bool = False) -> Imported:
    """Read a file's bytes, as `import_file` does. Raises `GraphError` and `UnsupportedOp`."""
    file = read(content)
    _check_kinds(file)
    source, target = _ends(file)
    entry, operators = _without_quantize(file, source)
    result, operators = _without_dequantize(file, target, operators)
    draft = Draft(file, floats=floats)
    draft.begin(entry)
    for operator in _needed(operators, result):
        CONVERTERS[operator.kind](draft, Node(file, operator))
        _check_size(draft)
    if result not in draft.homes:
        raise GraphError("no operator makes the output; the file is damaged")
    return Imported(
        model=_verified(_model(draft, name, draft.homes[result]), draft),
        entry=entry,
        layers=tuple(draft.layers),
    )


def holds_integers(path: Path) -> bool:
    """Whether a `.tflite` is quantised already. Raises as `import_file`."""
    try:
        file = read(path.read_bytes())
        entry, _ = _without_quantize(file, _ends(file)[0])
    except OSError as error:
        raise GraphError(f"cannot read {path}: {error.strerror}; check the path") from error
    except (GraphError, UnsupportedOp) as error:
        raise type(error)(f"{path}: {error}") from error
    return file.tensors[entry].dtype != "float32"


def model_name(file_name: str) -> str:
    """A C identifier that is as like a file's name as possible."""
    plain = re.sub(r"[^A-Za-z0-9]+", "_", file_name.split(".")[0]).strip("_").lower()
    plain = plain if IDENTIFIER.match(plain) else f"model_{plain}"
    return plain[:40].strip("_")


def provenance(path: Path) -> Provenance:
    """What a model that was imported from `path` says of itself."""
    return Provenance(tool_version=__version__, recipe=path.name, algorithm="import")


def _check_kinds(file: File) -> None:
    """Refuse unknown operators before anything else is looked at."""
    for operator in file.operators:
        if operator.kind not in CONVERTERS:
            supported = ", ".join(sorted(CONVERTERS))
            Node(file, operator).refuse(f"is not supported; supported are {supported}")
    if not file.operators:
        raise UnsupportedOp("the file has no operators")


def _check_size(draft: Draft) -> None:
    """Refuse a network that would cost too much time or memory, as early as it shows."""
    if draft.weight_bytes > MAX_WEIGHT_BYTES:
        raise UnsupportedOp(f"the weights take over {MAX_WEIGHT_BYTES >> 20} MiB")
    if draft.rows > MAX_ROWS:
        raise UnsupportedOp(f"the fully connected layers have over {MAX_ROWS:,} outputs")
    if draft.channels > MAX_CHANNELS:
        raise UnsupportedOp(f"the operators read and make over {MAX_CHANNELS:,} channels")


def _ends(file: File) -> tuple[int, int]:
    """The one input and the one output."""
    for what, found in (("inputs", file.inputs), ("outputs", file.outputs)):
        if len(found) != 1:
            names = ", ".join(repr(file.tensors[i].name[:80]) for i in found[:8])
            raise UnsupportedOp(
                f"the file has {len(found)} {what} ({names}); exactly one is supported"
            )
    return file.inputs[0], file.outputs[0]


def _without_quantize(file: File, source: int) -> tuple[int, tuple[FileOperator, ...]]:
    """The tensor that holds the int8 input, and the operators after it.

    Converters put a QUANTIZE before a network that takes real numbers, or bytes; ours takes int8.
    """
    readers = [operator for operator in file.operators if source in operator.inputs]
    if file.tensors[source].dtype == "int8" or not readers:
        return source, file.operators
    first = readers[0]
    known = file.tensors[source].dtype in ("float32", "uint8")
    if first.kind != "QUANTIZE" or len(readers) != 1 or not known:
        return source, file.operators
    rest = tuple(operator for operator in file.operators if operator is not first)
    node = Node(file, first)
    same = file_shape(file.tensors[node.output]) == file_shape(file.tensors[source])
    node.require(same, "changes the shape, which it cannot; the file is damaged")
    if file.tensors[source].dtype == "uint8":
        _check_bytes(node, file.tensors[source], file.tensors[node.output])
    return node.output, rest


def _check_bytes(node: Node, unsigned: FileTensor, signed: FileTensor) -> None:
    """Refuse a QUANTIZE between uint8 and int8 that does more than subtract or add 128."""
    ends = [
        (tensor.scale.tolist(), tensor.zero_point.tolist() or [0])
        for tensor in (unsigned, signed)
        if len(tensor.scale) == 1 and len(tensor.zero_point) <= 1
    ]
    shifted = len(ends) == 2 and ends[0][0] == ends[1][0] and ends[0][1][0] == ends[1][1][0] + 128
    text = "changes the quantisation of bytes; only uint8 that are int8 + 128 are supported"
    node.require(shifted and signed.dtype == "int8", text)


def _without_dequantize(
    file: File, target: int, operators: tuple[FileOperator, ...]
) -> tuple[int, tuple[FileOperator, ...]]:
    """The tensor that holds the int8 output, and the operators before it."""
    for operator in operators:
        if operator.outputs != (target,):
            continue
        node, unsigned = Node(file, operator), file.tensors[target].dtype == "uint8"
        if operator.kind == "DEQUANTIZE" or (operator.kind == "QUANTIZE" and unsigned):
            if unsigned:
                _check_bytes(node, file.tensors[target], file.tensors[node.input(0)])
            rest = tuple(other for other in operators if other is not operator)
            return node.input(0), rest
    return target, operators


def _needed(operators: tuple[FileOperator, ...], result: int) -> list[FileOperator]:
    """Those that the result depends on, in order."""
    wanted, kept = {result}, []
    for operator in reversed(operators):
        if wanted.intersection(operator.outputs):
            wanted.update(operator.inputs)
            kept.append(operator)
    return kept[::-1]


def _verified(model: Model, draft: Draft) -> Model:
    """The model, verified; a rule that is broken is told of the operator in the file."""
    try:
        return verify(model)
    except GraphError as error:
        where = error.where.rpartition(", ")[2]
        reason = str(error).removeprefix(f"{error.where}: ")
        if where in draft.nodes:
            hint = _SIZES if error.where == where else _SCALES  # rules on numbers name the region
            draft.nodes[where].refuse(reason if "; " in reason else f"{reason}; {hint}")
        if where == draft.names[0]:
            raise UnsupportedOp(f"the input {where}: {reason}; {_SIZES}") from error
        if where == "the graph":
            raise UnsupportedOp(f"the network {reason}; {_WHOLE}") from error
        raise


_SCALES = "convert the network again, calibrated on data like those that it will get"
_SIZES = "the C kernels take no more; change the network there"
_WHOLE = "import one that computes something and has at most 4096 operators"


def _model(draft: Draft, name: str, output: int) -> Model:
    """One region at full width."""
    tensors = tuple(
        Tensor(name=label, type=replace(type_, quantization=None))
        for label, type_ in zip(draft.names, draft.types, strict=True)
    )
    ops: tuple[Op, ...] = tuple(draft.ops)
    graph = Graph(tensors=tensors, ops=ops, input=0, output=output)
    region = Region(dp=100, types=tuple(draft.types), tables=tuple(draft.tables))
    return Model(name=name, graph=graph, regions=(region,))
