"""A PyTorch module as a list of steps in a small vocabulary, found by symbolic tracing.

In: a module and an example of its input. Out: `Trace`, whose steps are the module's operations in
the order they run, functional forms and methods included, each with the shape it makes. Refuses,
with `UnsupportedOp` that names the operation and its source line, what is outside the vocabulary,
and with `ConfigError` examples on which the module does not run.
"""

import contextlib
import enum
import math
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, fx, nn

from tesla_embed.errors import ConfigError, UnsupportedOp
from tesla_embed.nn.layers import ChannelsFirst, IncompleteConv, IncompleteLinear, ScalableLayer
from tesla_embed.nn.norm import IncompleteBatchNorm

SUPPORTED = (
    "Linear, Conv1d and Conv2d (plain or depthwise), BatchNorm1d and 2d, ReLU, ReLU6 and other "
    "elementwise functions, max, average and adaptive average pools, addition, concatenation of "
    "channels, flattening, the mean over space, dropout, and softmax at the end"
)


NOTHING = frozenset(
    ("Identity", "Dropout", "Dropout1d", "Dropout2d", "dropout", "dropout2d", "contiguous")
)
"""Elementwise functions that do nothing in inference."""


class Kind(enum.Enum):
    """What a step does, as far as channels are concerned."""

    INPUT = enum.auto()
    WEIGHTED = enum.auto()
    NORM = enum.auto()
    ELEMENTWISE = enum.auto()
    POOL = enum.auto()
    ADD = enum.auto()
    CONCAT = enum.auto()
    FLATTEN = enum.auto()
    REARRANGE = enum.auto()
    SOFTMAX = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooling:
    """Options of a pool, all in pixels (height, width); `whole` covers the image, whatever it is.

    `odd` names an option that was used and is not described here, or is empty.
    """

    average: bool
    whole: bool = False
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    odd: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """One operation: `name` is the module's path or the node's name, unique unless used twice.

    `inputs` are indices of earlier steps, `shape` is the output's `[B, …]`, `function` the bare
    name (`Conv2d`, `relu`), `where` the source line as far as it is known. `rigid` marks a
    flattening whose size is written out as a number.
    """

    name: str
    kind: Kind
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    function: str
    where: str = ""
    module: nn.Module | None = None
    pooling: Pooling | None = None
    rigid: bool = False

    def refusal(self, why: str) -> UnsupportedOp:
        """The error that names this step and says why it cannot be."""
        return UnsupportedOp(f"{self.name} ({self.function}{self.where}): {why}")

    def refuse(self, why: str) -> NoReturn:
        """Raise the `refusal`."""
        raise self.refusal(why)


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """The steps of a module; the first is its input, step `output` is its result."""

    steps: tuple[Step, ...]
    output: int

    def readers(self, index: int) -> list[int]:
        """The steps that read step `index`, in order."""
        return [i for i, step in enumerate(self.steps) if index in step.inputs]


_MODULES: dict[type[nn.Module], Kind] = {
    **dict.fromkeys((nn.Linear, nn.Conv1d, nn.Conv2d), Kind.WEIGHTED),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d), Kind.NORM),
    **dict.fromkeys(
        (
            nn.ReLU, nn.ReLU6, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.LeakyReLU,
            nn.Hardtanh, nn.Sigmoid, nn.Tanh, nn.SiLU, nn.GELU, nn.ELU, nn.Hardswish,
            nn.Hardsigmoid,
        ),
        Kind.ELEMENTWISE,
    ),
    **dict.fromkeys(
        (
            nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d,
            nn.AdaptiveAvgPool2d,
        ),
        Kind.POOL,
    ),
    nn.Flatten: Kind.FLATTEN,
    ChannelsFirst: Kind.REARRANGE,
    **dict.fromkeys((nn.Softmax, nn.LogSoftmax), Kind.SOFTMAX),
}  # fmt: skip
_FUNCTIONS: dict[str, Kind] = {
    **dict.fromkeys(
        (
            "relu", "relu_", "relu6", "dropout", "dropout2d", "leaky_relu", "sigmoid", "tanh",
            "silu", "gelu", "elu", "hardtanh", "hardswish", "hardsigmoid", "mul", "truediv", "neg",
            "contiguous",
        ),
        Kind.ELEMENTWISE,
    ),
    **dict.fromkeys(
        (
            "max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d", "adaptive_avg_pool1d",
            "adaptive_avg_pool2d", "mean",
        ),
        Kind.POOL,
    ),
    **dict.fromkeys(("add", "add_", "iadd"), Kind.ADD),
    **dict.fromkeys(("cat", "concat", "concatenate"), Kind.CONCAT),
    **dict.fromkeys(("flatten", "view", "reshape"), Kind.FLATTEN),
    **dict.fromkeys(("permute", "unsqueeze"), Kind.REARRANGE),
    **dict.fromkeys(("softmax", "log_softmax"), Kind.SOFTMAX),
}  # fmt: skip
_ROOMS = ("torch", "_operator", "builtins")
_POOL_OPTIONS = {
    "max": ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
    "avg": (
        "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override",
    ),
}  # fmt: skip


