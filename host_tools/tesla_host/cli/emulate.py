"""The verb that keeps a firmware running: `emulate`."""

import contextlib
import signal
import sys
from typing import Annotated

import typer

from tesla_codegen.kernels.variant import Optimize
from tesla_host.cli.measure import BuildOption, TargetOption
from tesla_host.cli.options import (
    AppOption,
    BenchmarkOption,
    ModelArgument,
    OptimizeOption,
    ToolchainOption,
    build_folder,
)
from tesla_host.cli.verb import JsonOption, check_json, present

EMULATE_SCHEMA = "tesla-embed/emulate/1"


def emulate(
    model: ModelArgument,
    target: TargetOption = "emulator",
    listen: Annotated[
        str, typer.Option(help="where clients connect: socket://127.0.0.1:PORT (0: any) or pty")
    ] = "socket://127.0.0.1:0",
    toolchain: ToolchainOption = None,
    optimize: OptimizeOption = Optimize.BALANCED,
    app: AppOption = "link",
    benchmark: BenchmarkOption = None,
    build_dir: BuildOption = None,
    json_: JsonOption = None,
) -> None:
    """Build a model's firmware and keep it running for any client, until Ctrl-C.

    The first line printed is what clients open; they may close it and open it again.

    Example: tesla-embed emulate m.safetensors --target emulator --listen socket://127.0.0.1:5000
    """
    from tesla_embed.errors import ConfigError
    from tesla_embed.ir.store import load_model
    from tesla_host.apps import choose_app
    from tesla_host.cli.terminal import progress
    from tesla_host.serving.bridge import await_boot, serve, stop_on_signals
    from tesla_host.serving.lines import open_line
    from tesla_host.targets import check_runs, find_target, is_connection, open_target
    from tesla_host.workbench import make_firmware

    if is_connection(target):
        raise ConfigError(f"{target} runs already; emulate one of `tesla-embed targets`")
    check_runs(target)
    check_json(json_, model)
    loaded, chosen = load_model(model), find_target(target)
    application = choose_app(app, loaded, benchmark)
    with contextlib.closing(open_line(listen)) as line, build_folder(build_dir) as folder:
        with progress("building") as observer:
            result = make_firmware(
                loaded, chosen, folder, toolchain=toolchain, optimize=optimize, app=application,
                observer=observer,
            ).build  # fmt: skip
        with stop_on_signals() as stop, contextlib.closing(open_target(target, result.elf)) as pipe:
            await_boot(pipe, application.greeting, stop)
            address = line.address
            document = {"address": address, "model": loaded.name, "target": chosen.name, "app": app}
            present(json_, {"schema": EMULATE_SCHEMA, **document}, lambda: print(address))
            sys.stdout.flush()
            print(f"{loaded.name} on {target}; Ctrl-C ends it", file=sys.stderr)
            serve(pipe, line, stop)
    if stop.signal == signal.SIGINT:
        raise KeyboardInterrupt
