"""What was measured once for a CPU and a compiler: coefficients of every kernel, code, firmware.

The files stand beside this module: `data/CPU-TOOLCHAIN.json` for what is compiled as `balanced`,
with `-size` or `-speed` in the name for the others. `tesla-embed bench fit` writes them.
"""

import json
from functools import cache
from importlib.resources import files
from pathlib import Path

import msgspec

from tesla_codegen.kernels.variant import Optimize
from tesla_embed import atomic
from tesla_embed.errors import ConfigError
from tesla_host.build import choose_toolchain
from tesla_host.estimate.sizes import Code
from tesla_host.targets import TARGETS, Target

SCHEMA = "tesla-embed/coefficients/1"


class KernelCost(msgspec.Struct, kw_only=True):
    """Instructions for each thing that a kernel's cost model counts.

    Errors are shares of what was measured. What depends on the data lies between `low` and `high`
    times the prediction; both are 1 where nothing does. `stack_bytes` is what a call takes at most.
    """

    coefficients: dict[str, float]
    observations: int
    worst: float
    median: float
    exact: bool
    low: float = 1.0
    high: float = 1.0
    stack_bytes: int | None = None


class BoardCost(msgspec.Struct, kw_only=True):
    """Bytes of flash and RAM that a target's firmware has beside weights, tables and kernels."""

    flash: dict[str, float]
    ram: dict[str, float]


class Coefficients(msgspec.Struct, kw_only=True):
    """All of one CPU and toolchain; `compiler` is the version that was measured.

    `run_stack_bytes` is what the function takes that calls the kernels.
    """

    schema: str = SCHEMA
    cpu: str
    toolchain: str
    compiler: str
    kernels: dict[str, KernelCost]
    code: dict[str, Code]
    boards: dict[str, BoardCost]
    run_stack_bytes: int = 0


def data_file(
    target: Target, toolchain: str | None, optimize: Optimize = Optimize.BALANCED
) -> Path:
    """Where the coefficients of a target and toolchain belong. Raises `ConfigError`."""
    if target.core is None:
        raise ConfigError(f"{target.name} counts no instructions; choose an emulated target")
    level = "" if optimize is Optimize.BALANCED else f"-{optimize}"
    name = f"{target.cpu.lower()}-{choose_toolchain(target, toolchain)}{level}.json"
    return Path(str(files("tesla_host.estimate").joinpath("data", name)))


def load_coefficients(
    target: Target, toolchain: str | None, optimize: Optimize = Optimize.BALANCED
) -> Coefficients:
    """What is known of a target's CPU and a toolchain. Raises `ConfigError` if nothing is."""
    path = data_file(target, toolchain, optimize)
    if not path.is_file():
        kind = choose_toolchain(target, toolchain)
        where = _emulated(target)
        way = f"run tesla-embed bench fit --target {where} --toolchain {kind} --optimize {optimize}"
        raise ConfigError(
            f"nothing was measured for {path.stem}; "
            + (way if where else f"no emulated target has a {target.cpu} to measure it on")
        )
    return _load(path, path.stat().st_mtime_ns)


def _emulated(target: Target) -> str | None:
    """What to give as --target to measure the CPU of `target`, which may be a board; or `None`."""
    rows = sorted(TARGETS, key=lambda row: row.name != target.name)  # itself, if it can
    return next((row.runs_as for row in rows if row.core == target.core and row.runs_as), None)


@cache
def _load(path: Path, _changed: int) -> Coefficients:
    return msgspec.json.decode(path.read_bytes(), type=Coefficients)


def save_coefficients(path: Path, found: Coefficients) -> None:
    """Write a file of coefficients, a kernel a line."""
    content = msgspec.to_builtins(found)
    lines = []
    for key, value in content.items():
        if isinstance(value, dict) and key in ("kernels", "code", "boards"):
            rows = [f"  {json.dumps(name)}: {json.dumps(entry)}" for name, entry in value.items()]
            lines.append(f" {json.dumps(key)}: {{\n" + ",\n".join(rows) + "\n }")
        else:
            lines.append(f" {json.dumps(key)}: {json.dumps(value)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")
