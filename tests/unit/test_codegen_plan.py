"""The memory plan: nothing overlaps while alive, everything is aligned, little is wasted."""

import dataclasses
import time
from collections.abc import Sequence

import numpy as np
import pytest
from graphs import float_inputs, quantized_model
from graphs.grow import Builder, Cell
from graphs.models import finish
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tesla_codegen.lower import lower
from tesla_codegen.plan import ALIGNMENT, Lifetime, Plan, Shared, alive, plan
from tesla_embed.ir.ops import Reshape
from tesla_embed.quant import calibrate, quantize

quick = settings(derandomize=True, deadline=None, max_examples=300)


@st.composite
def lifetimes(draw: st.DrawFn, count: int = 12, size: int = 5000) -> list[Lifetime]:
    found = []
    for index in range(draw(st.integers(0, count))):
        first, last = sorted(draw(st.tuples(st.integers(0, 10), st.integers(0, 10))))
        bytes_ = draw(st.one_of(st.integers(1, min(size, 40)), st.integers(1, size)))
        found.append(Lifetime(name=f"b{index}", size=bytes_, first=first, last=last))
    return found


def check(made: Plan, alignment: int) -> None:
    """Every rule of a plan."""
    assert made.arena_bytes % alignment == 0
    assert made.bound_bytes <= made.arena_bytes
    leads = {(entry.output, entry.input): entry.lead for entry in made.shared}
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
            apart = offset + buffer.size <= other or other + rival.size <= offset
            below = leads.get((buffer.name, rival.name))
            above = leads.get((rival.name, buffer.name))
            allowed = below is not None and other - offset >= below
            allowed |= above is not None and offset - other >= above
            assert not together or apart or allowed


