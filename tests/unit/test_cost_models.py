"""Estimates: every kernel has a cost model and coefficients, and least squares finds them."""

import dataclasses
import json
import re
from importlib.resources import files
from pathlib import Path

import msgspec
import numpy as np
import pytest
from graphs import every_operation
from less_sure import LESS_SURE
from shell import call

from tesla_codegen.cost.counts import Counts
from tesla_codegen.cost.models import MODELS, counts_of
from tesla_codegen.cost.work import Axis
from tesla_codegen.kernels.choice import choose
from tesla_codegen.kernels.variant import Isa, Optimize
from tesla_codegen.lower import lower
from tesla_embed.errors import CodegenError, ConfigError
from tesla_embed.ir.store import save_model
from tesla_host.catalogue import TARGETS
from tesla_host.cli.estimate import write_estimate
from tesla_host.estimate import coefficients, estimate
from tesla_host.estimate.coefficients import data_file, load_coefficients, save_coefficients
from tesla_host.estimate.comparison import compare_estimate
from tesla_host.estimate.designs import NETWORKS, design, further_design
from tesla_host.estimate.estimate import estimate_model
from tesla_host.estimate.fit import SMALL, fit, nonnegative, predict
from tesla_host.estimate.measure import Observation
from tesla_host.estimate.sizes import Code, code_bytes
from tesla_host.targets import check_target, find_target

ROOT = Path(__file__).parents[2]
HEADERS = files("tesla_firmware").joinpath("include", "tesla")
HEADER = "".join(
    HEADERS.joinpath(f"kernels{part}.h").read_text() for part in ("", "_dsp", "_helium")
)
KERNELS = set(re.findall(r"^void (tesla_\w+)\(", HEADER, re.MULTILINE))
MEASURED = [
    (find_target(name), toolchain)
    for name in ("emulator", "qemu:mps3-an547")
    for toolchain in ("zig", "gcc")
]
"""A target of each CPU that was measured, and the toolchains."""
LEVELS = [(*known, optimize) for known in MEASURED for optimize in Optimize]
"""The same with what is optimised for."""
FAST_ALONE = {"tesla_conv2d_3x3_dsp", "tesla_conv2d_winograd_dsp"}
"""Kernels that are never chosen to save flash."""


def test_every_kernel_has_a_cost_model() -> None:
    assert len(KERNELS) > 40
    assert MODELS.keys() == KERNELS


@pytest.mark.parametrize(("target", "toolchain", "optimize"), LEVELS)
def test_every_kernel_of_a_cpu_was_measured(
    target: coefficients.Target, toolchain: str, optimize: Optimize
) -> None:
    known = load_coefficients(target, toolchain, optimize)
    endings = ("_s8", "_s4", f"_{target.isa}")
    wanted = {kernel for kernel in KERNELS if kernel.endswith(endings)}
    wanted -= FAST_ALONE if optimize is Optimize.SIZE else set()
    assert wanted == known.kernels.keys()
    assert all(kernel in known.code for kernel in wanted)
    same = {t.name for t in TARGETS if t.core == target.core and toolchain in t.toolchains}
    assert known.boards.keys() == same
    for name, cost in known.kernels.items():
        ranged = name == "tesla_softmax_s8"  # depends on the data
        assert ranged or cost.worst < LESS_SURE.get(name, 0.03), name
        assert (cost.low < cost.high) == ranged, name
        assert min(cost.coefficients.values()) > 0, name
        assert cost.stack_bytes is not None and cost.observations >= 9, name


@pytest.mark.parametrize("target", [t for t in TARGETS if t.core is not None], ids=str)
@pytest.mark.parametrize("toolchain", ["zig", "gcc", "clang"])
def test_only_what_was_measured_is_estimated(target: coefficients.Target, toolchain: str) -> None:
    """Another CPU, of the same family even, or another compiler: nothing is known."""
    if (target.cpu, toolchain) in {(known.cpu, kind) for known, kind in MEASURED}:
        assert load_coefficients(target, toolchain).cpu == target.cpu
        return
    with pytest.raises(ConfigError, match=f"nothing was measured for .*{toolchain}; ") as refused:
        load_coefficients(target, toolchain)
    name, *rest = str(refused.value).partition("--target ")[2].split()
    check_target(name)
    assert find_target(name).core == target.core
    assert rest == ["--toolchain", toolchain, "--optimize", "balanced"]


