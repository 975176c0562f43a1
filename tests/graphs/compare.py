"""Random graphs through every implementation, and what came of it.

The integer interpreter defines the truth; the C of this machine, the C on an emulated Cortex-M4 and
LiteRT's reference kernels are compared with it, layer by layer, in every region.
"""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from graphs.driver import Int8, Request, first_difference
from graphs.emulated import Emulated, zig_m4
from graphs.extremes import extreme_model
from graphs.models import int8_inputs, quantized_model
from graphs.narrow import narrow_model
from graphs.native import Native
from tesla_codegen.kernels.variant import Isa
from tesla_embed.errors import GraphError, QuantizationError, UnsupportedOp
from tesla_embed.ir.graph import Model
from tesla_embed.ir.interpret import interpret_layers
from tesla_embed.ir.ops import Reshape
from tesla_host.judge import judge_layers

KINDS: tuple[Callable[..., Model], ...] = (quantized_model, extreme_model, narrow_model)
_NO_INTEGERS = ("no 31-bit multiplier rounds its sums", "a bias does not fit int32")
_QUICK = ("-O1", "-Xclang", "-O0")
"""Compile calls fast; what zig itself calls -O0 would bring its debugger's library."""
IMPLEMENTATIONS = ("host C", "emulated Cortex-M4", "LiteRT")


def random_model(number: int) -> Model | None:
    """Model `number` of an endless row: ordinary, extreme, of four bits; some not for LiteRT.

    `None` for one that has no exact integers, which is for `verify` or `quantize` to say.
    """
    try:
        return KINDS[number % 3](number, portable=number // 3 % 4 > 0)
    except (GraphError, QuantizationError) as error:
        if not any(reason in str(error) for reason in _NO_INTEGERS):
            raise
        return None


@dataclass(slots=True)
class Tally:
    """What one implementation was compared in; `values` are int8 numbers of layers and outputs."""

    graphs: int = 0
    regions: int = 0
    layers: int = 0
    values: int = 0
    mismatches: int = 0


@dataclass(slots=True)
class Outcome:
    """Comparisons by implementation, operations by kind, and the first difference of each region.

    `refused` counts graphs that have no exact integers (no multiplier that rounds as float64 does,
    a bias beyond int32); nothing is compared of them. `inexpressible` counts graphs that no
    .tflite can hold (paddings of pools, absurd scales): LiteRT judges not all of their regions.
    """

    compared: dict[str, Tally] = field(
        default_factory=lambda: {name: Tally() for name in IMPLEMENTATIONS}
    )
    operations: dict[str, int] = field(default_factory=dict)
    refused: int = 0
    inexpressible: int = 0
    differences: list[str] = field(default_factory=list)

    def count(self, name: str, where: str, pairs: Iterable[tuple[str, Int8, Int8]]) -> None:
        """Compare one region: layer by layer a name, what was found and what is true."""
        tally, first = self.compared[name], ""
        tally.regions += 1
        for layer, found, wanted in pairs:
            tally.layers += 1
            tally.values += wanted.size
            first = first or first_difference(f"{name}, {where}, {layer}", found, wanted)
        if first:
            tally.mismatches += 1
            self.differences.append(first)


def expected_layers(model: Model, request: Request) -> dict[str, Int8]:
    """What the C shows, in order, and the output's buffer."""
    layers = interpret_layers(model, model.region(request.dp), request.inputs)
    shown = zip(model.graph.ops, layers, strict=True)
    named = {op.name: layer for op, layer in shown if not isinstance(op, Reshape)}
    return {**named, "the output": layers[-1]}


def compare_batch(
    numbers: Sequence[int], compiler: Sequence[str], samples: int, outcome: Outcome
) -> None:
    """Put the models `numbers` through everything, `samples` inputs in every region."""
    made = {number: random_model(number) for number in numbers}
    models = [model for model in made.values() if model is not None]
    outcome.refused += len(numbers) - len(models)
    numbers = [number for number in numbers if made[number] is not None]
    requests = [
        Request(place, region.dp, int8_inputs(model, number, samples))
        for place, (number, model) in enumerate(zip(numbers, models, strict=True))
        for region in model.regions
    ]
    names = [f"graph {numbers[r.model]}, {r.dp} %" for r in requests]
    truth = [expected_layers(models[request.model], request) for request in requests]
    for model in models:
        for op in model.graph.ops:
            kind = type(op).__name__
            outcome.operations[kind] = outcome.operations.get(kind, 0) + 1
    for name in IMPLEMENTATIONS[:2]:
        with tempfile.TemporaryDirectory(prefix="graphs-") as folder:
            place = Path(folder)
            program = (
                Native(models, place, compiler, ["-O1"], calls=["-O0"])
                if name == IMPLEMENTATIONS[0]
                else Emulated(models, place, zig_m4(), ["-O3"], Isa.DSP, _QUICK)
            )
            found = program.layers(requests)
        outcome.compared[name].graphs += len(models)
        for where, wanted, layers in zip(names, truth, found, strict=True):
            pairs = zip(wanted, layers, wanted.values(), strict=True)
            outcome.count(name, where, pairs)
    _judge(models, requests, names, outcome)


def _judge(
    models: Sequence[Model], requests: Sequence[Request], names: Sequence[str], outcome: Outcome
) -> None:
    """Compare with LiteRT wherever it has the operations."""
    unknown: set[int] = set()
    for request, where in zip(requests, names, strict=True):
        model = models[request.model]
        region = model.region(request.dp)
        try:
            judged = judge_layers(model, region, request.inputs)
        except UnsupportedOp:
            unknown.add(request.model)
            continue
        ours = interpret_layers(model, region, request.inputs)
        shown = [op.name for op in model.graph.ops]
        outcome.count(IMPLEMENTATIONS[2], where, zip(shown, judged, ours, strict=True))
    outcome.compared[IMPLEMENTATIONS[2]].graphs += len(models) - len(unknown)
    outcome.inexpressible += len(unknown)
