"""The memory map: what it says of buffers and regions is true of the plan."""

from graphs import every_operation, quantized_model

from tesla_codegen.arena_map import arena_map, region_peak
from tesla_codegen.lower import lower
from tesla_codegen.plan import Lifetime, Shared, plan
from tesla_host.inspection import inspect_model


def test_a_region_uses_what_its_active_channels_take() -> None:
    """Counted byte by byte."""
    for seed in range(20):
        model = quantized_model(seed)
        memory = lower(model).plan
        names = [tensor.name for tensor in model.graph.tensors]
        for region in model.regions:
            used = [0]
            for step in range(len(model.graph.ops)):
                bytes_: set[int] = set()
                for buffer, offset in zip(memory.buffers, memory.offsets, strict=True):
                    if buffer.first <= step <= buffer.last:
                        active = region.types[names.index(buffer.name)].bytes
                        bytes_ |= set(range(offset, offset + active))
                used.append(len(bytes_))
            assert region_peak(model, region, memory) == max(used) <= memory.arena_bytes


def test_smaller_regions_use_less() -> None:
    model = every_operation()
    peaks = [row.arena_peak for row in lower(model).regions]
    assert peaks == sorted(peaks)
    assert peaks[0] < peaks[-1]


def test_the_map_names_layers_and_what_is_written_over() -> None:
    model = every_operation()
    project = lower(model)
    rows = arena_map(model, project.plan)
    assert rows == project.buffers
    layers = [op.name for op in model.graph.ops]
    spans = {row.name: (row.offset, row.offset + row.bytes) for row in rows}
    for row in rows:
        assert layers.index(row.since) <= layers.index(row.until)
        assert not row.scratch
        for name in filter(None, row.over.split(", ")):
            assert spans[name][0] < spans[row.name][1] and spans[row.name][0] < spans[name][1]
    assert any(row.over for row in rows)
    assert [layers.index(row.since) for row in rows] == sorted(
        layers.index(row.since) for row in rows
    )


def test_scratch_memory_is_told_apart_and_counts_whole() -> None:
    model = every_operation()
    first, second = model.graph.tensors[1].name, model.graph.tensors[2].name
    buffers = [
        Lifetime(name=first, size=432, first=0, last=1),
        Lifetime(name="conv scratch", size=96, first=1, last=1),
        Lifetime(name=second, size=432, first=1, last=2),
    ]
    made = plan(buffers, shared=[Shared(output=second, input=first, lead=8)])
    rows = {row.name: row for row in arena_map(model, made)}
    assert [row.scratch for row in rows.values()] == [False, True, False]
    assert rows[second].over == first
    region = model.regions[0]
    active = [region.types[i].bytes for i in (1, 2)]
    assert 96 < region_peak(model, region, made) <= sum(active) + 96


def test_inspect_tells_the_same() -> None:
    model = every_operation()
    found, project = inspect_model(model), lower(model)
    assert found.arena_bytes == project.arena_bytes
    assert found.arena_bound_bytes == project.plan.bound_bytes
    assert [b.name for b in found.arena] == [row.name for row in project.buffers]
    assert [r.arena_peak_bytes for r in found.regions] == [r.arena_peak for r in project.regions]
    lives = {buffer.name: (buffer.first, buffer.last) for buffer in project.plan.buffers}
    assert {b.name: (b.first, b.last) for b in found.arena} == lives
