"""Kernels for the DSP instructions and Helium with outputs exactly where their contracts allow it.

A byte closer, and something is overwritten that is still to be read: these tests would see a kernel
that reads later than its contract says.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import pytest
from conftest import require
from graphs import (
    Emulated,
    Native,
    Request,
    Vectored,
    expected_layers,
    filtered_model,
    int8_inputs,
    layered_model,
    quantized_model,
    strip_model,
    wide_model,
    zig_m4,
)
from graphs.tight import tight_plan
from graphs.wide import KINDS
from test_generated_layers import SANITIZERS, differences, gcc
from test_kernels_helium import zig_m55

from tesla_codegen import lower
from tesla_codegen.inplace import buffer_homes
from tesla_codegen.kernels import dsp_winograd
from tesla_codegen.kernels.choice import choose
from tesla_codegen.kernels.variant import Isa, Optimize
from tesla_embed.ir.graph import Model

ROOMY = {
    Isa.DSP: {
        "tesla_add_dsp", "tesla_add_once_dsp", "tesla_average_pool2d_dsp", "tesla_conv2d_1x1_dsp",
        "tesla_conv2d_3x3_dsp", "tesla_conv2d_dsp", "tesla_conv2d_flat_dsp",
        "tesla_depthwise_conv2d_dsp", "tesla_fully_connected_dsp", "tesla_max_pool2d_dsp",
        "tesla_mean_dsp",
    },
    Isa.HELIUM: {
        "tesla_add_helium", "tesla_average_pool2d_helium", "tesla_conv2d_3x3_helium",
        "tesla_conv2d_dense_helium", "tesla_conv2d_helium", "tesla_conv2d_planes_helium",
        "tesla_max_pool2d_helium", "tesla_mean_helium",
    },
}  # fmt: skip
"""Kernels whose outputs may begin anywhere before a place; besides those of `WINOGRAD`."""
WINOGRAD = "tesla_conv2d_winograd_dsp"
PLACED = {
    Isa.DSP: {"tesla_depthwise_conv2d_dsp"},
    Isa.HELIUM: {"tesla_depthwise_conv2d_helium", "tesla_depthwise_conv2d_3x3_helium"},
}
"""Kernels that may work in place only."""


def varied(seed: int) -> Model:
    """Models of four kinds in turn."""
    return (layered_model, wide_model, quantized_model, strip_model)[seed % 4](seed // 4)


def native(models: Sequence[Model], folder: Path, isa: Isa) -> Native:
    return Native(models, folder, require(gcc), ["-O1", *SANITIZERS], isa)


def emulated(
    models: Sequence[Model], folder: Path, isa: Isa, optimize: Optimize = Optimize.BALANCED
) -> Native:
    kind, tools = (Vectored, zig_m55) if isa is Isa.HELIUM else (Emulated, zig_m4)
    return kind(models, folder, require(tools), ["-O2"], isa, optimize=optimize)


def sharing(models: Sequence[Model], isa: Isa) -> tuple[dict[str, int], dict[str, int]]:
    """By kernel, how many operations share bytes of the arena, and how many work in place."""
    roomy: dict[str, int] = {}
    placed: dict[str, int] = {}
    for model in models:
        kernels = [v and v.kernel for v in choose(model, isa, Optimize.BALANCED)]
        homes = buffer_homes(model, kernels)
        outputs = {entry.output for entry in lower.lower(model, isa=isa).plan.shared}
        for op, kernel in zip(model.graph.ops, kernels, strict=True):
            if kernel is not None and homes[op.output] == homes[op.input]:
                placed[kernel] = placed.get(kernel, 0) + 1
            elif kernel is not None and model.graph.tensors[homes[op.output]].name in outputs:
                roomy[kernel] = roomy.get(kernel, 0) + 1
    return roomy, placed


@pytest.mark.parametrize("program", [native, emulated])
@pytest.mark.parametrize("isa", [Isa.DSP, Isa.HELIUM])
def test_outputs_where_they_just_may_begin(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    isa: Isa,
    program: Callable[[Sequence[Model], Path, Isa], Native],
) -> None:
    models = [*map(varied, range(3000, 3240))]
    monkeypatch.setattr(lower, "plan", tight_plan)
    roomy, placed = sharing(models, isa)
    often = {kernel for kernel, count in roomy.items() if count >= 2}
    assert {kernel for kernel in often if kernel.endswith(f"_{isa}")} == ROOMY[isa]
    assert {kernel for kernel, count in placed.items() if count >= 3} == PLACED[isa]
    assert differences(program(models, tmp_path, isa), models, samples=3) == []


def overtaking(isa: Isa, kernel: str) -> Iterator[tuple[Model, str]]:
    """Models with a layer that `kernel` computes over its input, from some bytes before it on; and
    the name of its output."""
    optimize = optimize_for(kernel)
    for seed in range(100):
        if kernel == WINOGRAD:
            model = filtered_model(3000 + seed)
        elif kernel == "tesla_conv2d_1x1_dsp":
            model = wide_model(seed * len(KINDS) + KINDS.index("conv1x1"))
        else:
            model = varied(3000 + seed) if seed % 2 else wide_model(4 * seed)
        variants = choose(model, isa, optimize)
        plan = lower.lower(model, isa=isa, optimize=optimize).plan
        shared = {entry.output: entry.lead for entry in plan.shared}
        for op, variant in zip(model.graph.ops, variants, strict=True):
            name = model.graph.tensors[op.output].name
            if variant is not None and variant.kernel == kernel and shared.get(name, 0):
                yield model, name


def optimize_for(kernel: str) -> Optimize:
    """What makes the generator choose a kernel."""
    return Optimize.SPEED if kernel == WINOGRAD else Optimize.BALANCED


def broken(native_: Native, models: Sequence[Model], names: Sequence[str]) -> list[bool]:
    """Of each model, whether the layer that makes the tensor named differs in any region."""
    requests = [
        Request(index, region.dp, int8_inputs(model, index, 4))
        for index, model in enumerate(models)
        for region in model.regions
    ]
    found = [False] * len(models)
    for request, layers in zip(requests, native_.layers(requests), strict=True):
        model = models[request.model]
        expected = expected_layers(model, request)
        producers = {model.graph.tensors[op.output].name: op.name for op in model.graph.ops}
        place = list(expected).index(producers[names[request.model]])
        wanted = expected[producers[names[request.model]]]
        found[request.model] |= (layers[place] != wanted).any()
    return found


LOOSE = {"tesla_conv2d_helium"}
RARE = {"tesla_conv2d_flat_dsp", "tesla_conv2d_dense_helium"}
"""Kernels that show it in one of eight models only."""
TIGHT = [
    (isa, kernel)
    for isa, kernels in (*ROOMY.items(), (Isa.DSP, {WINOGRAD}))
    for kernel in sorted(kernels - LOOSE)
    if kernel.startswith("tesla_conv2d") or kernel == "tesla_max_pool2d_dsp"
]
"""Kernels whose lead is the least there is. Others read some channels after the other, or a vector
at a time, or gather single taps whose channels are no whole vectors: the byte that would be
overwritten has been read."""


@pytest.mark.parametrize(("isa", "kernel"), TIGHT)
def test_a_byte_closer_is_too_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, isa: Isa, kernel: str
) -> None:
    monkeypatch.setattr(dsp_winograd, "LARGEST_SHARE", float("inf"))
    monkeypatch.setattr(lower, "plan", tight_plan)
    models, names = zip(*islice(overtaking(isa, kernel), 8), strict=True)
    monkeypatch.setattr(lower, "plan", partial(tight_plan, short=set(names)))
    program = emulated(models, tmp_path, isa, optimize_for(kernel))
    assert sum(broken(program, models, names)) >= (1 if kernel in RARE else 2)
