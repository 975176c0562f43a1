"""Models on disk: one `.safetensors` file, tensors plus a JSON description. Never pickle.

Layout: the metadata key `tesla-embed` holds `{"schema", "model", "digest"}`; weights are named
`<operation>.weights` and `<operation>.weight_scale`, a region's tables
`region<dp>.<operation>.bias`, `region<dp>.<operation>.weight_scale` and, in float models,
`region<dp>.<operation>.gain`. Weights of four bits are stored as int8; the description of their
operation has `weight_bits`.
Files are not trusted: whatever is read is verified.
"""

import dataclasses
import hashlib
import json
import typing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from tesla_embed.atomic import write_bytes
from tesla_embed.errors import GraphError
from tesla_embed.ir.graph import Graph, Model, Provenance, Region, Table
from tesla_embed.ir.ops import Op, Weighted
from tesla_embed.ir.types import Tensor, TensorType, Weights
from tesla_embed.ir.verify import verify

SCHEMA = "tesla-embed/model/2"
METADATA_KEY = "tesla-embed"
MAX_FILE_BYTES = 2**28
_BITS_KEY = "weight_bits"
_USUAL_BITS = 8
"""What the weights of an operation have whose description says nothing of them."""

Arrays = dict[str, npt.NDArray[np.generic]]
_OPS: dict[str, type[Any]] = {cls.__name__: cls for cls in typing.get_args(Op)}


class _RegionRecord(msgspec.Struct, forbid_unknown_fields=True):
    dp: int
    types: tuple[TensorType, ...]


