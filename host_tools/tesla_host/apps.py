"""What a firmware does around its model: the catalogue of applications.

In: the name of an application and, for a benchmark, the model it is built around. Out: which of the
firmware's sources are compiled, and with which macros. Refuses an unknown name, and a model that a
benchmark cannot be run on, with `ConfigError`.
"""

import math
from dataclasses import dataclass, replace

from tesla_embed.errors import ConfigError
from tesla_embed.ir.graph import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """One application: the folders of `tesla_firmware` with its sources.

    `without` are files of those folders, by name, that another one replaces; `macros` are defined
    for the application's own sources. `greeting` ends what the firmware says after a reset.
    """

    name: str
    folders: tuple[str, ...]
    without: tuple[str, ...] = ()
    macros: tuple[str, ...] = ()
    greeting: bytes = b""


LINK = App(name="link", folders=("app",))
"""Answers the binary protocol of docs/protocol.md."""

MLPERF_TINY = App(
    name="mlperf-tiny",
    folders=("app", "app_mlperf"),
    without=("app/main.c",),
    greeting=b"m-ready\r\n",
)
"""Answers the text protocol of MLPerf Tiny (docs/mlperf-tiny.md)."""

APPS = (LINK, MLPERF_TINY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """One of MLPerf Tiny's: the number of a model's inputs, and what is known of its outputs."""

    name: str
    inputs: int
    same_outputs: bool = False

    @property
    def macro(self) -> str:
        """How the firmware is told."""
        return f"TESLA_MLPERF_BENCHMARK=TESLA_MLPERF_{self.name.upper()}"


BENCHMARKS = (
    Benchmark(name="kws01", inputs=490),
    Benchmark(name="ic01", inputs=3_072),
    Benchmark(name="vww01", inputs=27_648),
    Benchmark(name="ad01", inputs=640, same_outputs=True),
)


def choose_app(name: str, model: Model, benchmark: str | None = None) -> App:
    """The application of that name, made ready for `model`.

    `benchmark` is one of MLPerf Tiny's (kws01, ic01, vww01, ad01); without it, the one whose
    inputs are as many as the model's. It may be forced on a model of another size, except that
    `ad01` compares 640 inputs with as many outputs. Raises `ConfigError`.
    """
    for app in APPS:
        if app.name == name:
            break
    else:
        known = " and ".join(app.name for app in APPS)
        raise ConfigError(f"there is no application {name!r}; there are {known}")
    if app is not MLPERF_TINY:
        if benchmark is not None:
            raise ConfigError(f"--benchmark is for --app {MLPERF_TINY.name}, not for {name}")
        return app
    return replace(app, macros=(_find_benchmark(model, benchmark).macro,))


def _find_benchmark(model: Model, name: str | None) -> Benchmark:
    types = model.regions[-1].types
    inputs, outputs = (
        math.prod(types[index].shape) for index in (model.graph.input, model.graph.output)
    )
    names = ", ".join(row.name for row in BENCHMARKS)
    if name is None:
        found = [row for row in BENCHMARKS if row.inputs == inputs]
        if not found:
            raise ConfigError(
                f"{model.name} has {inputs:,} inputs, as no benchmark of MLPerf Tiny; give "
                f"--benchmark, one of {names}"
            )
    else:
        found = [row for row in BENCHMARKS if row.name == name]
        if not found:
            raise ConfigError(f"there is no benchmark {name!r}; there are {names}")
    (row,) = found
    if row.same_outputs and not inputs == outputs == row.inputs:
        raise ConfigError(
            f"{row.name} compares {row.inputs} inputs with as many outputs; {model.name} has "
            f"{inputs:,} inputs and {outputs:,} outputs"
        )
    return row