def live_bytes(buffers: Sequence[Lifetime], alignment: int = 1) -> int:
    """The most that is alive at one step: no arena without sharing can be smaller."""
    rounded = [(b.first, b.last, -(-b.size // alignment) * alignment) for b in buffers]
    steps = {first for first, _, _ in rounded}
    return max((sum(n for a, z, n in rounded if a <= s <= z) for s in steps), default=0)


@st.composite
def shared(draw: st.DrawFn, buffers: list[Lifetime]) -> list[Shared]:
    """Some of what could be in place: an input that ends where an output begins."""
    found = []
    for output in buffers:
        for source in buffers:
            if source is not output and source.last == output.first and draw(st.booleans()):
                lead = draw(st.integers(0, 2 * output.size))
                found.append(Shared(output=output.name, input=source.name, lead=lead))
    return found


@quick
@given(lifetimes(), st.sampled_from([1, 4, 8, 16]))
@example([], 8)
def test_plan(buffers: list[Lifetime], alignment: int) -> None:
    made = plan(buffers, alignment)
    assert made.buffers == tuple(buffers)
    check(made, alignment)
    total = sum(-(-b.size // alignment) * alignment for b in buffers)
    assert live_bytes(buffers, alignment) <= made.bound_bytes <= made.arena_bytes <= total
    assert made == plan(list(buffers), alignment)


@quick
@given(st.data(), lifetimes(), st.sampled_from([1, 8]))
def test_plan_with_shared_bytes(data: st.DataObject, buffers: list[Lifetime], unit: int) -> None:
    allowed = data.draw(shared(buffers))
    made = plan(buffers, unit, allowed)
    check(made, unit)
    assert made == plan(buffers, unit, list(allowed))
    assert made.bound_bytes >= max((b.size for b in buffers), default=0)
    assert made.arena_bytes <= max(plan(buffers, unit).arena_bytes, made.bound_bytes)


@quick
@given(lifetimes(count=5, size=4), st.data())
def test_the_bound_holds_for_every_placement(buffers: list[Lifetime], data: st.DataObject) -> None:
    """Small enough to try all offsets: no placement is smaller than the bound, none than proven."""
    allowed = data.draw(shared(buffers))
    made = plan(buffers, 1, allowed)
    leads = {(entry.output, entry.input): entry.lead for entry in allowed}
    assert made.bound_bytes <= smallest(buffers, leads, made.arena_bytes) <= made.arena_bytes
    assert made.bound_bytes == made.arena_bytes  # so few are always searched to the end


def overlap(one: Lifetime, other: Lifetime) -> bool:
    """Whether both buffers are alive at some step."""
    return one.first <= other.last and other.first <= one.last


def smallest(buffers: list[Lifetime], leads: dict[tuple[str, str], int], known: int) -> int:
    """The smallest arena of all, by trying every offset of every buffer up to `known` bytes."""

    def fits(at: int, buffer: Lifetime, other: int, rival: Lifetime) -> bool:
        if not overlap(buffer, rival) or at + buffer.size <= other or other + rival.size <= at:
            return True
        lead = leads.get((buffer.name, rival.name), known)
        back = leads.get((rival.name, buffer.name), known)
        return other - at >= lead or at - other >= back

    def place(placed: list[tuple[int, Lifetime]], arena: int) -> bool:
        if len(placed) == len(buffers):
            return True
        buffer = buffers[len(placed)]
        return any(
            all(fits(at, buffer, *other) for other in placed)
            and place([*placed, (at, buffer)], arena)
            for at in range(arena - buffer.size + 1)
        )

    return next(arena for arena in range(known + 1) if place([], arena))


@quick
@given(st.lists(st.integers(1, 1000), min_size=1, max_size=60))
def test_a_chain_needs_no_more_than_its_widest_pair(sizes: list[int]) -> None:
    """Two neighbours are alive at a time."""
    buffers = [Lifetime(name=f"b{i}", size=8 * n, first=i, last=i + 1) for i, n in enumerate(sizes)]
    assert plan(buffers).arena_bytes == live_bytes(buffers)


@pytest.mark.parametrize("seed", range(6))
def test_a_hundred_buffers_are_placed_quickly_and_closely(seed: int) -> None:
    rng = np.random.default_rng(seed)
    buffers = []
    for index in range(100):
        first, life = int(rng.integers(50)), int(rng.integers(16))
        size = 8 * int(rng.integers(1, 200))
        buffers.append(Lifetime(name=f"b{index}", size=size, first=first, last=first + life))
    start = time.process_time()
    made = plan(buffers)
    assert time.process_time() - start < 1.0
    check(made, ALIGNMENT)
    assert live_bytes(buffers) <= made.bound_bytes <= made.arena_bytes <= 1.01 * made.bound_bytes


def test_what_greedy_by_size_misses_is_found() -> None:
    """Largest first ends at 264 bytes; the first two together are 256, which suffices."""
    sizes = [128, 128, 128, 128, 8, 128, 128, 128, 128]
    buffers = [Lifetime(name=f"b{i}", size=n, first=i, last=i + 1) for i, n in enumerate(sizes)]
    assert plan(buffers).arena_bytes == 256


def test_scratch_lives_for_one_step_and_shares_nothing() -> None:
    buffers = [
        Lifetime(name="x", size=64, first=0, last=1),
        Lifetime(name="work", size=40, first=1, last=1),
        Lifetime(name="y", size=64, first=1, last=2),
        Lifetime(name="more", size=24, first=2, last=2),
    ]
    made = plan(buffers, shared=[Shared(output="y", input="x", lead=8)])
    check(made, ALIGNMENT)
    assert made.arena_bytes == made.bound_bytes == 64 + 8 + 40


def test_two_inputs_of_a_sum_may_both_be_overwritten() -> None:
    buffers = [
        Lifetime(name="a", size=64, first=0, last=2),
        Lifetime(name="b", size=64, first=1, last=2),
        Lifetime(name="sum", size=64, first=2, last=3),
    ]
    both = [Shared(output="sum", input=name, lead=0) for name in "ab"]
    assert plan(buffers).arena_bytes == 192
    assert plan(buffers, shared=both).arena_bytes == 128


@pytest.mark.parametrize(
    ("names", "entry"),
    [("xx", ("x", "x")), ("xy", ("y", "z")), ("xy", ("z", "x")), ("xy", ("x", "y"))],
)
def test_wrong_sharing_is_refused(names: str, entry: tuple[str, str]) -> None:
    buffers = [Lifetime(name=n, size=8, first=i, last=i + 1) for i, n in enumerate(names)]
    with pytest.raises(ValueError):
        plan(buffers, shared=[Shared(output=entry[0], input=entry[1], lead=0)])


def test_bytes_in_use_count_shared_ones_once() -> None:
    buffers = [
        Lifetime(name="x", size=64, first=0, last=1),
        Lifetime(name="y", size=64, first=1, last=2),
    ]
    made = plan(buffers, shared=[Shared(output="y", input="x", lead=16)])
    assert made.arena_bytes == alive(made, [64, 64]) == 80
    assert alive(made, [10, 20]) == 26
    assert alive(plan([]), []) == 0


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
