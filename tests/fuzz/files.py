"""Damage model files in many ways and read them: every failure must be an error of ours.

    OPENBLAS_NUM_THREADS=1 python tests/fuzz/files.py --count 100000

Five kinds: `.tflite` (what `import` reads, int8 or float32), `.safetensors` with a model
(`inspect`, `generate` and others), `.checkpoint`, which is `.safetensors` with a trained network
(`quantize`, `sort` and others), `.npy` (the inputs of `run`), and `.csv` (what `energy` reads).
Each file is read in this
process, under a limit on its memory (RLIMIT_AS) and on its time, and what is accepted is used:
inspected, lowered to C and interpreted in every region, or exported from the checkpoint. A model's
checksum is mended, or no damage would get past it; warnings are errors. What raises anything but a
`TeslaEmbedError` of exit code 2, or takes more than the limits, is kept in `--keep` and named; the
exit code is 1 then. The same `--seed` makes the same files. The whole files come from `--corpus`,
or are made, which takes LiteRT and PyTorch. Each thread of OpenBLAS reserves memory of its own, so
there should be one. `--json` keeps the counts.
"""

import argparse
import contextlib
import dataclasses
import json
import resource
import signal
import struct
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest import mock

import numpy as np

from tesla_embed.errors import TeslaEmbedError, UnsupportedOp
from tesla_embed.ir import store
from tesla_embed.ir.graph import Graph, Model, Region
from tesla_embed.ir.interpret import interpret
from tesla_embed.ir.ops import Rescale
from tesla_embed.ir.types import Quantization, Tensor, TensorType
from tesla_embed.ir.verify import verify
from tesla_embed.nn.export import to_model
from tesla_embed.tflite.importer import import_tflite
from tesla_embed.train.checkpoint import load_checkpoint
from tesla_host.energy.align import find_pulses
from tesla_host.energy.trace import read_trace
from tesla_host.inspection import inspect_model
from tesla_host.samples import read_inputs

KINDS = (".tflite", ".safetensors", ".checkpoint", ".npy", ".csv")
MEMORY_BYTES = 2 << 30
SECONDS = 10
_RUNNABLE = 2**16
"""Elements of an activation up to which an accepted model is also run."""


@dataclasses.dataclass(frozen=True, slots=True)
class Slowest:
    """The file that took longest, by the clock and of this process alone."""

    number: int = -1
    suffix: str = ""
    seconds: float = 0.0
    cpu_seconds: float = 0.0


class TooSlow(Exception):
    """Reading took more than `SECONDS`."""


def mutate(content: bytes, others: Sequence[bytes], rng: np.random.Generator) -> bytes:
    """Between one and eight changes: bits, bytes, lengths, cuts and splices."""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 9)) if rng.random() < 0.5 else 1):
        if not changed:
            break
        place = int(rng.integers(0, len(changed)))
        match int(rng.integers(0, 11)):
            case 0:
                changed[place] ^= 1 << int(rng.integers(0, 8))
            case 1:
                changed[place] = int(rng.integers(0, 256))
            case 2 | 3:  # a length, an offset or an index
                place &= ~3
                number = int(rng.choice(_NUMBERS)) + int(rng.integers(-2, 3))
                changed[place : place + 4] = struct.pack("<I", number % 2**32)
            case 4:
                changed[place : place + 8] = struct.pack("<Q", int(rng.integers(0, 2**63)))
            case 5:
                del changed[place:]
            case 6:
                del changed[place : place + int(rng.integers(1, 65))]
            case 7:
                other = others[int(rng.integers(0, len(others)))]
                start = int(rng.integers(0, len(other)))
                piece = other[start : start + int(rng.integers(1, 257))]
                changed[place : place + len(piece)] = piece
            case 8 | 9:  # another digit in a text, which stays a text
                digits = [i for i in range(place, min(place + 400, len(changed)))
                          if 48 <= changed[i] < 58]  # fmt: skip
                if digits:
                    changed[digits[int(rng.integers(len(digits)))]] = int(rng.integers(48, 58))
            case _:
                near = max(0, place + 4 * int(rng.integers(-8, 9)))
                changed[place : place + 4] = changed[near : near + 4]
    return bytes(changed)


_NUMBERS = (0, 1, 4, 8, 127, 128, 255, 256, 1024, 65535, 65536, 2**24, 2**30, 2**31, 2**32 - 4)


def read(content: bytes, path: Path) -> Model:
    """Read a file of the kind that `path` is named for."""
    if path.suffix == ".tflite":
        try:
            return import_tflite(content, "fuzzed").model
        except UnsupportedOp:
            return import_tflite(content, "fuzzed", floats=True).model
    path.write_bytes(content)
    if path.suffix == ".checkpoint":
        return verify(to_model(load_checkpoint(path).network, "fuzzed", (10, 50, 100)))
    with mock.patch.object(store, "digest", lambda _model: mock.ANY):  # equals every checksum
        return store.load_model(path)


