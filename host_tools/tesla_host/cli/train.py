"""The verbs `train` and `evaluate`.

PyTorch is imported when a verb runs, never before, so that help stays instant and the other verbs
work without it.
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from tesla_embed import atomic
from tesla_embed.errors import ConfigError
from tesla_host.cli.options import ALL_REGIONS, DataOption, parse_dp_list
from tesla_host.cli.terminal import console, need_torch, progress
from tesla_host.cli.verb import JsonOption, check_json, present

if TYPE_CHECKING:
    from tesla_embed.train.evaluate import Evaluation
    from tesla_embed.train.loop import EpochDone
    from tesla_embed.train.recipe import Recipe

_MOST_NAMES = 5
TRAIN_SCHEMA = "tesla-embed/train/1"
EVALUATE_SCHEMA = "tesla-embed/evaluate/1"


_Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="change a key of the recipe; repeatable"),
]
_Algorithm = Annotated[
    str | None, typer.Option("--algorithm", help="short for --set algorithm=...")
]
_Profile = Annotated[str | None, typer.Option("--profile", help="short for --set profile=...")]
_Trainable = Annotated[
    bool, typer.Option("--trainable-profile", help="learn the profile: ATP, from all ones")
]
_Usage = Annotated[
    Path | None,
    typer.Option("--usage", metavar="CSV", help="r-tesla draws regions as often as used"),
]
_Init = Annotated[
    Path | None, typer.Option("--init", metavar="FILE", help="start from these weights")
]
_Tensorboard = Annotated[bool, typer.Option("--tensorboard", help="log to DIR/tensorboard as well")]


def train(
    recipe: Annotated[str, typer.Argument(help="name of a recipe, or path of a .toml file")],
    data: DataOption,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="folder for the results")],
    set_: _Set = None,
    algorithm: _Algorithm = None,
    profile: _Profile = None,
    trainable_profile: _Trainable = False,
    usage: _Usage = None,
    init: _Init = None,
    tensorboard: _Tensorboard = False,
    json_: JsonOption = None,
) -> None:
    """Train a network that runs at several dot-product percentages.

    Writes DIR/model.safetensors and DIR/training.csv. Started again after an interruption, it
    continues. Several processes train together under torchrun.

    Example: tesla-embed train mnist-mlp --data idx:mnist --out runs/m --profile linear

    Example: tesla-embed train digits-cnn --data digits --out runs/d --set seed=7 --json d.json
    """
    need_torch()
    from tesla_embed.train.loop import MODEL_NAME
    from tesla_embed.train.recipe import idle_settings, load_recipe

    atomic.check_writable(out / MODEL_NAME)
    check_json(json_, init, usage, Path(recipe))
    if trainable_profile and profile not in (None, "trainable"):
        raise ConfigError(f"--trainable-profile excludes --profile {profile}; give one of them")
    overrides = _overrides(set_, algorithm, "trainable" if trainable_profile else profile)
    overrides += [f"usage={json.dumps(str(usage))}"] if usage else []
    chosen = load_recipe(recipe, overrides)
    for setting in idle_settings(chosen, overrides):
        print(f"--set {setting}, which {chosen.algorithm} does not look at", file=sys.stderr)
    _train(chosen, data, out, init, tensorboard, json_)


def _train(
    chosen: "Recipe",
    data: str,
    out: Path,
    init: Path | None,
    tensorboard: bool,
    json_: Path | None,
) -> None:
    """Train, and show what the first of the processes, if there are several, has reached."""
    from tesla_embed.data import load_data
    from tesla_embed.train import loop
    from tesla_embed.train.evaluate import evaluate as run_evaluation
    from tesla_embed.train.parallel import is_first_process

    dataset = load_data(data)
    if not is_first_process():
        loop.train(chosen, dataset, out, initial=init)
        return
    with progress(f"training {chosen.name}") as observer:

        def note(event: "EpochDone") -> None:
            observer(_status(event), event.fraction)

        result = loop.train(chosen, dataset, out, note, initial=init, tensorboard=tensorboard)
    if result.left_out:
        names = ", ".join(result.left_out[:_MOST_NAMES])
        print(
            f"{len(result.left_out)} tensors of {init} fit nothing and were left out: {names}"
            + (", ..." if len(result.left_out) > _MOST_NAMES else ""),
            file=sys.stderr,
        )
    evaluation = run_evaluation(result.network, dataset.test, parse_dp_list(ALL_REGIONS))

    def show() -> None:
        _print_table(evaluation)
        print(f"{result.path}: {chosen.name} after {result.epochs} epochs")

    made = {"model": result.path, "recipe": chosen.name, "epochs": result.epochs}
    made |= {"left_out": result.left_out}
    document = _document(evaluation, dataset.name) | {"schema": TRAIN_SCHEMA, **made}
    present(json_, document, show)


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
    json_: JsonOption = None,
) -> None:
    """Measure test accuracy and true multiply-accumulates at several DP percentages.

    Example: tesla-embed evaluate runs/mnist/model.safetensors --data idx:DIR --dp 10-100/5
    """
    dps = parse_dp_list(dp)
    check_json(json_, checkpoint)
    need_torch()
    from tesla_embed.data import load_data
    from tesla_embed.train.checkpoint import load_checkpoint
    from tesla_embed.train.evaluate import evaluate as run_evaluation

    loaded = load_checkpoint(checkpoint)
    dataset = load_data(data, train=False)
    with progress("evaluating") as observer:
        evaluation = run_evaluation(
            loaded.network,
            dataset.test,
            dps,
            lambda done: observer(f"{dps[done - 1]} % DP", done / len(dps)),
        )
    present(json_, _document(evaluation, dataset.name), lambda: _print_table(evaluation))


def _status(event: "EpochDone") -> str:
    return (
        f"{event.stage} (stage {event.stage_index + 1} of {event.stage_count}), "
        f"epoch {event.epoch}, validation accuracy {event.accuracy:.2%}"
    )


def _document(evaluation: "Evaluation", data: str) -> dict[str, object]:
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