class _Tracer(fx.Tracer):
    record_stack_traces = True

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        ours = isinstance(m, ScalableLayer | ChannelsFirst)
        return ours or super().is_leaf_module(m, module_qualified_name)


class _Shapes(fx.Interpreter):
    """Runs a module and notes the shape of every tensor in its node."""

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            n.meta["shape"] = tuple(result.shape)
        return result


def trace(module: nn.Module, example: Tensor) -> Trace:
    """The steps of `module`, with shapes for `example` `[B, …]`. Leaves the module as it is.

    Raises `UnsupportedOp` and `ConfigError`.
    """
    shaped = symbolic(module)
    try:
        with _evaluating(module), torch.no_grad():
            _Shapes(shaped).run(example)
    except Exception as error:  # the module's own code runs here, and layers raise several kinds
        raise ConfigError(
            f"{type(module).__name__} does not run on an example of shape "
            f"{tuple(example.shape)}: {_first_line(error)}; give an example that it accepts"
        ) from error
    return _translate(shaped.graph, dict(module.named_modules()))


def symbolic(module: nn.Module) -> fx.GraphModule:
    """The graph of a module, which shares its layers; `step_name` names the nodes.

    Raises `UnsupportedOp` when the module cannot be traced.
    """
    try:
        graph = _Tracer().trace(module)
    except Exception as error:  # the module's own code runs here, on proxies
        raise UnsupportedOp(
            f"{type(module).__name__} cannot be traced ({_first_line(error)}); its forward must "
            "not depend on the values of tensors"
        ) from error
    shaped = fx.GraphModule(module, graph)
    shaped.graph.eliminate_dead_code()
    return shaped


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def step_name(node: fx.Node) -> str:
    """The name of the step that a node becomes: a module's path, or the node's own name."""
    return str(node.target) if node.op == "call_module" else node.name


@contextlib.contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while, every submodule's own mode restored."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def _translate(graph: fx.Graph, modules: dict[str, nn.Module]) -> Trace:
    indices: dict[fx.Node, int] = {}
    steps: list[Step] = []
    for node in graph.nodes:
        if node.op == "output":
            result = node.args[0]
            if not isinstance(result, fx.Node) or result not in indices:
                raise UnsupportedOp("the module must return one tensor, not several or a structure")
            return Trace(tuple(steps), indices[result])
        if node.op == "placeholder" and steps:
            raise UnsupportedOp(f"{node.name}: the module must take one input, not several")
        step = _step(node, modules, indices)
        if step is not None:
            indices[node] = len(steps)
            steps.append(step)
    raise UnsupportedOp("the module returns nothing")


def _step(node: fx.Node, modules: dict[str, nn.Module], indices: dict[fx.Node, int]) -> Step | None:
    """Translate one node; `None` for those that only compute with shapes."""
    shape: tuple[int, ...] = node.meta.get("shape", ())
    module = modules[str(node.target)] if node.op == "call_module" else None
    function = type(module).__name__ if module else _function(node)
    if function in ("size", "getattr", "getitem") and not shape:
        return None
    step = Step(
        name=step_name(node),
        kind=Kind.INPUT,
        inputs=tuple(indices[source] for source in _tensors(node) if source in indices),
        shape=shape,
        function=function,
        where=_where(node),
        module=module,
    )
    if node.op == "placeholder":
        return step
    if not step.shape:
        step.refuse("makes no tensor with a batch dimension")
    kind = _module_kind(module) if module else _FUNCTIONS.get(function)
    if kind is None or not step.inputs:
        step.refuse(f"is not supported; supported are {SUPPORTED}")
    return _detail(step, kind, node, [node.args, node.kwargs])


def _module_kind(module: nn.Module) -> Kind | None:
    if isinstance(module, IncompleteLinear | IncompleteConv):
        return Kind.WEIGHTED
    if isinstance(module, IncompleteBatchNorm):
        return Kind.NORM
    return _MODULES.get(type(module))


def _detail(step: Step, kind: Kind, node: fx.Node, given: Sequence[object]) -> Step:
    """Settle what the kind alone does not say."""
    pooling, rigid, sources, function = None, False, _tensors(node), step.function
    if function in ("Hardtanh", "hardtanh"):
        function = _clip(step, node)
    if kind is Kind.POOL:
        pooling = _pooling(step, node, sources[0])
    elif kind is Kind.ADD and len(sources) == 1:
        kind = Kind.ELEMENTWISE  # a number is added
    elif kind is Kind.ELEMENTWISE and len(sources) != 1:
        step.refuse("combines two tensors; only addition and concatenation may")
    elif kind is Kind.CONCAT and _option(node, 1, "dim", 0) % len(step.shape) != 1:
        step.refuse("must concatenate along the channels, dim=1")
    elif kind is Kind.SOFTMAX and _softmax_dim(step, node) % len(step.shape) != 1:
        step.refuse("must work along the channels, dim=1")
    elif kind is Kind.FLATTEN:
        flat = step.shape == (step.shape[0], math.prod(_shape(sources[0])[1:]))
        kind = Kind.FLATTEN if flat else Kind.REARRANGE
        sizes = node.args[1:] if step.function in ("view", "reshape") else ()
        numbers = sizes[0] if sizes and isinstance(sizes[0], tuple | list) else sizes
        rigid = len(numbers) > 1 and isinstance(numbers[1], int) and numbers[1] != -1
    if kind is Kind.ADD and "alpha" in node.kwargs:
        step.refuse("adds with a factor alpha; multiply first")
    return Step(
        name=step.name, kind=kind, inputs=step.inputs, shape=step.shape, function=function,
        where=step.where, module=step.module, pooling=pooling, rigid=rigid,
    )  # fmt: skip