def test_a_build_says_why_it_has_no_estimate(tmp_path: Path) -> None:
    """And leaves none of an earlier build."""
    out = tmp_path / "estimate.json"
    board = find_target("nucleo-f446re")
    assert write_estimate(every_operation(), board, "gcc", Optimize.BALANCED, out) and out.exists()
    line = write_estimate(every_operation(), board, "clang", Optimize.BALANCED, out)
    assert line is not None and line.startswith("no estimate.json: nothing was measured for")
    assert "bench fit --target" in line and "--toolchain clang" in line
    assert not out.exists()
    assert write_estimate(every_operation(), find_target("host"), None, Optimize.SIZE, out) is None


def test_the_document_names_what_was_measured() -> None:
    text = " ".join((ROOT / "docs" / "estimating.md").read_text(encoding="utf-8").split())
    pairs = sorted((known.cpu, kind) for known, kind in MEASURED)
    named = ", ".join(f"{cpu} by {kind}" for cpu, kind in pairs)
    assert f"What is known: {named}" in text


@pytest.mark.parametrize("isa", Isa)
def test_networks_of_a_fit_call_every_kernel(isa: Isa) -> None:
    """Those at the beginning do already; the others are for more of the same."""
    endings = ("_s8", "_s4") if isa is Isa.PORTABLE else (f"_{isa}",)
    missing = {kernel for kernel in KERNELS if kernel.endswith(endings)}
    for seed in range(NETWORKS // 2):
        for draw, optimize in ((design, Optimize.BALANCED), (further_design, Optimize.SPEED)):
            variants = choose(draw(seed), isa, optimize)
            called = {variant.kernel for variant in variants if variant is not None}
            assert called <= KERNELS
            assert isa is not Isa.PORTABLE or all(kernel.endswith(endings) for kernel in called)
            missing -= called
            if not missing:
                return
    assert not missing


def test_a_kernel_without_a_model_is_refused() -> None:
    variant = choose(every_operation(), Isa.DSP, Optimize.BALANCED)[0]
    assert variant is not None
    new = dataclasses.replace(variant, kernel="tesla_new_dsp")
    with pytest.raises(CodegenError, match="tesla_new_dsp has no cost model; see docs"):
        counts_of(every_operation(), 0, new)


@pytest.mark.parametrize("size", range(150))
@pytest.mark.parametrize("at", range(4))
def test_counts_of_bytes_add_up(size: int, at: int) -> None:
    counts = Counts()
    counts.bytes("b", size, times=7, at=at, step=3)
    total = 64 * counts.get("b by 64", 0) + 16 * counts.get("b by 16", 0)
    for kind, each in (("words", 4), ("head", 1), ("tail", 1)):
        total += sum(each * n * counts.get(f"b {kind} {n}", 0) for n in (1, 2, 3))
    assert total == counts.get("b bytes", 0) == 7 * size


@pytest.mark.parametrize("rounds", range(20))
def test_counts_of_a_loop_add_up(rounds: int) -> None:
    counts = Counts()
    counts.loop("l", rounds, times=5)
    total = 4 * counts.get("l/4", 0) + sum(n * counts.get(f"l rest {n}", 0) for n in (1, 2, 3))
    assert total == 5 * rounds


def test_taps_within_the_image_are_those_of_the_kernels() -> None:
    """As `tesla_taps`, for a window that begins before the image and ends behind it."""
    axis = Axis(outputs=4, taps=3, stride=2, dilation=2, pad=2, length=6)
    assert axis.inside == [2, 3, 2, 1] and axis.covered == 8


def test_least_squares_finds_what_made_the_numbers() -> None:
    rng = np.random.default_rng(3)
    matrix = rng.integers(0, 50, (60, 8)).astype(float)
    truth = np.array([3.0, 0, 7, 0, 0, 1, 12, 0])
    np.testing.assert_allclose(nonnegative(matrix, matrix @ truth), truth, atol=1e-3)
    noisy = matrix @ truth + rng.normal(0, 5, 60) - 3 * matrix[:, 1]
    found = nonnegative(matrix, noisy)
    smaller = SMALL**2 * (matrix**2).sum(axis=0) * found
    gradient = matrix.T @ (noisy - matrix @ found) - smaller
    assert found.min() >= 0 and found[1] == 0  # the optimum of the constrained problem:
    assert gradient.max() < 1e-4 and abs(gradient[found > 0]).max() < 1e-4


def test_a_fit_is_exact_where_whole_numbers_are() -> None:
    rng = np.random.default_rng(4)

    def row(noise: int) -> Observation:
        rounds, blocks = (int(n) for n in rng.integers(1, 90, 2))
        counts = Counts(calls=1, rounds=rounds, blocks=blocks)
        count = 40 + 20 * rounds + 7 * blocks
        ticks = (count, count + noise)
        return Observation(kernel="k", layer="l", dp=100, counts=counts, instructions=ticks)

    found = fit([row(0) for _ in range(50)])
    assert found.exact and found.worst == 0 and found.spread == 0
    assert found.coefficients == {"blocks": 7, "calls": 40, "rounds": 20}
    varying = fit([row(100) for _ in range(50)])
    assert 0.01 < varying.spread < 0.06
    assert predict(found.coefficients, Counts(calls=2)) == 80


def test_code_counts_once_what_two_kernels_need() -> None:
    code = {
        "a": Code(bytes=100, needs=["c", "memset"]),
        "b": Code(bytes=60, needs=["c"]),
        "c": Code(bytes=8, needs=["a"]),
        "d": Code(bytes=1000, needs=[]),
    }
    assert code_bytes(code, ["a", "b"]) == 168
    assert code_bytes(code, ["b"]) == 168
    assert code_bytes(code, []) == 0


def test_an_estimate_sums_up_and_says_what_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    model, target = every_operation(), find_target("emulator")
    found = estimate_model(model, target)
    project = lower(model, isa=target.isa)
    assert found.arena_bytes == project.arena_bytes and not found.unmeasured
    assert sum(layer.weights_bytes for layer in found.flash) == project.weights_bytes
    for region in found.regions:
        assert region.instructions == sum(layer.instructions or 0 for layer in region.layers)
        assert region.low is not None and region.high is not None
        assert region.low < region.high  # a softmax
    low, high = (found.regions[i].instructions or 0 for i in (0, -1))
    assert low < high
    known = msgspec.json.decode(
        msgspec.json.encode(load_coefficients(target, None)), type=coefficients.Coefficients
    )
    del known.kernels["tesla_softmax_s8"]
    monkeypatch.setattr(estimate, "load_coefficients", lambda *_: known)
    partly = estimate_model(model, target)
    assert partly.unmeasured == ["tesla_softmax_s8"]
    assert partly.regions[0].instructions is None and partly.flash_bytes is None
    assert partly.regions[0].layers[0] == found.regions[0].layers[0]


def test_a_kernel_without_a_cost_model_is_unmeasured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`build`, which writes estimates, goes on."""
    model, target = every_operation(), find_target("emulator")
    whole = estimate_model(model, target)
    monkeypatch.delitem(MODELS, "tesla_softmax_s8")
    found = estimate_model(model, target)
    assert "tesla_softmax_s8" not in whole.unmeasured and found.flash_bytes is None
    assert found.unmeasured == sorted([*whole.unmeasured, "tesla_softmax_s8"])
    for region, before in zip(found.regions, whole.regions, strict=True):
        assert region.instructions is None and region.low is None
        for layer, same in zip(region.layers, before.layers, strict=True):
            if layer.kernel != "tesla_softmax_s8":
                assert layer == same
            else:
                assert layer.instructions is layer.low is layer.high is None
                assert same.instructions is not None
    out = tmp_path / "estimate.json"
    line = write_estimate(model, target, None, Optimize.BALANCED, out)
    assert line is not None and "not measured: " in line and "tesla_softmax_s8" in line
    assert json.loads(out.read_text()) == msgspec.to_builtins(found)


def test_a_comparison_tells_layers_regions_and_ranges() -> None:
    model, target = every_operation(), find_target("emulator")
    found = estimate_model(model, target)
    ticks = {r.dp: [layer.instructions or 0 for layer in r.layers] for r in found.regions}
    softmax = len(ticks[100]) - 1
    ticks[100][0] *= 2
    ticks[100][softmax] = found.regions[-1].layers[softmax].high or 0
    compared = compare_estimate(model, target, None, ticks)
    assert compared.worst == pytest.approx(0.5, abs=1e-3) and compared.median == 0
    off = [layer for layer in compared.layers if layer.error]
    assert [(layer.dp, layer.layer) for layer in off] == [(100, found.regions[-1].layers[0].name)]
    assert compared.regions[20] == 0 and (compared.regions[100] or 0) < 0


def test_coefficients_survive_a_file(tmp_path: Path) -> None:
    known = load_coefficients(find_target("emulator"), "gcc")
    save_coefficients(tmp_path / "c.json", known)
    assert json.loads((tmp_path / "c.json").read_text()) == msgspec.to_builtins(known)


def test_what_was_never_measured_is_refused() -> None:
    with pytest.raises(ConfigError, match="host counts no instructions"):
        data_file(find_target("host"), None)
    other = dataclasses.replace(find_target("emulator"), toolchains=("other",))
    with pytest.raises(ConfigError, match="cortex-m4-other; run tesla-embed bench fit"):
        load_coefficients(other, None)


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = every_operation()
    save_model(tmp_path / "m.safetensors", model)
    out = tmp_path / "estimate.json"
    arguments = ["estimate", str(tmp_path / "m.safetensors"), "--dp", "60", "--json", str(out)]
    assert call(*arguments) == 0
    said = capsys.readouterr().out
    found = estimate_model(model, find_target("emulator"))
    assert f"60 % DP: {found.regions[1].instructions:,} instructions" in said
    assert f"flash {found.flash_bytes:,} B" in said and "…" in said
    written = json.loads(out.read_text())
    assert written == msgspec.to_builtins(found)
    assert call("estimate", str(tmp_path / "m.safetensors"), "--target", "host") == 2


@pytest.mark.parametrize("optimize", Optimize)
def test_flash_of_layers_is_that_of_the_project(optimize: Optimize) -> None:
    """Also where a layer's name begins another's."""
    plain, target = every_operation(), find_target("emulator")
    ops = tuple(
        dataclasses.replace(op, name="add" + "_1" * number)
        for number, op in enumerate(plain.graph.ops)
    )
    model = dataclasses.replace(plain, graph=dataclasses.replace(plain.graph, ops=ops))
    project = lower(model, isa=target.isa, optimize=optimize)
    found = estimate_model(model, target, optimize=optimize)
    assert [layer.name for layer in found.flash] == [step.name for step in project.steps]
    assert sum(layer.weights_bytes for layer in found.flash) == project.weights_bytes
    tables = sum(layer.tables_bytes for layer in found.flash)
    assert tables + project.region_of_percent.bytes == project.region_table_bytes
    same = estimate_model(plain, target, optimize=optimize)
    assert [(layer.weights_bytes, layer.tables_bytes) for layer in found.flash] == [
        (layer.weights_bytes, layer.tables_bytes) for layer in same.flash
    ]


def test_what_a_layer_takes_of_the_arena_beside_its_ends() -> None:
    """Scratch memory, and what is unpacked for it."""
    model = every_operation()
    project = lower(model, isa=Isa.DSP)
    sizes = {buffer.name: buffer.size for buffer in project.plan.buffers}
    kinds = ("scratch", "constants")
    assert all(any(name.endswith(f" {kind}") for name in sizes) for kind in kinds)
    for op in model.graph.ops:
        parts = (sizes.get(f"{op.name} {kind}", 0) for kind in kinds)
        assert project.layer_scratch_bytes(op.name) == sum(parts)
