"""From an exported program to a float model of one operating region.

In: a `torch.export.ExportedProgram` of a network in evaluation mode, with one input `[B, …]` and
one output. Out: a verified float `Model`, 100 %. Refuses, with `UnsupportedOp`, operations that
have no counterpart, naming operation, kind and index.
"""

from collections.abc import Iterable
from typing import Never

import numpy as np
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind

from tesla_embed import __version__
from tesla_embed.errors import ConfigError, UnsupportedOp
from tesla_embed.ir.graph import Graph, Model, Provenance, Region
from tesla_embed.ir.types import Tensor as GraphTensor
from tesla_embed.ir.verify import IDENTIFIER, verify
from tesla_embed.nn.aten.draft import Draft, Node, kind_of, value_shape
from tesla_embed.nn.aten.operators import CONVERTERS, REARRANGING
from tesla_embed.nn.aten.program import functional

SUPPORTED = ", ".join(sorted(name for name in CONVERTERS if name != "getitem"))


def float_model(
    program: ExportedProgram, name: str, *, channels_last: bool = False, source: str = "module"
) -> Model:
    """The float model `name` of a program.

    Its input is `[height, width, channels]` for a program that takes images `[B, channels, height,
    width]`, `[1, length, channels]` for sequences, else a vector; `channels_last` is for programs
    that take `[B, height, width, channels]` themselves. `source` goes into the provenance.
    Raises `UnsupportedOp`, and `ConfigError` for a bad name.
    """
    if not IDENTIFIER.fullmatch(name):
        raise ConfigError(
            f"model name {name!r} is no C identifier of at most 63 characters; use letters, "
            "digits and _, a letter first"
        )
    program = functional(program)
    entry, result = _ends(program)
    steps = list(_needed(program.graph, result))
    _check_kinds(steps)
    draft = Draft(constants=_constants(program))
    shape = value_shape(entry, lambda what: _refuse_input(entry, what))
    if len(shape) > 3:
        _refuse_input(entry, f"has shape {list(shape)}; vectors, sequences and images can be")
    if not entry.meta["val"].is_floating_point():
        _refuse_input(entry, f"is {entry.meta['val'].dtype}; real numbers are supported")
    draft.begin(entry, shape, channels_last)
    for node in steps:
        _convert(draft, node)
    return verify(_model(draft, name, _output(draft, result), source))


def _convert(draft: Draft, node: Node) -> None:
    if node.node in draft.absorbed:
        draft.values[node.node] = draft.values[draft.absorbed[node.node]]
        return
    sources = node.node.all_input_nodes
    if node.kind in REARRANGING and sources and all(s in draft.constants for s in sources):
        (only,) = sources
        target = node.node.target
        assert callable(target)
        draft.constants[node.node] = target(draft.constants[only], *node.node.args[1:])
        return
    draft.values[node.node] = CONVERTERS[node.kind](draft, node)


def _needed(graph: fx.Graph, result: fx.Node) -> Iterable[Node]:
    """The operations that the output depends on, in order."""
    needed, waiting = {result}, [result]
    while waiting:
        for source in waiting.pop().all_input_nodes:
            if source not in needed:
                needed.add(source)
                waiting.append(source)
    calls = [node for node in graph.nodes if node.op != "placeholder"]
    for index, node in enumerate(calls):
        if node in needed:
            yield Node(node, index, kind_of(node))


def _check_kinds(steps: Iterable[Node]) -> None:
    """Refuse unknown operations before anything else is looked at."""
    for node in steps:
        if node.kind not in CONVERTERS:
            node.refuse(f"is not supported; supported are {SUPPORTED}")


def _ends(program: ExportedProgram) -> tuple[fx.Node, fx.Node]:
    """The one input and the one output."""
    signature = program.graph_signature
    placeholders = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    inputs = [spec for spec in signature.input_specs if spec.kind == InputKind.USER_INPUT]
    used = [spec for spec in inputs if getattr(spec.arg, "name", None) in placeholders]
    if len(inputs) != 1 or len(used) != 1:
        raise UnsupportedOp(f"the network has {len(inputs)} inputs; one tensor is supported")
    kinds = [spec.kind for spec in signature.output_specs]
    if any(kind != OutputKind.USER_OUTPUT for kind in kinds):
        raise UnsupportedOp(
            "the network changes its input or its own buffers (as batch norm does in training); "
            "call .eval() before exporting"
        )
    (output,) = (node for node in program.graph.nodes if node.op == "output")
    results = output.args[0]
    if len(kinds) != 1 or not isinstance(results, tuple | list):
        raise UnsupportedOp(f"the network has {len(kinds)} outputs; one tensor is supported")
    (result,) = results
    if not isinstance(result, fx.Node) or result.op == "placeholder":
        raise UnsupportedOp("the network computes nothing from its input")
    return placeholders[used[0].arg.name], result


def _constants(program: ExportedProgram) -> dict[fx.Node, Tensor]:
    """Parameters, buffers and constants by their placeholders."""
    found = {}
    placeholders = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    for spec in program.graph_signature.input_specs:
        name, target = getattr(spec.arg, "name", None), spec.target
        if target is None or name not in placeholders:
            continue
        value = program.state_dict.get(target, program.constants.get(target))
        if isinstance(value, Tensor):
            found[placeholders[name]] = value
    return found


def _output(draft: Draft, result: fx.Node) -> int:
    """The tensor of the output, which must lie as PyTorch has it, or be an image."""
    node = Node(result, 0, kind_of(result))
    if result not in draft.values:
        raise UnsupportedOp("the network's output does not depend on its input")
    value = draft.values[result]
    if value.places.ndim > 1:
        return draft.image(node, value)
    if not np.array_equal(value.places, np.arange(value.places.size)):
        raise UnsupportedOp(
            "the network's output is a flattened image, whose elements lie in another order on "
            "the device; leave out the last flattening"
        )
    return draft.vector(node, value)


def _model(draft: Draft, name: str, output: int, source: str) -> Model:
    tensors = tuple(
        GraphTensor(name=tensor, type=type_)
        for tensor, type_ in zip(draft.names, draft.types, strict=True)
    )
    graph = Graph(tensors=tensors, ops=tuple(draft.ops), input=0, output=output)
    region = Region(dp=100, types=tuple(draft.types), tables=tuple(draft.tables))
    provenance = Provenance(tool_version=__version__, recipe=source, algorithm="import")
    return Model(name=name, graph=graph, regions=(region,), provenance=provenance)


def _refuse_input(entry: fx.Node, what: str) -> Never:
    raise UnsupportedOp(f"the input {entry.name!r} {what}")
