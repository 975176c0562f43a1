"""The verbs `train` and `evaluate`.

PyTorch is imported when a verb runs, never before, so that help stays instant and the other verbs
work without it.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from tesla_embed import atomic
from tesla_embed.errors import ConfigError
from tesla_host.cli.options import ALL_REGIONS, DataOption, parse_dp_list
from tesla_host.cli.terminal import console, need_torch, progress

if TYPE_CHECKING:
    from tesla_embed.train.evaluate import Evaluation
    from tesla_embed.train.loop import EpochDone

EVALUATE_SCHEMA = "tesla-embed/evaluate/1"


def train(
    recipe: Annotated[str, typer.Argument(help="name of a recipe, or path of a .toml file")],
    data: DataOption,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="folder for the results")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="change a key of the recipe; repeatable"),
    ] = None,
    algorithm: Annotated[
        str | None, typer.Option("--algorithm", help="short for --set algorithm=...")
    ] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", help="short for --set profile=...")
    ] = None,
    trainable_profile: Annotated[
        bool, typer.Option("--trainable-profile", help="learn the profile: ATP, from all ones")
    ] = False,
    usage: Annotated[
        Path | None,
        typer.Option("--usage", metavar="CSV", help="r-tesla draws regions as often as used"),
    ] = None,
    init: Annotated[
        Path | None, typer.Option("--init", metavar="FILE", help="start from these weights")
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="log to DIR/tensorboard as well")
    ] = False,
) -> None:
    """Train a network that runs at several dot-product percentages.

    Writes DIR/model.safetensors and DIR/training.csv. Started again after an interruption, it
    continues. Several processes train together under torchrun.

    Example: tesla-embed train mnist-mlp --data idx:mnist --out runs/m --profile linear
    """
    need_torch()
    from tesla_embed.data import load_data
    from tesla_embed.train import loop
    from tesla_embed.train.evaluate import evaluate as run_evaluation
    from tesla_embed.train.parallel import is_first_process
    from tesla_embed.train.recipe import load_recipe

    atomic.check_writable(out / loop.MODEL_NAME)
    if trainable_profile and profile not in (None, "trainable"):
        raise ConfigError(f"--trainable-profile excludes --profile {profile}; give one of them")
    profile = "trainable" if trainable_profile else profile
    overrides = _overrides(set_, algorithm, profile)
    overrides += [f"usage={json.dumps(str(usage))}"] if usage else []
    chosen = load_recipe(recipe, overrides)
    dataset = load_data(data)
    if not is_first_process():
        loop.train(chosen, dataset, out, initial=init)
        return
    with progress(f"training {chosen.name}") as observer:
        result = loop.train(
            chosen,
            dataset,
            out,
            lambda event: observer(_status(event), event.fraction),
            initial=init,
            tensorboard=tensorboard,
        )
    _print_table(run_evaluation(result.network, dataset.test, parse_dp_list(ALL_REGIONS)))
    print(f"{result.path}: {chosen.name} after {result.epochs} epochs")


def _overrides(set_: list[str] | None, algorithm: str | None, profile: str | None) -> list[str]:
    overrides = list(set_ or [])
    overrides += [f"algorithm={algorithm}"] if algorithm else []
    overrides += [f"profile={profile}"] if profile else []
    return overrides


def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="model.safetensors that train wrote")],
    data: DataOption,
    dp: Annotated[
        str, typer.Option("--dp", metavar="LIST", help="10,25,100 or 10,20,...,100 or 10-100/5")
    ] = ALL_REGIONS,
    json_: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="also write the numbers here")
    ] = None,
) -> None:
    """Measure test accuracy and true multiply-accumulates at several DP percentages.

    Example: tesla-embed evaluate runs/mnist/model.safetensors --data idx:DIR --dp 10-100/5
    """
    dps = parse_dp_list(dp)
    if json_ is not None:
        atomic.check_writable(json_)
    need_torch()
    from tesla_embed.data import load_data
    from tesla_embed.train.checkpoint import load_checkpoint
    from tesla_embed.train.evaluate import evaluate as run_evaluation

    loaded = load_checkpoint(checkpoint)
    dataset = load_data(data)
    with progress("evaluating") as observer:
        evaluation = run_evaluation(
            loaded.network,
            dataset.test,
            dps,
            lambda done: observer(f"{dps[done - 1]} % DP", done / len(dps)),
        )
    if json_ is not None:
        atomic.write_text(json_, json.dumps(_as_json(evaluation, dataset.name), indent=2) + "\n")
    _print_table(evaluation)


def _status(event: "EpochDone") -> str:
    return (
        f"{event.stage} (stage {event.stage_index + 1} of {event.stage_count}), "
        f"epoch {event.epoch}, validation accuracy {event.accuracy:.2%}"
    )


def _as_json(evaluation: "Evaluation", data: str) -> dict[str, object]:
    return {
        "schema": EVALUATE_SCHEMA,
        "accuracy": {str(dp): value for dp, value in evaluation.accuracy.items()},
        "macs": {str(dp): value for dp, value in evaluation.macs.items()},
        "mean_accuracy": evaluation.mean_accuracy,
        "data": data,
    }


def _print_table(evaluation: "Evaluation") -> None:
    full = evaluation.full_macs
    table = Table(caption=f"mean accuracy {evaluation.mean_accuracy:.2%}")
    for heading in ("DP %", "accuracy", "MACs", "of full"):
        table.add_column(heading, justify="right")
    for dp, accuracy in evaluation.accuracy.items():
        macs = evaluation.macs[dp]
        table.add_row(str(dp), f"{accuracy:.2%}", f"{macs:,}", f"{macs / full:.1%}")
    console().print(table)
