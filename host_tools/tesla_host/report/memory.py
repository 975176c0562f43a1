"""Where the bytes go: flash, RAM, stack, the arena, and what the operating regions cost.

In: a profile, where sizes that were not measured are `None`. Out: views for the templates.
"""

from dataclasses import dataclass

from tesla_host.report.numbers import NBSP, grouped, in_bytes, kibibytes, percent, ratio
from tesla_host.report.views import Fact, Table
from tesla_host.results import Memory, Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A piece of a breakdown bar: place and width in percent of it."""

    name: str
    value: str
    share: str
    colour: str
    x: str
    width: str


def flash_parts(memory: Memory, weights_bytes: int | None) -> tuple[Part, ...]:
    """Weights, region tables and the rest of the flash; the rest is what is not known apart."""
    tables = memory.region_table_bytes or 0
    weights = weights_bytes or 0
    rest = max((memory.flash_bytes or 0) - weights - tables, 0)
    return _parts(
        ("weights", weights, "var(--s0)"),
        ("region tables", tables, "var(--s1)"),
        ("the rest: code and constants", rest, "var(--s7)"),
    )


def ram_parts(memory: Memory) -> tuple[Part, ...]:
    """The arena and the rest of the RAM, without the stack."""
    rest = max((memory.ram_bytes or 0) - memory.arena_bytes, 0)
    return _parts(
        ("arena", memory.arena_bytes, "var(--s2)"),
        ("the rest: variables and buffers of the link", rest, "var(--s7)"),
    )


def memory_facts(profile: Profile) -> tuple[Fact, ...]:
    """Flash, RAM and stack, and what the regions cost."""
    memory, unknown = profile.memory, "not measured here"
    return (
        Fact(
            name="flash",
            value=in_bytes(memory.flash_bytes),
            note="whole firmware" if memory.flash_bytes is not None else unknown,
        ),
        Fact(
            name="RAM",
            value=in_bytes(memory.ram_bytes),
            note="stack apart" if memory.ram_bytes is not None else unknown,
        ),
        Fact(
            name="stack",
            value=in_bytes(memory.stack_bytes),
            note=_stack_note(memory, unknown),
        ),
        Fact(
            name="region tables",
            value=in_bytes(memory.region_table_bytes),
            note=_tables_note(memory, len(profile.regions)) or memory.unknown or unknown,
        ),
    )


def _tables_note(memory: Memory, count: int) -> str:
    """What each of `count` regions costs; nothing where that is not known."""
    tables = memory.region_table_bytes
    if tables is None:
        return ""
    share = ratio(tables, memory.flash_bytes or 0)
    part = "" if share is None else f", {percent(share)} of the flash"
    each = grouped(tables / count, 0 if tables % count == 0 else 1)
    return f"{each}{NBSP}B per region{part}"


def _stack_note(memory: Memory, unknown: str) -> str:
    """Whose stack was measured, and what the library alone takes."""
    note = "high-water mark" if memory.stack_bytes is not None else unknown
    if memory.library_stack_bytes is None:
        return note
    return f"{note}; a run of the library takes at most {in_bytes(memory.library_stack_bytes)}"


def buffer_table(memory: Memory) -> Table:
    """The arena's buffers."""
    return Table(
        caption="Buffers in the arena",
        columns=("buffer", "offset", "bytes", "first step", "last step", "written over"),
        rows=tuple(
            (
                f"{b.name} (scratch)" if b.scratch else b.name,
                grouped(b.offset),
                grouped(b.bytes),
                step(memory, b.first),
                step(memory, b.last),
                b.over or "–",
            )
            for b in memory.buffers
        ),
    )


def step(memory: Memory, number: int) -> str:
    """A step by its number and the layer that runs then, where the profile tells it."""
    named = 0 <= number < len(memory.steps)
    return f"{number}{NBSP}{memory.steps[number]}" if named else str(number)


def peak_table(profile: Profile) -> Table | None:
    """What each region uses of the arena; `None` for a profile that does not tell."""
    rows = []
    for region in profile.regions:
        peak = region.arena_peak_bytes
        if peak is None:
            return None
        share = ratio(peak, profile.memory.arena_bytes)
        whole = "–" if share is None else percent(share, 1)
        rows.append((f"{region.dp}{NBSP}%", grouped(peak), whole))
    return Table(
        caption="Most bytes of the arena in use at one step",
        columns=("DP", "bytes", "of the arena"),
        rows=tuple(rows),
    )


def arena_note(memory: Memory) -> str:
    """What the arena's size is, and how much smaller it could be."""
    text = (
        f"The dashed line is the size of the arena, {grouped(memory.arena_bytes)}{NBSP}bytes. It "
        "is sized for the full network and the same in every region."
    )
    if memory.arena_bound_bytes is None:
        return text
    if memory.arena_bytes <= memory.arena_bound_bytes:
        return f"{text} No arrangement of these buffers takes less."
    bound = f"{grouped(memory.arena_bound_bytes)}{NBSP}bytes"
    return f"{text} No arrangement of these buffers takes less than {bound}."


def _parts(*parts: tuple[str, int, str]) -> tuple[Part, ...]:
    whole = max(sum(count for _, count, _ in parts), 1)
    found, x = [], 0.0
    for name, count, colour in parts:
        width = 100 * count / whole
        found.append(
            Part(
                name=name,
                value=f"{grouped(count)}{NBSP}B ({kibibytes(count)})",
                share=percent(count / whole, 1),
                colour=colour,
                x=f"{x:.3f}%",
                width=f"{width:.3f}%",
            )
        )
        x += width
    return tuple(found)
