"""The memory plan: nothing overlaps while alive, everything is aligned, little is wasted."""

import dataclasses

import numpy as np
from graphs import float_inputs, quantized_model
from graphs.grow import Builder, Cell
from graphs.models import finish
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tesla_codegen.lower import lower
from tesla_codegen.plan import ALIGNMENT, Lifetime, Plan, plan
from tesla_embed.ir.ops import Reshape
from tesla_embed.quant import calibrate, quantize

quick = settings(derandomize=True, deadline=None, max_examples=300)


@st.composite
def lifetimes(draw: st.DrawFn) -> list[Lifetime]:
    count = draw(st.integers(0, 12))
    found = []
    for index in range(count):
        first, last = sorted(draw(st.tuples(st.integers(0, 10), st.integers(0, 10))))
        size = draw(st.one_of(st.integers(1, 40), st.integers(1, 5000)))
        found.append(Lifetime(name=f"b{index}", size=size, first=first, last=last))
    return found


def check(made: Plan, alignment: int) -> None:
    """Every rule of a plan."""
    assert made.arena_bytes % alignment == 0
    spans = list(zip(made.offsets, made.buffers, strict=True))
    for offset, buffer in spans:
        assert offset >= 0
        assert offset % alignment == 0
        assert offset + buffer.size <= made.arena_bytes
    for index, (offset, buffer) in enumerate(spans):
        for other, rival in spans[:index]:
            together = any(
                rival.first <= step <= rival.last for step in range(buffer.first, buffer.last + 1)
            )
            assert buffer.overlaps(rival) == rival.overlaps(buffer) == together
            if together:
                assert offset + buffer.size <= other or other + rival.size <= offset


def live_bytes(buffers: list[Lifetime]) -> int:
    """The most that is alive at one step: no arena can be smaller."""
    return max(
        (sum(b.size for b in buffers if b.first <= s <= b.last) for s in range(11)), default=0
    )


@quick
@given(lifetimes(), st.sampled_from([1, 4, 8, 16]))
@example([], 8)
def test_plan(buffers: list[Lifetime], alignment: int) -> None:
    made = plan(buffers, alignment)
    assert made.buffers == tuple(buffers)
    check(made, alignment)
    total = sum(-(-b.size // alignment) * alignment for b in buffers)
    assert live_bytes(buffers) <= made.arena_bytes <= total
    assert made == plan(list(buffers), alignment)


@quick
@given(st.lists(st.integers(1, 1000), min_size=1, max_size=3))
def test_short_chain_needs_no_more_than_its_widest_pair(sizes: list[int]) -> None:
    """Two neighbours are alive at a time. Longer chains may cost more: greedy is not optimal."""
    buffers = [Lifetime(name=f"b{i}", size=8 * n, first=i, last=i + 1) for i, n in enumerate(sizes)]
    assert plan(buffers).arena_bytes == live_bytes(buffers)


def test_names_do_not_matter() -> None:
    buffers = [Lifetime(name=f"b{i}", size=10 + i % 3, first=i, last=i + 2) for i in range(6)]
    renamed = [dataclasses.replace(b, name=f"z{9 - i}") for i, b in enumerate(buffers)]
    assert plan(buffers).offsets == plan(renamed).offsets


def test_arena_of_models_holds_what_lies_between_input_and_output() -> None:
    planned = 0
    for seed in range(60):
        model = quantized_model(seed)
        project = lower(model)
        check(project.plan, ALIGNMENT)
        assert project.arena_bytes == max(project.plan.arena_bytes, ALIGNMENT)
        names = [buffer.name for buffer in project.plan.buffers]
        tensors = {tensor.name: tensor.type for tensor in model.graph.tensors}
        for buffer in project.plan.buffers:
            assert buffer.size == tensors[buffer.name].bytes
        computed = [op for op in model.graph.ops if not isinstance(op, Reshape)]
        assert len(names) == len(set(names)) == len(computed) - 1
        planned += len(names)
    assert planned > 100


def test_a_tensor_lives_until_its_last_reader() -> None:
    """Around a residual branch both the branch and what it is added to are alive."""
    builder = Builder(np.random.default_rng(0), portable=True)
    builder.begin((4, 4, 2))
    builder.conv(Cell(4), style="keep")
    start = builder.at
    for _ in range(3):
        builder.conv(Cell(4), style="keep")
    builder.sum(start, builder.at)
    builder.conv(Cell(3), style="keep")
    model = finish(builder, "net", dps=(100,))
    made = lower(quantize(model, calibrate(model, float_inputs(model, 0, 2)))).plan
    names = [model.graph.tensors[i].name for i in range(1, 6)]
    lives = {buffer.name: (buffer.first, buffer.last) for buffer in made.buffers}
    assert [lives[name] for name in names] == [(0, 4), (1, 2), (2, 3), (3, 4), (4, 5)]
    check(made, ALIGNMENT)
