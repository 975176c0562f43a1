"""Verbs that look at models and hand them on: `export`, `inspect` and `run`."""

import contextlib
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from tesla_host.cli.measure import BuildOption
from tesla_host.cli.options import ModelArgument, ToolchainOption
from tesla_host.cli.verb import JsonOption, check_json, present

EXPORT_SCHEMA = "tesla-embed/export/1"
_SMALL = 1e-4
RUN_SCHEMA = "tesla-embed/run/1"

OutOption = Annotated[Path, typer.Option(help="where the file goes")]
InputOption = Annotated[
    Path, typer.Option("--input", help=".npy of a batch [N, ...], int8, uint8 or floats")
]
PlaceOption = Annotated[str, typer.Option(help="interpreter, or what `tesla-embed targets` lists")]
RealOption = Annotated[bool, typer.Option("--dequantize", help="write real numbers, not int8")]
DpOption = Annotated[
    int | None, typer.Option("--dp", help="DP percentage of a region; default: the largest")
]


def export(
    model: ModelArgument,
    out: OutOption,
    dp: DpOption = None,
    json_: JsonOption = None,
) -> None:
    """Write one region as a stand-alone int8 .tflite that any runtime can execute.

    Example: tesla-embed export m.safetensors --dp 40 --out m40.tflite
    """
    from tesla_embed.atomic import check_writable, write_bytes
    from tesla_embed.ir.store import load_model
    from tesla_embed.tflite.export import to_tflite

    check_writable(out, model)
    check_json(json_, model)
    loaded = load_model(model)
    region = loaded.regions[-1] if dp is None else loaded.region(dp)
    content = to_tflite(loaded, region)
    write_bytes(out, content)
    document = {"out": out, "model": loaded.name, "dp": region.dp, "bytes": len(content)}
    line = f"{out}: {loaded.name} at {region.dp} % DP, {len(content):,} B"
    present(json_, {"schema": EXPORT_SCHEMA, **document}, lambda: print(line))


def inspect(
    model: ModelArgument,
    dp: DpOption = None,
    json_: JsonOption = None,
) -> None:
    """Show the layers, shapes, quantisation, cost and size of a model.

    Example: tesla-embed inspect m.safetensors --dp 40
    """
    from tesla_embed.ir.store import load_model
    from tesla_host.cli.terminal import print_inspection
    from tesla_host.inspection import inspect_model

    check_json(json_, model)
    loaded = load_model(model)
    chosen = loaded.regions[-1].dp if dp is None else loaded.region(dp).dp
    found = inspect_model(loaded)
    present(json_, found, lambda: print_inspection(found, chosen))


def run(
    model: ModelArgument,
    input_: InputOption,
    output: Annotated[Path, typer.Option(help=".npy for the outputs")],
    dp: DpOption = None,
    target: PlaceOption = "interpreter",
    toolchain: ToolchainOption = None,
    dequantize: RealOption = False,
    build_dir: BuildOption = None,
    json_: JsonOption = None,
) -> None:
    """Run a model on a batch of inputs.

    Example: tesla-embed run m.safetensors --input x.npy --output y.npy --dp 40 --target host
    """
    from tesla_embed.atomic import check_writable
    from tesla_embed.errors import ConfigError
    from tesla_embed.ir.store import load_model
    from tesla_host.cli.terminal import progress
    from tesla_host.runner import INTERPRETER, run_model
    from tesla_host.samples import read_inputs, write_outputs
    from tesla_host.targets import check_target

    check_writable(output, model, input_)
    check_json(json_, model, input_)
    if target != INTERPRETER:
        check_target(target)
    elif toolchain is not None or build_dir is not None:
        raise ConfigError(
            f"the {INTERPRETER} builds nothing; --toolchain and --build-dir need --target"
        )
    loaded = load_model(model)
    region = loaded.regions[-1] if dp is None else loaded.region(dp)
    inputs, beyond = read_inputs(input_, loaded)
    _tell_saturation(input_, beyond)
    with contextlib.ExitStack() as stack:
        observer = stack.enter_context(progress("running"))

        def folder() -> Path:
            if build_dir is not None:
                return build_dir
            return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tesla-embed-")))

        outputs = run_model(loaded, region, inputs, target, folder, observer, toolchain)
        write_outputs(output, loaded, region, outputs, dequantize)
    line = f"{output}: {len(outputs):,} outputs of {loaded.name} at {region.dp} % DP on {target}"
    document = {"output": output, "samples": len(outputs), "model": loaded.name, "dp": region.dp}
    document |= {"saturated": beyond}
    present(json_, {"schema": RUN_SCHEMA, **document, "target": target}, lambda: print(line))


def _tell_saturation(path: Path, beyond: float) -> None:
    if beyond:
        share = f"{beyond:.2%}" if beyond >= _SMALL else f"less than {_SMALL:.2%}"
        print(f"{path}: {share} of the values lie beyond what the input holds", file=sys.stderr)
