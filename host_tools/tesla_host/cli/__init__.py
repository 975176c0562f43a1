"""The command line: one verb per stage of the pipeline.

Only here do errors become text and exit codes: 0 ok, 1 a threshold or comparison failed, 2 usage
or bad input, 3 toolchain or device missing, 130 interrupted.
"""

import contextlib
import os
import signal
import sys
from typing import NoReturn

import typer

from tesla_embed import __version__
from tesla_embed.errors import TeslaEmbedError
from tesla_host.cli.bench import bench
from tesla_host.cli.build import build, targets
from tesla_host.cli.cam import cam
from tesla_host.cli.compare import compare
from tesla_host.cli.completion import completion
from tesla_host.cli.demo import demo
from tesla_host.cli.diagnose import diagnose
from tesla_host.cli.doctor import doctor
from tesla_host.cli.emulate import emulate
from tesla_host.cli.energy import energy
from tesla_host.cli.estimate import estimate
from tesla_host.cli.flash import flash
from tesla_host.cli.foreign import export, inspect, run
from tesla_host.cli.foreign_import import import_
from tesla_host.cli.measure import profile, verify
from tesla_host.cli.model import generate
from tesla_host.cli.monitor import monitor
from tesla_host.cli.prune import prune, sort
from tesla_host.cli.quantize import quantize
from tesla_host.cli.report import report
from tesla_host.cli.streams import stand_in
from tesla_host.cli.train import evaluate, train
from tesla_host.cli.verb import Verb
from tesla_host.interrupt import INTERRUPTED, end_interrupted, was_interrupted

app = typer.Typer(
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Put one neural network on a microcontroller and choose at run time how much of it to "
    "compute.",
)
for verb in (
    demo, train, evaluate, compare, cam, sort, prune, quantize, diagnose, import_, inspect, run,
    export, estimate, generate, build, flash, emulate, monitor, profile, energy, verify, report,
    targets, doctor, completion,
):  # fmt: skip
    app.command(verb.__name__.rstrip("_"), cls=Verb)(verb)
app.add_typer(bench, name="bench")


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version."),
) -> None:
    """Serve `--version`, and show the help where no verb is given."""
    if version:
        print(f"tesla-embed {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


def main() -> None:
    """Entry point of the `tesla-embed` command."""
    signal.signal(signal.SIGTERM, _terminate)
    stand_in()
    try:
        code = app(standalone_mode=False)
        if code == INTERRUPTED:
            end_interrupted()
        sys.exit(code)
    except KeyboardInterrupt:
        end_interrupted()
    except TeslaEmbedError as error:
        _fail(str(error), error.exit_code)
    except OSError as error:  # of the terminal or pipe that we print to
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _fail(f"cannot print the result: {error.strerror}; mind where the output goes", 2)
    except Exception as error:
        explain = getattr(error, "format_message", None)  # what every usage error has
        if explain is None:
            if was_interrupted(error):
                end_interrupted()
            raise
        _fail(f"{explain().rstrip('.')}; see --help", 2)


def _fail(message: str, code: int) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)


def _terminate(_signal: int, _frame: object) -> NoReturn:
    """End by the usual way, so that temporary files go."""
    sys.exit(128 + signal.SIGTERM)
