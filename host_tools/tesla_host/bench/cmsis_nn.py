"""CMSIS-NN from a user's own checkout, measured in the same emulator as our kernels.

In: the folder of a checkout, a case of `cases` and a DP percentage. Out: a `Peer` with the counts
of its kernel on dense tensors of these widths, compiled by the same compiler with the same flags.
Its outputs must be the integer interpreter's, bit for bit, as ours are; its fully connected layer
has one factor for all channels and rounds twice, so that it is compared with a convolution of one
pixel with one factor. Nothing of the checkout is kept. Refuses a folder without its headers with
`ConfigError`, and outputs that differ with `WrongOutput`.
"""

import contextlib
import dataclasses
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tesla_embed.errors import ConfigError
from tesla_embed.ir.graph import Graph, Model, Region
from tesla_embed.ir.interpret import interpret
from tesla_embed.ir.ops import Conv2D, DepthwiseConv2D, FullyConnected, MaxPool2D, Op, Window
from tesla_embed.ir.requantization import requantization
from tesla_embed.ir.types import Tensor, Weights
from tesla_host.bench.cases import MEASURED, Case, case_model
from tesla_host.bench.peers import Peer
from tesla_host.bench.traced import traced_run
from tesla_host.build import build_firmware
from tesla_host.divergence import wrong_output
from tesla_host.link.client import LinkClient
from tesla_host.targets import find_target, open_link

_FOLDERS = (
    "ConvolutionFunctions", "FullyConnectedFunctions", "NNSupportFunctions", "PoolingFunctions",
    "TransposeFunctions",
)  # fmt: skip
_OTHER_TYPES = ("_f16", "_f32", "_flt", "_s4", "_lstm", "_svdf", "_batch_matmul")
"""Parts of the names of sources that no int8 kernel of ours needs."""
_HEADER = Path("Include/arm_nnfunctions.h")
Int8 = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Checkout:
    """A folder with CMSIS-NN, and what it calls itself."""

    path: Path
    version: str


def find_checkout(path: Path) -> Checkout:
    """Check a folder. Raises `ConfigError` if CMSIS-NN is not in it."""
    if not (path / _HEADER).is_file() or not (path / "Source").is_dir():
        raise ConfigError(f"{path} holds no CMSIS-NN: {_HEADER} or Source/ is missing")
    return Checkout(path.resolve(), _version(path))


def _version(path: Path) -> str:
    """The commit where Git knows it, else the revision of the header."""
    if (path / ".git").exists():
        command = ["git", "-C", str(path), "describe", "--always", "--dirty", "--abbrev=8"]
        with contextlib.suppress(OSError):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return done.stdout.strip()
    with contextlib.suppress(OSError):
        text = (path / _HEADER).read_text(encoding="utf-8", errors="replace")
        if found := re.search(r"\$Revision: *(V[.\d]+)", text):
            return f"with header {found[1]}"
    return "of unknown version"


def measure_peer(
    checkout: Checkout, case: Case, dp: int, target: str, toolchain: str | None, folder: Path
) -> Peer:
    """Build the checkout's kernel in `folder` and run it once.

    Cases may share a folder: what is the same is compiled only once.
    """
    model, inputs = _alone(case, dp)
    project = folder / "project"
    _write_project(project, model, checkout)
    row = find_target(target)
    flags = (f"-I{checkout.path / 'Include'}", "-w")
    build = build_firmware(project, row, folder, toolchain=toolchain, extra_flags=flags)

    def load(client: LinkClient) -> None:
        client.load_input(inputs.tobytes())

    with open_link(target, build.elf) as client:
        load(client)
        (ticks,) = client.run()
        region, got = model.regions[0], client.read_output()
        if got != interpret(model, region, inputs).tobytes():
            # as wide as ours at `dp`, and all of what it is
            wide = dataclasses.replace(region, dp=dp)
            raise wrong_output(f"{case.name} by CMSIS-NN", model, wide, inputs, got)
    name = f"CMSIS-NN {checkout.version}, {build.compiler} -O3, measured here"
    count, cycles = ticks["instructions"], ticks.get("cycles")
    if cycles is None:
        cycles = traced_run(row, build.elf, load, count)
    return Peer(name=name, instructions=count, cycles_estimate=cycles)


