"""What `bench` finds: one row for a kernel or a network, in one region, on one target.

Out: rows, and the JSON of them that scripts read. Names of its fields are a promise: add, never
rename.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from tesla_embed import __version__
from tesla_host.bench.estimates import Estimated
from tesla_host.bench.peers import Peer
from tesla_host.footprint import Footprint

SCHEMA = "tesla-embed/bench/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Executed instructions, exact, and the cycles estimated from them where the target does it."""

    instructions: int
    cycles_estimate: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How something was built and where it ran: a target, the compiler's version, the kernels."""

    target: str
    toolchain: str
    compiler: str
    isa: str
    optimize: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One kernel, its counts of this operation alone, or one network in one region.

    Of a kernel, `flash_bytes` are the packed weights and the constants of all regions, `ram_bytes`
    input, output, and the arena that it takes beside them: scratch memory, and constants unpacked
    for it. Of a network they are what the least program with it takes, stack
    included, and `memory` says of what they are made. `portable` is the same work by the portable
    C, where that was measured, too. `estimate` is what would have been told without measuring: of a
    network all layers together, without what is between them.
    """

    name: str
    shape: str
    setting: Setting
    dp: int
    macs: int
    counts: Counts
    flash_bytes: int
    ram_bytes: int | None
    peer: Peer | None = None
    portable: Counts | None = None
    memory: Footprint | None = None
    estimate: Estimated | None = None

    @property
    def ratio(self) -> float | None:
        """Instructions in shares of the peer's."""
        return None if self.peer is None else self.counts.instructions / self.peer.instructions

    @property
    def ratio_cycles(self) -> float | None:
        """Estimated cycles in shares of the peer's."""
        ours = self.counts.cycles_estimate
        if self.peer is None or self.peer.cycles_estimate is None or ours is None:
            return None
        return ours / self.peer.cycles_estimate


def as_json(rows: Sequence[Row]) -> dict[str, object]:
    """What `--json` writes; what is not known is null."""
    return {"schema": SCHEMA, "version": __version__, "rows": [_entry(row) for row in rows]}


def _entry(row: Row) -> dict[str, object]:
    return {
        "name": row.name,
        "shape": row.shape,
        **asdict(row.setting),
        "dp": row.dp,
        "macs": row.macs,
        **asdict(row.counts),
        "flash_bytes": row.flash_bytes,
        "ram_bytes": row.ram_bytes,
        "peer": None if row.peer is None else asdict(row.peer),
        "ratio": row.ratio,
        "ratio_cycles": row.ratio_cycles,
        "portable": None if row.portable is None else asdict(row.portable),
        "memory": row.memory and {f"{k}_bytes": v for k, v in asdict(row.memory).items()},
        "estimate": None if row.estimate is None else asdict(row.estimate),
    }
