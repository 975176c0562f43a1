"""What the library on a target takes: of what was built, or of a board that runs already.

In: a workbench, and what the target says of itself. Out: a `Layout`, whose figures are the
target's, or `None`. Nothing is refused. A board tells its name, its CPU and the size of its arena,
but not how its kernels were optimised: a figure is known where all builds agree on it that have an
arena of that size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tesla_codegen.arena_map import region_peak
from tesla_codegen.kernels.variant import Optimize
from tesla_codegen.lower import Project, lower
from tesla_embed import __version__
from tesla_embed.ir.graph import Model
from tesla_host.catalogue import TARGETS
from tesla_host.inspection import arena_buffers
from tesla_host.link.replies import Hello
from tesla_host.results import ArenaBuffer
from tesla_host.workbench import Workbench

_NAME_BYTES = 24
"""As much of a board's name as HELLO tells."""

Figure = TypeVar("Figure")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Bytes, as in `results.Memory`; `peaks` are those of the regions by DP percentage.

    `unknown` says why figures are missing; it is `None` where none is.
    """

    arena_bytes: int
    weights_bytes: int | None
    region_table_bytes: int | None
    bound_bytes: int | None
    buffers: list[ArenaBuffer]
    peaks: dict[int, int]
    unknown: str | None


def find_layout(bench: Workbench, hello: Hello) -> Layout:
    """The layout of what `bench` built for its target, or of the board that `hello` describes."""
    if bench.device is not None:
        return _agreed(bench.model, bench.project.arena_bytes, [bench.project], None)
    projects, unknown = _possible(bench.model, hello)
    return _agreed(bench.model, hello.arena_bytes, projects, unknown)


def _possible(model: Model, hello: Hello) -> tuple[list[Project], str | None]:
    """The libraries that the board may run; why there is none."""
    row = next((row for row in TARGETS if row.name[:_NAME_BYTES] == hello.board), None)
    if row is None or row.cpu != hello.cpu:
        return [], f"no row of the catalogue is the board {hello.board} with a {hello.cpu}"
    if hello.firmware_version != __version__:
        return [], f"the board's firmware is of version {hello.firmware_version}"
    built = [lower(model, isa=row.isa, optimize=optimize) for optimize in Optimize]
    fitting = [project for project in built if project.arena_bytes == hello.arena_bytes]
    if not fitting:
        return [], f"no build for {row.name} has an arena of {hello.arena_bytes:,} bytes"
    return fitting, None


def _agreed(
    model: Model, arena_bytes: int, projects: Sequence[Project], unknown: str | None
) -> Layout:
    """What all projects have in common."""
    weights = _common(projects, lambda project: project.weights_bytes)
    tables = _common(projects, lambda project: project.region_table_bytes)
    bound = _common(projects, lambda project: project.plan.bound_bytes)
    buffers = _common(projects, arena_buffers)
    peaks = _common(projects, lambda project: _peaks(model, project))
    if unknown is None and None in (weights, tables, bound, buffers, peaks):
        unknown = "the board does not tell with which --optimize it was built"
    return Layout(
        arena_bytes=arena_bytes,
        weights_bytes=weights,
        region_table_bytes=tables,
        bound_bytes=bound,
        buffers=buffers or [],
        peaks=peaks or {},
        unknown=unknown,
    )


def _common(projects: Sequence[Project], figure: Callable[[Project], Figure]) -> Figure | None:
    """The figure of all projects; `None` where they differ, or there is none."""
    found = [figure(project) for project in projects]
    return found[0] if found and all(other == found[0] for other in found) else None


def _peaks(model: Model, project: Project) -> dict[int, int]:
    return {region.dp: region_peak(model, region, project.plan) for region in model.regions}