class _ModelRecord(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    tensors: tuple[Tensor, ...]
    ops: list[dict[str, Any]]
    input: int
    output: int
    regions: list[_RegionRecord]
    provenance: Provenance = Provenance()


class _Header(msgspec.Struct):
    schema: str
    model: _ModelRecord
    digest: str


def save_model(path: Path, model: Model) -> None:
    """Write a verified model; replaces `path` in one step."""
    header = {"schema": SCHEMA, "model": _describe(verify(model)), "digest": digest(model)}
    metadata = {METADATA_KEY: json.dumps(header, sort_keys=True)}
    write_bytes(path, save(_arrays(model), metadata=metadata))


def load_model(path: Path) -> Model:
    """Read and verify a model. Raises `GraphError` that names the file and what is wrong."""
    arrays, metadata = read_safetensors(path)
    text = metadata.get(METADATA_KEY, "{}")
    schema = read_schema(text)
    if schema != SCHEMA:
        raise GraphError(f"{path}: holds {schema or 'no tesla-embed data'}, {_hint(schema)}")
    try:
        header = msgspec.json.decode(text, type=_Header)
        model = verify(_build(header.model, arrays))
        for answers in model.provenance.float_answers:
            answers.accuracy(1)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise GraphError(
            f"{path}: the model's description is truncated or damaged ({error}); quantise or "
            "import the network again"
        ) from error
    except GraphError as error:
        raise GraphError(f"{path}: {error}; quantise or import the network again") from error
    if digest(model) != header.digest:
        raise GraphError(f"{path}: is not what was written, by its own checksum; make it again")
    return model


def digest(model: Model) -> str:
    """SHA-256 of everything that reaches the device, in hexadecimal; provenance left out."""
    description = _describe(model)
    del description["provenance"]
    sha = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name, array in sorted(_arrays(model).items()):
        sha.update(f"{name} {array.dtype} {array.shape}".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()


def read_safetensors(path: Path) -> tuple[Arrays, dict[str, str]]:
    """All tensors and the metadata of a safetensors file; `GraphError` if it is not one."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise GraphError(f"{path}: is larger than {MAX_FILE_BYTES >> 20} MiB; not a model")
        content = path.read_bytes()
    except OSError as error:
        raise GraphError(f"cannot read {path}: {error.strerror}; check the path") from error
    try:
        arrays = load(content)
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise GraphError(
            f"{path}: no valid safetensors file (truncated or damaged); make it again"
        ) from error
    return arrays, metadata


def read_schema(text: str) -> str:
    """The `schema` of a metadata text, or an empty string."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    return str(found.get("schema", "")) if isinstance(found, dict) else ""


def _hint(schema: str) -> str:
    """What to do about a file of another schema."""
    if schema.startswith("tesla-embed/model/"):
        return f"not {SCHEMA}; quantise the network again with this version"
    if "checkpoint" in schema:
        return "not a model; run `tesla-embed quantize` on it first"
    return "not a model; not ours"


def _describe(model: Model) -> dict[str, Any]:
    record = _ModelRecord(
        name=model.name,
        tensors=model.graph.tensors,
        ops=[_describe_op(op) for op in model.graph.ops],
        input=model.graph.input,
        output=model.graph.output,
        regions=[_RegionRecord(dp=region.dp, types=region.types) for region in model.regions],
        provenance=model.provenance,
    )
    described: dict[str, Any] = msgspec.to_builtins(record)
    return described


def _describe_op(op: Op) -> dict[str, Any]:
    names = [field.name for field in dataclasses.fields(op) if field.name != "weights"]
    described = {"kind": type(op).__name__, **{name: getattr(op, name) for name in names}}
    if isinstance(op, Weighted) and op.weights.bits != _USUAL_BITS:
        described[_BITS_KEY] = op.weights.bits
    return described


def _arrays(model: Model) -> Arrays:
    arrays: Arrays = {}
    for op in model.graph.ops:
        if isinstance(op, Weighted):
            arrays[f"{op.name}.weights"] = op.weights.data
            if op.weights.scale is not None:
                arrays[f"{op.name}.weight_scale"] = op.weights.scale
    for region in model.regions:
        for op, table in zip(model.graph.ops, region.tables, strict=True):
            if table is None:
                continue
            arrays[f"region{region.dp}.{op.name}.bias"] = table.bias
            if table.weight_scale is not None:
                arrays[f"region{region.dp}.{op.name}.weight_scale"] = table.weight_scale
            if table.gain is not None:
                arrays[f"region{region.dp}.{op.name}.gain"] = table.gain
    # safetensors writes an array as it lies in memory, whatever its strides.
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _build(record: _ModelRecord, arrays: Arrays) -> Model:
    ops = tuple(_build_op(dict(described), arrays) for described in record.ops)
    regions = tuple(
        Region(
            dp=region.dp,
            types=region.types,
            tables=tuple(_build_table(f"region{region.dp}.{op.name}", op, arrays) for op in ops),
        )
        for region in record.regions
    )
    if arrays:
        raise GraphError(f"holds a tensor that nothing refers to: {min(arrays)}")
    graph = Graph(tensors=record.tensors, ops=ops, input=record.input, output=record.output)
    return Model(name=record.name, graph=graph, regions=regions, provenance=record.provenance)


def _build_op(described: dict[str, Any], arrays: Arrays) -> Op:
    kind = described.pop("kind", None)
    cls = _OPS.get(str(kind))
    if cls is None:
        raise GraphError(f"unknown operation {kind!r}; known are {', '.join(sorted(_OPS))}")
    hints = typing.get_type_hints(cls)
    if "weights" in hints:
        bits = msgspec.convert(described.pop(_BITS_KEY, _USUAL_BITS), type=int)
        described["weights"] = _build_weights(str(described.get("name")), arrays, bits)
    if described.keys() - hints.keys():
        raise GraphError(f"{kind} has no attribute {min(described.keys() - hints.keys())!r}")
    values = {
        name: value if name == "weights" else msgspec.convert(value, type=hints[name])
        for name, value in described.items()
    }
    try:
        built: Op = cls(**values)
    except TypeError as error:
        raise GraphError(f"{kind} lacks an attribute ({error})") from error
    return built


def _build_weights(name: str, arrays: Arrays, bits: int) -> Weights:
    scale = _scale(f"{name}.weight_scale", arrays)
    return Weights(data=_take(f"{name}.weights", arrays), scale=scale, bits=bits)


def _build_table(name: str, op: Op, arrays: Arrays) -> Table | None:
    if not isinstance(op, Weighted):
        return None
    return Table(
        bias=_take(f"{name}.bias", arrays),
        weight_scale=_scale(f"{name}.weight_scale", arrays),
        gain=_scale(f"{name}.gain", arrays),
    )


def _take(name: str, arrays: Arrays) -> npt.NDArray[np.generic]:
    try:
        return arrays.pop(name)
    except KeyError:
        raise GraphError(f"lacks the tensor {name}") from None


def _scale(name: str, arrays: Arrays) -> npt.NDArray[np.float64] | None:
    found = arrays.pop(name, None)
    if found is not None and found.dtype != np.float64:
        raise GraphError(f"{name} is {found.dtype}, not float64")
    return typing.cast("npt.NDArray[np.float64] | None", found)
