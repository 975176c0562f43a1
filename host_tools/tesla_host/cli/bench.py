"""The verbs `bench ...`: what training costs on this machine, and code on an emulated one.

PyTorch is imported when a verb runs, never before.
"""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from tesla_embed.errors import ConfigError
from tesla_host.cli.bench_boards import boards
from tesla_host.cli.bench_counts import kernels, models
from tesla_host.cli.estimate import bench_estimate, fit
from tesla_host.cli.options import parse_dp_list
from tesla_host.cli.terminal import console, need_torch, progress
from tesla_host.cli.verb import JsonOption, Verb, check_json, present

if TYPE_CHECKING:
    from tesla_embed.train.step_cost import StepCosts

BENCH_SCHEMA = "tesla-embed/bench-training/1"
bench = typer.Typer(no_args_is_help=True, help="Measure what things cost.")
for name, verb in (
    ("kernels", kernels),
    ("models", models),
    ("boards", boards),
    ("estimate", bench_estimate),
    ("fit", fit),
):
    bench.command(name, cls=Verb)(verb)


@bench.callback()
def group() -> None:
    """Keep `bench` a group of verbs, however few there are."""


@bench.command(cls=Verb)
def training(
    recipe: Annotated[str, typer.Argument(help="name of a recipe, or path of a .toml file")],
    data_shape: Annotated[
        str | None,
        typer.Option("--data-shape", metavar="SIZES", help="of an example, as 32,32,3"),
    ] = None,
    dp: Annotated[
        str | None, typer.Option("--dp", metavar="LIST", help="tasks; else those of the recipe")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="change a key of the recipe; repeatable"),
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1, max=10_000)] = 15,
    json_: JsonOption = None,
) -> None:
    """Measure a training step with tasks at several DP percentages beside a plain step.

    All numbers are shares of the ordinary module's time; each is the least of all rounds.

    Example: tesla-embed bench training cifar10-resnet8 --dp 20,40,70,100
    """
    dps = None if dp is None else parse_dp_list(dp)
    check_json(json_)
    need_torch()
    from tesla_embed.train.recipe import load_recipe
    from tesla_embed.train.step_cost import known_data, measure_step

    chosen = load_recipe(recipe, set_ or [])
    shape, classes = (_sizes(data_shape), 10) if data_shape else known_data(chosen)
    tasks = sorted(dps or chosen.tesla.tasks, reverse=True)
    with progress(f"measuring {chosen.name}") as observer:
        costs = measure_step(
            chosen, shape, classes, tasks, rounds, lambda done: observer("", done / rounds)
        )
    present(json_, _as_json(costs, chosen.name), lambda: _print_table(costs))


def _sizes(text: str) -> tuple[int, ...]:
    items = text.split(",")
    if not all(item.isascii() and item.isdigit() and int(item) for item in items):
        raise ConfigError(f"--data-shape {text!r} is no list of sizes; write 32,32,3 or 640")
    return tuple(map(int, items))


def _as_json(costs: "StepCosts", recipe: str) -> dict[str, object]:
    return {
        "schema": BENCH_SCHEMA,
        "recipe": recipe,
        "batch": costs.batch,
        "device": costs.device,
        "plain_s": costs.plain_s,
        "tasks": [
            {"dp": t.dp, "macs": t.macs, "scalable": t.scalable, "narrow": t.narrow}
            for t in costs.tasks
        ],
        "sum": {"macs": costs.macs, "scalable": costs.scalable, "narrow": costs.narrow},
        "whole": costs.whole,
    }


def _print_table(costs: "StepCosts") -> None:
    table = Table(caption="in shares of the ordinary module's time; MACs of its MACs")
    for heading in ("DP %", "MACs", "scalable network", "plain module of these widths"):
        table.add_column(heading, justify="right")
    for task in costs.tasks:
        values = (task.macs, task.scalable, task.narrow)
        table.add_row(str(task.dp), *(f"{value:.3f}" for value in values))
    table.add_section()
    table.add_row("sum", *(f"{v:.3f}" for v in (costs.macs, costs.scalable, costs.narrow)))
    console().print(table)
    print(
        f"forward and backward: {costs.scalable / costs.macs:.2f} x MACs, "
        f"{costs.scalable / costs.narrow:.2f} x plain modules of these widths; a whole step is "
        f"{costs.whole:.2f} plain ones of {costs.plain_s * 1e3:.2f} ms, batch {costs.batch}, "
        f"{costs.device}"
    )