def _pooling(step: Step, node: fx.Node, source: fx.Node) -> Pooling:
    """Options of a pool, from a module's attributes or a function's arguments."""
    shape = _shape(source)
    dims, average = len(shape) - 2, "max" not in step.function.lower()
    if step.function == "mean":
        over = _option(node, 1, "dim", None)
        wanted = [over] if isinstance(over, int) else list(over or ())
        if dims < 1 or sorted(d % len(shape) for d in wanted) != list(range(2, len(shape))):
            step.refuse("must take the mean over all of space and nothing else")
        return Pooling(average=True, whole=True)
    if "adaptive" in step.function.lower():
        size = step.module.output_size if step.module else _option(node, 1, "output_size", 1)
        if any(n != 1 for n in (size if isinstance(size, tuple | list) else (size,))):
            step.refuse(f"adapts to size {size}; only 1 is supported")
        return Pooling(average=True, whole=True)
    names = _POOL_OPTIONS["avg" if average else "max"]
    values = {
        name: getattr(step.module, name, None) if step.module else _option(node, i, name, None)
        for i, name in enumerate(names, 1)
    }
    kernel = _pair(values["kernel_size"], dims)
    stride = kernel if values["stride"] in (None, ()) else _pair(values["stride"], dims)
    padding = _pair(values["padding"] or 0, dims)
    odd = [name for name in ("ceil_mode", "return_indices", "divisor_override") if values.get(name)]
    odd += ["dilation"] if any(n != 1 for n in _pair(values.get("dilation") or 1, dims)) else []
    counts = values.get("count_include_pad", False) in (None, True)
    odd += ["count_include_pad"] if average and any(padding) and counts else []
    return Pooling(
        average=average, kernel=kernel, stride=stride, padding=padding, odd=", ".join(odd)
    )


def _clip(step: Step, node: fx.Node) -> str:
    """What a Hardtanh is: a ReLU6, or `Hardtanh(low, high)`."""
    given: list[Any] = [
        getattr(step.module, name) if step.module else _option(node, position, name, default)
        for position, name, default in ((1, "min_val", -1.0), (2, "max_val", 1.0))
    ]
    return "ReLU6" if given == [0, 6] else f"Hardtanh({', '.join(f'{n:g}' for n in given)})"


def _softmax_dim(step: Step, node: fx.Node) -> int:
    dim: Any = step.module.dim if step.module else _option(node, 1, "dim", None)
    return 1 if dim is None else int(dim)


def _tensors(node: fx.Node) -> list[fx.Node]:
    """The tensors a node works on, in order; a tensor used twice counts twice."""
    found: list[fx.Node] = []
    fx.node.map_arg(node.args[:1] if _function(node) in _SIZED else node.args, found.append)
    return found


_SIZED = frozenset(("view", "reshape", "flatten", "unsqueeze", "permute"))
"""Functions whose later arguments are sizes."""


def _function(node: fx.Node) -> str:
    if node.op == "call_function":
        target: Any = node.target
        room = (getattr(target, "__module__", None) or "torch").partition(".")[0]
        known = room in _ROOMS or target in vars(operator).values()
        return target.__name__ if known else f"{room}.{target.__name__}"
    return str(node.target) if node.op == "call_method" else node.op


def _option(node: fx.Node, position: int, name: str, default: object) -> Any:
    if name in node.kwargs:
        return node.kwargs[name]
    return node.args[position] if len(node.args) > position else default


def _shape(node: fx.Node) -> tuple[int, ...]:
    shape: tuple[int, ...] = node.meta["shape"]
    return shape


def _pair(value: Any, dims: int) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, tuple | list) else (value,)
    return tuple(int(n) for n in (values * dims if len(values) == 1 else values))


def _where(node: fx.Node) -> str:
    """The line of the user's code that a node comes from, or nothing."""
    torch_home = str(Path(torch.__file__).parent)
    lines = [line.strip() for line in (node.stack_trace or "").splitlines()]
    for line in reversed(lines):
        if line.startswith('File "') and torch_home not in line and __file__ not in line:
            file, number = line[6:].split('", line ')
            return f", {Path(file).name}:{number.partition(',')[0]}"
    return ""
