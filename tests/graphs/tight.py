"""Memory plans that take every kernel by its word: outputs begin exactly their lead before inputs.

`tight_plan` replaces the planner's search. Buffers that share bytes are strung together, whatever
the alignment; each string has memory of its own.
"""

from collections.abc import Collection, Sequence

from tesla_codegen.plan import ALIGNMENT, Lifetime, Plan, Shared


def tight_plan(
    buffers: Sequence[Lifetime],
    alignment: int = ALIGNMENT,
    shared: Sequence[Shared] = (),
    short: Collection[str] = (),
) -> Plan:
    """As `plan`; the outputs in `short` begin one byte later than they may."""
    sizes = {buffer.name: buffer.size for buffer in buffers}
    inputs: dict[str, Shared] = {}
    for entry in shared:
        inputs.setdefault(entry.output, entry)
    followers = {entry.input: entry for entry in inputs.values()}
    offsets: dict[str, int] = {}
    end = 0
    for head in (buffer.name for buffer in buffers if buffer.name not in inputs):
        chain, places = [head], [0]
        while chain[-1] in followers:
            entry = followers[chain[-1]]
            chain.append(entry.output)
            places.append(places[-1] - entry.lead + int(entry.output in short))
        base = -(-end // alignment) * alignment - min(places)
        offsets |= {name: base + at for name, at in zip(chain, places, strict=True)}
        end = max(offsets[name] + sizes[name] for name in chain)
    arena = -(-end // alignment) * alignment
    return Plan(
        buffers=tuple(buffers),
        offsets=tuple(offsets[buffer.name] for buffer in buffers),
        shared=tuple(inputs.values()),
        arena_bytes=arena,
        bound_bytes=arena,
    )
