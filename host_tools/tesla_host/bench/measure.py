"""Measure kernels on an emulated target: instructions, estimated cycles, and what peers need."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tesla_codegen.kernels.variant import Isa, Optimize
from tesla_codegen.lower import Project
from tesla_codegen.project import generate
from tesla_codegen.regions import table_bytes
from tesla_embed.errors import ConfigError, DeviceError
from tesla_embed.ir.graph import Model, computing_ops, region_macs
from tesla_embed.ir.interpret import interpret_layers
from tesla_host.bench.cases import MEASURED, Case, case_model
from tesla_host.bench.peers import Peer, find_peer
from tesla_host.build import build_firmware
from tesla_host.targets import find_target, open_link

SCHEMA = "tesla-embed/bench/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One kernel in one region, MACs and counts of this operation alone.

    `cycles_estimate` is None where the target estimates none. `flash_bytes` are the packed weights
    and the constants of all regions, `ram_bytes` scratch, input and output.
    """

    name: str
    shape: str
    target: str
    dp: int
    macs: int
    instructions: int
    cycles_estimate: int | None
    flash_bytes: int
    ram_bytes: int
    peer: Peer | None = None

    @property
    def ratio(self) -> float | None:
        """Instructions in shares of the peer's."""
        return None if self.peer is None else self.instructions / self.peer.instructions

    @property
    def ratio_cycles(self) -> float | None:
        """Estimated cycles in shares of the peer's."""
        if self.peer is None or self.peer.cycles_estimate is None or self.cycles_estimate is None:
            return None
        return self.cycles_estimate / self.peer.cycles_estimate


def as_json(rows: Sequence[Row]) -> dict[str, object]:
    """What `bench kernels --json` writes; ratios are null where a figure is missing."""
    return {
        "schema": SCHEMA,
        "rows": [
            {**asdict(row), "ratio": row.ratio, "ratio_cycles": row.ratio_cycles} for row in rows
        ],
    }


def measure_case(
    case: Case,
    target: str,
    folder: Path,
    *,
    isa: Isa | None = None,
    optimize: Optimize = Optimize.BALANCED,
    dense: int | None = None,
) -> list[Row]:
    """Build a case and run it once per region; its output must be the interpreter's.

    `isa` replaces the target's own. With `dense`, a DP percentage, the network of these widths is
    measured, without channels beyond. Raises `DeviceError` if an output is wrong, `ConfigError`
    for a target that counts nothing.
    """
    row = find_target(target)
    model = case_model(case) if dense is None else case_model(case, (dense,), dense=True)
    isa = isa or row.isa
    project = generate(model, folder / "project", isa=isa, optimize=optimize)
    build = build_firmware(folder / "project", row, folder)
    place = next(i for i, op in enumerate(model.graph.ops) if op.name == MEASURED)
    layer = computing_ops(model.graph).index(place)
    costs = [region_macs(model.graph, region)[place] for region in model.regions]
    flash, ram = _memory(model, place, project)
    rows = []
    with open_link(target, build.elf) as client:
        for region, macs in zip(model.regions, costs, strict=True):
            client.set_dp(region.dp)
            inputs = _inputs(model, region.dp)
            client.load_input(inputs.tobytes())
            client.run()
            ticks = client.layer_ticks()[layer]
            wanted = interpret_layers(model, region, inputs)[place].tobytes()
            if client.layer_dump(layer) != wanted:
                raise DeviceError(f"{case.name}: wrong output at {region.dp} % DP")
            if "instructions" not in ticks:
                raise ConfigError(f"{target} counts no instructions; choose an emulated target")
            dp = region.dp if dense is None else dense
            peer = find_peer(case.name, row.cpu, dp) if isa is not Isa.PORTABLE else None
            rows.append(
                Row(
                    name=case.name,
                    shape=case.shape,
                    target=target,
                    dp=dp,
                    macs=macs,
                    instructions=ticks["instructions"],
                    cycles_estimate=ticks.get("cycles"),
                    flash_bytes=flash,
                    ram_bytes=ram,
                    peer=peer,
                )
            )
    return rows


def _memory(model: Model, place: int, project: Project) -> tuple[int, int]:
    """Flash and RAM of one operation, in bytes."""
    op = model.graph.ops[place]
    name = f"{op.name}_"
    arrays = (*project.weights, *project.tables)
    flash = sum(array.bytes for array in arrays if array.name.startswith(name))
    flash += table_bytes([array for array in project.region_arrays if array.name.startswith(name)])
    scratch = sum(b.size for b in project.plan.buffers if b.name == f"{op.name} scratch")
    ends = sum(model.graph.tensors[tensor].type.bytes for tensor in (*op.inputs, op.output))
    return flash, scratch + ends


def _inputs(model: Model, dp: int) -> np.ndarray:
    rng = np.random.default_rng(dp)
    shape = model.region(dp).types[model.graph.input].shape
    return rng.integers(-128, 128, (1, *shape)).astype(np.int8)
