"""Kernels for the DSP instructions and Helium with outputs exactly where their contracts allow it.

A byte closer, and something is overwritten that is still to be read: these tests would see a kernel
that reads later than its contract says.
"""

from collections.abc import Callable, Sequence
from functools import partial
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
from test_generated_layers import QUICKLY, SANITIZERS, differences, gcc
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


SEEDS = (
    3001, 3003, 3007, 3009, 3010, 3011, 3015, 3018, 3028, 3029, 3030, 3038, 3041, 3043, 3044, 3046,
    3047, 3051, 3052, 3070, 3073, 3084, 3092, 3096, 3098, 3102, 3106, 3110, 3116, 3118, 3124, 3169,
    3170, 3176, 3212, 3220, 3226, 3230,
)  # fmt: skip
"""Of 240 `varied` models, those with the rarest kernels first, until each kernel shared bytes, and
worked in place, in five."""
OFTEN = 5


def varied(seed: int) -> Model:
    """Models of four kinds in turn."""
    return (layered_model, wide_model, quantized_model, strip_model)[seed % 4](seed // 4)


def native(models: Sequence[Model], folder: Path, isa: Isa) -> Native:
    return Native(models, folder, require(gcc), ["-O1", *SANITIZERS], isa, QUICKLY)


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
    models = [*map(varied, SEEDS)]
    monkeypatch.setattr(lower, "plan", tight_plan)
    roomy, placed = sharing(models, isa)
    often = {kernel for kernel, count in roomy.items() if count >= OFTEN}
    assert {kernel for kernel in often if kernel.endswith(f"_{isa}")} == ROOMY[isa]
    assert {kernel for kernel, count in placed.items() if count >= OFTEN} == PLACED[isa]
    assert differences(program(models, tmp_path, isa), models, samples=3) == []


def optimize_for(kernel: str) -> Optimize:
    """What makes the generator choose a kernel."""
    return Optimize.SPEED if kernel == WINOGRAD else Optimize.BALANCED


def leads(model: Model, isa: Isa, kernel: str) -> dict[str, int]:
    """The tensors that `kernel` makes over its input, and from how many bytes before it on."""
    optimize = optimize_for(kernel)
    shared = lower.lower(model, isa=isa, optimize=optimize).plan.shared
    made = {
        model.graph.tensors[op.output].name
        for op, variant in zip(model.graph.ops, choose(model, isa, optimize), strict=True)
        if variant is not None and variant.kernel == kernel
    }
    return {entry.output: entry.lead for entry in shared if entry.output in made}


def broken(native_: Native, models: Sequence[Model], name: str) -> list[bool]:
    """Of each model, whether the layer that makes the tensor differs in any region."""
    requests = [
        Request(index, region.dp, int8_inputs(model, index, 4))
        for index, model in enumerate(models)
        for region in model.regions
    ]
    found = [False] * len(models)
    for request, layers in zip(requests, native_.layers(requests), strict=True):
        model = models[request.model]
        expected = expected_layers(model, request)
        (layer,) = (
            op.name for op in model.graph.ops if model.graph.tensors[op.output].name == name
        )
        place = list(expected).index(layer)
        found[request.model] |= bool((layers[place] != expected[layer]).any())
    return found


WITNESSES: dict[tuple[Isa, str], tuple[Callable[[int], Model], str, tuple[int, ...]]] = {
    (Isa.DSP, "tesla_conv2d_1x1_dsp"): (varied, "conv1", (3012, 3017, 3024, 3081)),
    (Isa.DSP, "tesla_conv2d_3x3_dsp"): (wide_model, "conv1", (0, 24, 32, 56)),
    (Isa.DSP, "tesla_conv2d_dsp"): (varied, "conv1", (3004, 3026, 3048, 3057)),
    (Isa.DSP, "tesla_conv2d_flat_dsp"): (varied, "conv3", (3004, 3064, 3164, 3188)),
    (Isa.DSP, "tesla_max_pool2d_dsp"): (varied, "pool2", (3001, 3084, 3088, 3093)),
    (Isa.DSP, WINOGRAD): (filtered_model, "conv1", (3005, 3007, 3008, 3011)),
    (Isa.HELIUM, "tesla_conv2d_3x3_helium"): (wide_model, "conv1", (56, 96, 112, 152)),
    (Isa.HELIUM, "tesla_conv2d_dense_helium"): (varied, "conv1", (3012, 3026, 3044, 3048)),
    (Isa.HELIUM, "tesla_conv2d_planes_helium"): (varied, "conv1", (3004, 3121, 3137, 3188)),
}
"""Kernels whose lead is the least there is, and models with a tensor that shows it. Other kernels
read some channels after the other, or a vector at a time, or gather single taps whose channels are
no whole vectors: the byte that would be overwritten has been read."""


def test_every_convolution_has_witnesses() -> None:
    convolutions = {
        (isa, kernel)
        for isa, kernels in ROOMY.items()
        for kernel in kernels
        if kernel.startswith("tesla_conv2d") and kernel != "tesla_conv2d_helium"
    }
    pools = {(Isa.DSP, "tesla_max_pool2d_dsp")}
    assert WITNESSES.keys() == convolutions | pools | {(Isa.DSP, WINOGRAD)}


@pytest.mark.parametrize(("isa", "kernel"), WITNESSES)
def test_a_byte_closer_is_too_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, isa: Isa, kernel: str
) -> None:
    monkeypatch.setattr(dsp_winograd, "LARGEST_SHARE", float("inf"))
    monkeypatch.setattr(lower, "plan", tight_plan)
    make, name, seeds = WITNESSES[isa, kernel]
    models = [*map(make, seeds)]
    assert all(leads(model, isa, kernel).get(name, 0) > 0 for model in models)
    monkeypatch.setattr(lower, "plan", partial(tight_plan, short={name}))
    program = emulated(models, tmp_path, isa, optimize_for(kernel))
    assert all(broken(program, models, name))
