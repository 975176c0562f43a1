"""The verb that turns a model into C."""

from pathlib import Path
from typing import Annotated

import typer

from tesla_codegen.kernels.variant import Isa, Optimize
from tesla_host.cli.options import ModelArgument, OptimizeOption
from tesla_host.cli.verb import JsonOption, check_json, present

GENERATE_SCHEMA = "tesla-embed/generate/1"


def generate(
    model: ModelArgument,
    out: Annotated[Path, typer.Option(help="folder of the C project; replaced if generated")],
    isa: Annotated[
        Isa,
        typer.Option(
            help="whose kernels: any machine's, of Cortex-M4, M7 and M33 (dsp), of M55 (helium)"
        ),
    ] = Isa.PORTABLE,
    optimize: OptimizeOption = Optimize.BALANCED,
    json_: JsonOption = None,
) -> None:
    """Write a model as a C99 library with one copy of the weights and a run-time DP switch.

    Example: tesla-embed generate m.safetensors --out build/m
    """
    from tesla_codegen.project import generate as write_project
    from tesla_embed.ir.store import load_model

    check_json(json_, model)
    project = write_project(load_model(model), out, isa=isa, optimize=optimize)
    line = (
        f"{out}: library {project.prefix}, weights {project.weights_bytes:,} B, "
        f"region tables {project.region_table_bytes:,} B, arena {project.arena_bytes:,} B"
    )
    known = ("prefix", "weights_bytes", "region_table_bytes", "arena_bytes")
    document = {"schema": GENERATE_SCHEMA, "out": out, "isa": isa, "optimize": optimize}
    present(json_, document | {name: getattr(project, name) for name in known}, lambda: print(line))
