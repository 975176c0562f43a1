"""The matrix of the catalogue: every board, by several compilers, runs the same networks.

In: targets and kinds of toolchains. Out: a `BoardRow` for each of them and network: sizes, and
where this machine can run the board, whether its outputs are the interpreter's and what a run
costs. All is compiled with warnings as errors. A network that does not fit is replaced by its
smaller sibling; if that does not fit either, the row says by how much.
"""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import msgspec
import numpy as np

from tesla_codegen.project import generate
from tesla_embed.errors import CodegenError, ConfigError
from tesla_embed.ir.graph import Model, region_macs
from tesla_embed.ir.interpret import interpret
from tesla_embed.ir.store import digest
from tesla_host.bench.board_models import SMALLER, board_model
from tesla_host.bench.names import split_names
from tesla_host.build import BuildResult, build_firmware, compiler_for
from tesla_host.catalogue import TARGETS, Target
from tesla_host.link.client import ExpectedModel
from tesla_host.link.qemu import find_qemu
from tesla_host.targets import open_link
from tesla_host.verifier import random_inputs

SCHEMA = "tesla-embed/bench-boards/1"
MODELS = tuple(SMALLER)
_STRICT = ("-Werror",)


class RegionCost(msgspec.Struct, kw_only=True, frozen=True):
    """One region: MACs and instructions of a run; null where the target counts none."""

    dp: int
    macs: int
    instructions: int | None


class BoardRow(msgspec.Struct, kw_only=True, frozen=True):
    """One network on one board, by one compiler.

    `model` is the one that ran, perhaps a smaller sibling. `bit_exact` is null where nothing ran:
    on boards that nothing emulates, and where no network fits; `note` then says by how much.
    `stack_bytes` is what is reserved, `stack_used` the most that was ever in use.
    """

    target: str
    runs_as: str | None
    cpu: str
    toolchain: str
    compiler: str | None
    model: str
    flash_bytes: int | None = None
    ram_bytes: int | None = None
    stack_bytes: int | None = None
    stack_used: int | None = None
    bit_exact: bool | None = None
    regions: tuple[RegionCost, ...] = ()
    note: str = ""


class Matrix(msgspec.Struct, kw_only=True, frozen=True):
    """Everything that was built and run; `inputs` went through every region."""

    schema: str
    version: str
    inputs: int
    rows: tuple[BoardRow, ...]


def choose_boards(names: str | None) -> tuple[Target, ...]:
    """Rows of a comma-separated list of names, or all with a core. Raises `ConfigError`."""
    rows = tuple(row for row in TARGETS if row.core is not None)
    if names is None:
        return rows
    wanted = set(split_names(names))
    known = [name for row in rows for name in row.names]
    for name in sorted(wanted.difference(known)):
        raise ConfigError(f"{name!r} is no board of the matrix; there are {', '.join(known)}")
    return tuple(row for row in rows if wanted.intersection(row.names))


def measure_board(
    row: Target,
    toolchain: str,
    folder: Path,
    *,
    models: Sequence[str] = MODELS,
    inputs: int = 2,
    observer: Callable[[str], None] = lambda _: None,
) -> list[BoardRow]:
    """Build and run the networks on one board by one toolchain, in `folder`.

    `inputs` random inputs go through each region; the first is counted. Raises `ToolchainError`
    where a compiler or emulator is missing, and for any warning.
    """
    rows = []
    for wanted in models:
        found: BoardRow | None = None
        for name in (wanted, SMALLER.get(wanted)):
            if name is None or (found is not None and found.flash_bytes is not None):
                continue
            observer(f"{name} on {row.name} by {toolchain}")
            tried = _measure(row, toolchain, folder, name, inputs)
            note = found.note if found is not None and tried.flash_bytes is not None else tried.note
            found = msgspec.structs.replace(tried, note=note)
        assert found is not None
        rows.append(found)
    return rows


@cache
def _model(name: str) -> Model:
    return board_model(name)


def _measure(row: Target, toolchain: str, folder: Path, name: str, inputs: int) -> BoardRow:
    model = _model(name)
    place = folder / row.isa.value / name
    if not (place / "src").is_dir():
        generate(model, place, isa=row.isa)
    empty = BoardRow(
        target=row.name,
        runs_as=row.runs_as,
        cpu=row.cpu,
        toolchain=toolchain,
        compiler=None,
        model=name,
    )
    out = folder / row.name.replace(":", "-") / toolchain
    try:
        built = build_firmware(place, row, out, toolchain=toolchain, extra_flags=_STRICT)
    except CodegenError as error:
        return msgspec.structs.replace(empty, note=f"{name}: {error}")
    made = msgspec.structs.replace(
        empty,
        compiler=built.compiler,
        flash_bytes=built.flash_bytes,
        ram_bytes=built.ram_bytes,
        stack_bytes=built.stack_bytes,
    )
    return made if row.runs_as is None else _run(made, row.runs_as, built, model, inputs)


def _run(made: BoardRow, target: str, built: BuildResult, model: Model, count: int) -> BoardRow:
    inputs = random_inputs(model, count)
    expected = ExpectedModel(name=model.name, digest=bytes.fromhex(digest(model)))
    regions, exact = [], True
    with open_link(target, built.elf, expected) as client:
        for region in model.regions:
            client.set_dp(region.dp)
            truth = interpret(model, region, inputs)
            for sample, wanted in zip(inputs, truth, strict=True):
                got = np.frombuffer(client.infer(sample.tobytes()), np.int8)
                exact &= np.array_equal(got, wanted.reshape(-1))
            client.load_input(inputs[0].tobytes())
            instructions = client.run()[0].get("instructions")
            macs = sum(region_macs(model.graph, region))
            regions.append(RegionCost(dp=region.dp, macs=macs, instructions=instructions))
        used = client.stack().used
    return msgspec.structs.replace(
        made, bit_exact=exact, regions=tuple(regions), stack_used=used or None
    )


def missing_tools(rows: Sequence[Target], toolchains: Sequence[str]) -> None:
    """Raise `ToolchainError` for the first compiler or QEMU that the matrix lacks."""
    for row in rows:
        for kind in toolchains:
            compiler_for(row, kind)
        if row.qemu is not None:
            find_qemu(row.qemu.program)


def check_toolchains(rows: Sequence[Target], names: Sequence[str]) -> tuple[str, ...]:
    """These kinds, each once. Raises `ConfigError` for one that a board lacks."""
    wanted = tuple(dict.fromkeys(names))
    for row in rows:
        for name in wanted:
            if name not in row.toolchains:
                raise ConfigError(
                    f"{row.name} is not built with {name!r}; use {' or '.join(row.toolchains)}"
                )
    return wanted
