"""The verb that takes in networks of others: `import`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tesla_host.cli.verb import JsonOption, check_json, present

if TYPE_CHECKING:
    from tesla_embed.ir.graph import Model
    from tesla_host.appraisal import Appraisal

IMPORT_SCHEMA = "tesla-embed/import/1"
_SAMPLES = 1000

Network = Annotated[
    Path, typer.Argument(help=".tflite; of float32, .pt2, .keras, SavedModel with --data")
]
NameOption = Annotated[
    str | None, typer.Option(help="name of the model, a C identifier; default: the file's")
]
DataOption = Annotated[
    str | None,
    typer.Option(
        "--data", metavar="SPEC", help="data to calibrate a network of floats on, and for --check"
    ),
]
SamplesOption = Annotated[
    int | None,
    typer.Option(min=1, show_default=str(_SAMPLES), help="training examples to calibrate on"),
]
CheckOption = Annotated[
    int, typer.Option(min=0, metavar="N", help="test examples to measure accuracy on")
]
TrustOption = Annotated[
    bool, typer.Option("--trust", help="open a .pt2, although that runs code which is in it")
]
LastOption = Annotated[
    bool, typer.Option("--channels-last", help="the .pt2 takes images with channels last")
]


def import_(
    network: Network,
    out: Annotated[Path, typer.Option(help="where the integer model goes")],
    name: NameOption = None,
    data: DataOption = None,
    samples: SamplesOption = None,
    check: CheckOption = 0,
    trust: TrustOption = False,
    channels_last: LastOption = False,
    json_: JsonOption = None,
) -> None:
    """Read a network that others made, as a model of one region.

    Example: tesla-embed import person_detect.tflite --out person.safetensors

    Example: tesla-embed import net.pt2 --trust --data digits --check 300 --out net.safetensors
    """
    from tesla_embed.atomic import check_writable
    from tesla_embed.errors import ConfigError
    from tesla_embed.ir.store import save_model
    from tesla_host.importing import ImportOptions, import_network

    check_writable(out, network)
    check_json(json_, network)
    if data is None and (check or samples is not None):
        raise ConfigError(f"--{'check' if check else 'samples'} counts examples of --data; add it")
    options = ImportOptions(
        name=name,
        data=data,
        samples=samples or _SAMPLES,
        check=check,
        trust=trust,
        channels_last=channels_last,
        data_is_for_check=bool(check) and samples is None,
    )
    model = import_network(network, options)
    found = _appraise(model, data, check) if data is not None and check else None
    save_model(out, model)
    present(json_, _document(model, out, found), lambda: _print(model, out, found))


def _appraise(model: "Model", data: str, samples: int) -> "Appraisal":
    """Right answers of the integers, and of their floats. Raises `ConfigError` for other data."""
    from tesla_embed.data import load_data
    from tesla_host.appraisal import appraise
    from tesla_host.cli.terminal import progress
    from tesla_host.profiler import load_samples

    dataset = load_data(data)
    load_samples(model, dataset, 1)
    with progress("measuring"):
        return appraise(model, dataset, samples)


def _document(model: "Model", out: Path, found: "Appraisal | None") -> dict[str, object]:
    from tesla_embed.ir.store import digest

    document: dict[str, object] = {
        "schema": IMPORT_SCHEMA,
        "out": out,
        "model": model.name,
        "digest": digest(model),
        "operations": len(model.graph.ops),
    }
    if found is not None:
        document |= {"samples": found.samples, "accuracy": found.accuracy}
        document |= {"reference": found.reference} if found.reference else {}
    return document


def _print(model: "Model", out: Path, found: "Appraisal | None") -> None:
    from tesla_embed.ir.store import digest

    if found is not None:
        (accuracy,) = found.accuracy.values()
        floats = "".join(f", {share:.2%} by the floats" for share in found.reference.values())
        print(
            f"accuracy {accuracy:.2%} of {found.samples:,} test examples, by the integers{floats}"
        )
    count = len(model.graph.ops)
    print(f"{out}: {model.name}, {count} operations, 100 % DP, digest {digest(model)[:16]}")