def run(model: Model) -> None:
    """Look at an accepted integer model, which lowers it; where that is quick, run two samples."""
    graph = model.graph
    if model.regions[0].types[graph.input].quantization is None:
        return
    inspect_model(model)
    if max(tensor.type.size for tensor in graph.tensors) <= _RUNNABLE:
        shape = graph.tensors[graph.input].type.shape
        for region in model.regions:
            interpret(model, region, np.zeros((2, *shape), np.int8))


def use(content: bytes, path: Path) -> None:
    """Read a damaged file and do with it what the command would."""
    if path.suffix == ".npy":
        path.write_bytes(content)
        interpret(RUNNING, RUNNING.regions[0], read_inputs(path, RUNNING)[0])
    elif path.suffix == ".csv":
        path.write_bytes(content)
        list(find_pulses(read_trace(path, volts=3.3)))
    else:
        run(read(content, path))


def _running() -> Model:
    """What damaged inputs are given to."""
    shape, q = SAMPLE, Quantization(scale=0.5, zero_point=3)
    type_ = TensorType(shape=shape, channels=shape[-1], quantization=q)
    plain = TensorType(shape=shape, channels=shape[-1])
    graph = Graph(
        tensors=(Tensor(name="x", type=plain), Tensor(name="y", type=plain)),
        ops=(Rescale(name="y", inputs=(0,), output=1),),
        input=0,
        output=1,
    )
    region = Region(dp=100, types=(type_, type_), tables=(None,))
    return verify(Model(name="running", graph=graph, regions=(region,)))


SAMPLE = (3, 2)
"""The shape of an example in the `.npy` files."""
RUNNING = _running()


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """End the block with `TooSlow` when it takes too long."""

    def stop(_number: int, _frame: object) -> None:
        raise TooSlow

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)


def seeds(corpus: Path | None) -> dict[str, list[bytes]]:
    """Whole files to damage, by suffix."""
    found: dict[str, list[bytes]] = {kind: [] for kind in KINDS}
    if corpus is not None:
        for path in sorted(corpus.iterdir()):
            if path.suffix in found:
                found[path.suffix].append(path.read_bytes())
    if not any(found.values()):
        sys.path.insert(0, str(Path(__file__).parents[1]))
        from fuzz.corpus import make

        found = make(12)
    return {suffix: files for suffix, files in found.items() if files}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--count", type=int, default=1000, help="damaged files")
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--corpus", type=Path, help="folder of files to damage")
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="for what fails")
    parser.add_argument("--json", type=Path, help="for the counts")
    options = parser.parse_args()
    files = seeds(options.corpus)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    outcomes: Counter[str] = Counter()
    slowest, failures, suffixes = Slowest(), 0, sorted(files)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.first, options.first + options.count):
            rng = np.random.default_rng([options.seed, number])
            suffix = suffixes[number % len(suffixes)]
            origin = files[suffix][int(rng.integers(0, len(files[suffix])))]
            content = mutate(origin, files[suffix], rng)
            started, busy = time.monotonic(), time.process_time()
            outcome = attempt(content, Path(folder) / f"fuzzed{suffix}")
            seconds = time.monotonic() - started
            if seconds > slowest.seconds:
                slowest = Slowest(number, suffix, seconds, time.process_time() - busy)
            outcomes[f"{suffix} {outcome}"] += 1
            if outcome.startswith("FAILED"):
                failures += 1
                options.keep.mkdir(parents=True, exist_ok=True)
                kept = options.keep / f"{options.seed}-{number}{suffix}"
                kept.write_bytes(content)
                print(f"{kept}: {outcome}")
    for outcome, count in sorted(outcomes.items()):
        print(f"{count:>8}  {outcome}")
    print(f"{options.count} files, {failures} failures, slowest {slowest.seconds:.2f} s")
    if options.json is not None:
        summary = {
            "schema": "tesla-embed/fuzzing/1",
            "seed": options.seed,
            "first": options.first,
            "files": options.count,
            "failures": failures,
            "limits": {"seconds": SECONDS, "address_space_bytes": MEMORY_BYTES},
            "slowest": dataclasses.asdict(slowest),
            "outcomes": dict(sorted(outcomes.items())),
        }
        options.json.write_text(json.dumps(summary, indent=2) + "\n")
    return 1 if failures else 0


def attempt(content: bytes, path: Path) -> str:
    """What happens when a file is read, and the model run if there is one."""
    try:
        with limited(), warnings.catch_warnings(action="error"):
            use(content, path)
    except TeslaEmbedError as error:
        if error.exit_code != 2:
            return f"FAILED with exit code {error.exit_code}: {str(error)[:200]}"
        return f"refused, {type(error).__name__}, exit code {error.exit_code}"
    except Exception as error:
        return f"FAILED with {type(error).__name__}: {str(error)[:200]}"
    return "accepted"


if __name__ == "__main__":
    sys.exit(main())