def _alone(case: Case, dp: int) -> tuple[Model, Int8]:
    """The measured operation as the whole of a dense network, and a seeded input of it."""
    model = case_model(case, (dp,), dense=True)
    region = model.regions[0]
    place = next(i for i, op in enumerate(model.graph.ops) if op.name == MEASURED)
    op, table = model.graph.ops[place], region.tables[place]
    types = [region.types[op.input], region.types[op.output]]
    op = dataclasses.replace(op, inputs=(0,), output=1)
    if isinstance(op, FullyConnected):
        assert table is not None and table.weight_scale is not None
        scale = np.full_like(table.weight_scale, table.weight_scale.max())
        table = dataclasses.replace(table, weight_scale=scale)
        data = op.weights.data[:, None, None, :]
        weights = Weights(data=data, scale=scale)
        op = Conv2D(
            name=op.name, inputs=(0,), output=1, weights=weights, window=Window(height=1, width=1)
        )
        types = [dataclasses.replace(t, shape=(1, 1, *t.shape)) for t in types]
    plain = [dataclasses.replace(t, quantization=None) for t in types]
    tensors = (Tensor(name="input", type=plain[0]), Tensor(name=op.name, type=plain[1]))
    graph = Graph(tensors=tensors, ops=(op,), input=0, output=1)
    only = Region(dp=100, types=tuple(types), tables=(table,))
    inputs = np.random.default_rng(dp).integers(-128, 128, (1, *types[0].shape))
    return Model(name="peer", graph=graph, regions=(only,)), inputs.astype(np.int8)


def _write_project(project: Path, model: Model, checkout: Checkout) -> None:
    """What `build_firmware` expects of a project: sources, and the harness as its model."""
    for name in _FOLDERS:
        target = project / "src" / name
        target.mkdir(parents=True, exist_ok=True)
        for source in sorted((checkout.path / "Source" / name).glob("*.[ch]")):
            if not any(part in source.name for part in _OTHER_TYPES):
                shutil.copyfile(source, target / source.name)
    package = files("tesla_firmware")
    shutil.copytree(str(package.joinpath("include")), project / "include", dirs_exist_ok=True)
    peers = package.joinpath("peers")
    header = peers.joinpath("freestanding", "string.h").read_bytes()
    (project / "include" / "string.h").write_bytes(header)
    (project / "firmware").mkdir(exist_ok=True)
    harness = peers.joinpath("cmsis_nn.c").read_text(encoding="utf-8")
    source = project / "firmware" / "app_model.c"
    source.write_text(f"{_data(model)}\n{harness}", encoding="utf-8")


def _data(model: Model) -> str:
    """What comes before the harness: which kernel, its sizes, its data."""
    op, region = model.graph.ops[0], model.regions[0]
    source, target = region.types
    numbers = {
        **_sizes("HEIGHT WIDTH CHANNELS INPUT_BYTES", source.shape, source.bytes),
        **_sizes("ROWS COLUMNS OUTPUTS OUTPUT_BYTES", target.shape, target.bytes),
        **_window(op),
        "CONV": int(isinstance(op, Conv2D) and source.positions > 1),
        "DEPTHWISE": int(isinstance(op, DepthwiseConv2D)),
        "DENSE": int(isinstance(op, Conv2D) and source.positions == 1),
    }
    arrays: list[str] = []
    if isinstance(op, Conv2D | DepthwiseConv2D):
        table = region.tables[0]
        assert table is not None
        integers = requantization(op, table, source, target)
        numbers |= {
            "INPUT_OFFSET": integers.input_offset, "OUTPUT_OFFSET": integers.output_offset,
        }  # fmt: skip
        data = op.weights.data
        if isinstance(op, DepthwiseConv2D):
            data = np.moveaxis(data, 0, -1)  # channels are innermost there
        arrays = [
            _array("const int8_t", "peer_weights", data),
            _array("const int32_t", "peer_bias", integers.bias),
            _array("int32_t", "peer_multiplier", integers.factors.multiplier),
            _array("int32_t", "peer_shift", integers.factors.shift),
        ]
    lines = [f"#define PEER_{name} ({value})" for name, value in numbers.items()]
    return "\n".join(["#include <stdint.h>", *lines, *arrays, ""])


def _sizes(names: str, shape: tuple[int, ...], bytes_: int) -> dict[str, int]:
    return dict(zip(names.split(), (*shape, bytes_), strict=True))


def _window(op: Op) -> dict[str, int]:
    assert isinstance(op, Conv2D | DepthwiseConv2D | MaxPool2D)
    window = op.window
    return {
        "TAP_ROWS": window.height, "TAP_COLUMNS": window.width,
        "STRIDE_HEIGHT": window.stride_height, "STRIDE_WIDTH": window.stride_width,
        "PAD_TOP": window.pad_top, "PAD_LEFT": window.pad_left,
    }  # fmt: skip


def _array(type_: str, name: str, values: npt.NDArray[np.generic]) -> str:
    flat = np.ascontiguousarray(values).ravel()
    return f"static {type_} {name}[{len(flat)}] = {{{','.join(map(str, flat))}}};"
