"""The verb `cam`: where a network looks at every DP percentage.

PyTorch is imported when the verb runs, never before.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from tesla_embed import atomic
from tesla_host.cli.options import DataOption, parse_dp_list
from tesla_host.cli.terminal import console, need_torch
from tesla_host.cli.verb import JsonOption, check_json, present
from tesla_host.report.activation import draw_maps
from tesla_host.report.pictures import png

if TYPE_CHECKING:
    from tesla_embed.nn.cam import ActivationMaps

CAM_SCHEMA = "tesla-embed/cam/1"


def cam(
    checkpoint: Annotated[Path, typer.Argument(help="model.safetensors that train wrote")],
    data: DataOption,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="picture to write, .png")],
    dp: Annotated[
        str, typer.Option("--dp", metavar="LIST", help="10,25,100 or 10,20,...,100")
    ] = "10,20,30,50,100",
    samples: Annotated[int, typer.Option("--samples", min=1, max=64, help="test images")] = 6,
    first: Annotated[int, typer.Option("--first", min=0, help="number of the first one")] = 0,
    layer: Annotated[
        str | None, typer.Option("--layer", help="look at this layer instead of the last image")
    ] = None,
    json_: JsonOption = None,
) -> None:
    """Draw class activation maps: a row for each test image, a column for each DP percentage.

    Hot places speak for the predicted class. The frame is green where that is right, red where not.
    `report --cam` puts the picture into the report.

    Example: tesla-embed cam runs/r/model.safetensors --data npz:cifar10 --out cam.png
    """
    dps = parse_dp_list(dp)
    check_json(json_, checkpoint)
    need_torch()
    from tesla_embed.data import load_data
    from tesla_embed.errors import ConfigError
    from tesla_embed.nn.cam import activation_maps
    from tesla_embed.train.checkpoint import load_checkpoint
    from tesla_embed.train.evaluate import check_fit

    network, split = load_checkpoint(checkpoint).network, load_data(data, train=False).test
    check_fit(network, split)
    if len(network.input_shape) != 3 or network.task != "classify":
        raise ConfigError(f"{checkpoint} does not classify images; class activation maps need that")
    chosen = split.subset(slice(first, first + samples))
    if not len(chosen):
        raise ConfigError(f"--first {first} is beyond the {len(split)} test images")
    images = chosen.floats()
    found = {value: activation_maps(network, images, value, layer) for value in dps}
    labels = chosen.y.tolist()
    atomic.write_bytes(out, png(draw_maps(images, labels, first, found)))

    def show() -> None:
        _print_table(found, labels, first)
        print(f"{out}: {len(chosen)} images at {', '.join(map(str, dps))} % DP, left to right")

    present(json_, _document(found, labels, first, out), show)


def _document(
    found: "dict[int, ActivationMaps]", labels: list[int], first: int, out: Path
) -> dict[str, object]:
    images = [
        {
            "image": first + index,
            "class": label,
            "predictions": {dp: int(maps.predictions[index]) for dp, maps in found.items()},
        }
        for index, label in enumerate(labels)
    ]
    return {"schema": CAM_SCHEMA, "out": out, "images": images}


def _print_table(found: "dict[int, ActivationMaps]", labels: list[int], first: int) -> None:
    table = Table(caption="predicted class at each DP percentage; * is wrong")
    for heading in ("image", "class", *(f"{dp} %" for dp in found)):
        table.add_column(heading, justify="right")
    for index, label in enumerate(labels):
        cells = []
        for maps in found.values():
            guess = int(maps.predictions[index])
            cells.append(str(guess) if guess == label else f"{guess}*")
        table.add_row(str(first + index), str(label), *cells)
    console().print(table)
