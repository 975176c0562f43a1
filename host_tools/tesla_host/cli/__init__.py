"""The command line: one verb per stage of the pipeline.

Only here do errors become text and exit codes: 0 ok, 1 a threshold or comparison failed, 2 usage
or bad input, 3 toolchain or device missing, 130 interrupted.
"""

import sys

import typer

from tesla_embed import __version__
from tesla_embed.errors import TeslaEmbedError
from tesla_host.cli.build import build, doctor, targets
from tesla_host.cli.compare import compare
from tesla_host.cli.demo import demo
from tesla_host.cli.measure import profile, verify
from tesla_host.cli.model import generate, quantize
from tesla_host.cli.report import report
from tesla_host.cli.train import evaluate, train

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Put one neural network on a microcontroller and choose at run time how much of it to "
    "compute.",
)
for verb in (
    demo, train, evaluate, compare, quantize, generate, build, profile, verify, report, targets,
    doctor,
):  # fmt: skip
    app.command()(verb)


@app.callback(invoke_without_command=True)
def root(version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    """Serve `--version`."""
    if version:
        print(f"tesla-embed {__version__}")
        raise typer.Exit


def main() -> None:
    """Entry point of the `tesla-embed` command."""
    try:
        app()
    except TeslaEmbedError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
