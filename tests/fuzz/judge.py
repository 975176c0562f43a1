"""Damage `.tflite` files, and compare what is still accepted with LiteRT on the damaged file.

    python tests/fuzz/judge.py --first 0 --count 10000

A file that import accepts must compute what LiteRT computes from it, unless LiteRT refuses it.
LiteRT trusts its files and may crash; each is therefore judged in a process of its own. The exit
code is 1 if any differs.
"""

import argparse
import os
import sys
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from foreign import autoencoder, random_file

from fuzz.files import mutate
from tesla_embed.errors import TeslaEmbedError
from tesla_embed.ir.interpret import interpret_layers
from tesla_embed.tflite.importer import Imported, import_tflite
from tesla_host.judge import judge_original

OUTCOMES = ("equal", "DIFFERENT", "refused by LiteRT", "FAILED")
_RUNNABLE = 2**16


def judged(content: bytes, imported: Imported, seed: int) -> int:
    """An index into `OUTCOMES`."""
    model = imported.model
    shape = (4, *model.graph.tensors[model.graph.input].type.shape)
    inputs = np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)
    ours = interpret_layers(model, model.regions[0], inputs)
    try:
        theirs = judge_original(content, imported, inputs)
    except TeslaEmbedError:
        return 2
    return 0 if all(np.array_equal(ours[i], layer) for i, layer in theirs.items()) else 1


def apart(content: bytes, imported: Imported, seed: int) -> str:
    """The outcome of `judged` in a child process."""
    child = os.fork()
    if child == 0:
        code = OUTCOMES.index("FAILED")
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            code = judged(content, imported, seed)
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return OUTCOMES[os.WEXITSTATUS(status)] if os.WIFEXITED(status) else "crashes LiteRT"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--count", type=int, default=1000, help="damaged files")
    options = parser.parse_args()
    whole = [random_file(seed) for seed in range(20)] + [autoencoder(0)]
    outcomes: Counter[str] = Counter()
    for number in range(options.first, options.first + options.count):
        rng = np.random.default_rng([5, number])
        content = mutate(whole[int(rng.integers(len(whole)))], whole, rng)
        try:
            imported = import_tflite(content, "fuzzed")
        except TeslaEmbedError:
            outcomes["refused"] += 1
            continue
        if max(tensor.type.size for tensor in imported.model.graph.tensors) > _RUNNABLE:
            outcomes["too large to run"] += 1
            continue
        outcome = apart(content, imported, number)
        outcomes[outcome] += 1
        if outcome in ("DIFFERENT", "FAILED"):
            print(f"file {number}: {outcome}")
    for outcome, count in sorted(outcomes.items()):
        print(f"{count:>8}  {outcome}")
    return 1 if outcomes["DIFFERENT"] or outcomes["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
