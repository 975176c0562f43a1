"""Requantisation in C equals that in Python on a million values, ties included."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from conftest import require
from graphs import STRICT, compile_c

import tesla_firmware
from tesla_embed.errors import ToolchainError
from tesla_embed.ir.fixedpoint import INT32_MAX, Multiplier, requantize, requantize_once

Int64 = npt.NDArray[np.int64]
COUNT = 500_000

PROGRAM = """
#include "tesla/requantize.h"
#include <stdio.h>

int main(void) {
    struct { int32_t value; int32_t multiplier; int32_t shift; int32_t once; } in;
    while (fread(&in, sizeof in, 1, stdin) == 1) {
        const int8_t shift = (int8_t)in.shift;
        const int32_t out = in.once ? tesla_requantize_once(in.value, in.multiplier, shift)
                                    : tesla_requantize(in.value, in.multiplier, shift);
        if (fwrite(&out, sizeof out, 1, stdout) != 1) {
            return 1;
        }
    }
    return 0;
}
"""


def gcc() -> str:
    if shutil.which("gcc") is None:
        raise ToolchainError("gcc is not installed; run: apt install gcc")
    return "gcc"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("requantize")
    (folder / "main.c").write_text(PROGRAM)
    include = Path(tesla_firmware.__file__).parent / "include"
    sanitize = ["-fsanitize=undefined", "-fno-sanitize-recover=all"]
    command = [require(gcc), *STRICT, "-O1", *sanitize, "-I", str(include), "main.c", "-o", "main"]
    compile_c(command, folder)
    return folder / "main"


def in_c(program: Path, value: Int64, multiplier: Int64, shift: Int64, once: bool) -> Int64:
    rows = np.stack([value, multiplier, shift, np.full(len(value), once)], axis=1)
    rows = rows.astype("<i4").tobytes()
    done = subprocess.run([program], input=rows, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return np.frombuffer(done.stdout, "<i4").astype(np.int64)


def compare(program: Path, value: Int64, multiplier: Int64, shift: Int64) -> None:
    value = np.clip(value, -INT32_MAX, INT32_MAX)
    largest = INT32_MAX >> np.maximum(shift, 0)
    value = np.clip(value, -largest, largest)  # what `verify` guarantees
    factors = Multiplier(multiplier.astype(np.int32), shift.astype(np.int8))
    for function in (requantize, requantize_once):
        expected = function(value, factors)
        found = in_c(program, value, multiplier, shift, function is requantize_once)
        assert len(found) == len(value)
        for index in np.flatnonzero(found != expected)[:1]:
            inputs = (int(value[index]), int(multiplier[index]), int(shift[index]))
            name = f"{function.__name__}{inputs}"
            pytest.fail(f"{name} is {found[index]} in C, {expected[index]} in Python")


def random_factors(rng: np.random.Generator) -> tuple[Int64, Int64]:
    ends = rng.choice([2**30, 2**30 + 1, INT32_MAX, INT32_MAX - 1, 0], COUNT)
    anywhere = rng.integers(2**30, 2**31, COUNT)
    multiplier = np.where(rng.random(COUNT) < 0.2, ends, anywhere)
    return multiplier.astype(np.int64), rng.integers(-31, 31, COUNT)


def test_random_values(program: Path) -> None:
    rng = np.random.default_rng(1)
    multiplier, shift = random_factors(rng)
    magnitude = 2.0 ** rng.uniform(0, 31, COUNT)
    value = (magnitude * rng.choice([-1, 1], COUNT)).astype(np.int64)
    compare(program, value, multiplier, shift)


def test_values_next_to_ties(program: Path) -> None:
    """Accumulators whose scaled value lies within a few units of a half."""
    rng = np.random.default_rng(2)
    multiplier, shift = random_factors(rng)
    shift = -np.abs(shift)
    half = 2 * rng.integers(-300, 300, COUNT) + 1
    scaled = half * 2.0 ** (30 - shift) / np.maximum(multiplier, 1)
    nudge = rng.integers(-2, 3, COUNT)
    value = np.clip(np.rint(scaled), -INT32_MAX, INT32_MAX).astype(np.int64) + nudge
    compare(program, value, multiplier, shift)


def test_every_end(program: Path) -> None:
    values = [0, 1, -1, 2, -2, 3, -3, INT32_MAX, -INT32_MAX, 2**30, -(2**30), 2**30 - 1]
    multipliers = [0, 2**30, 2**30 + 1, 3 * 2**29, INT32_MAX - 1, INT32_MAX]
    grid = np.meshgrid(values, multipliers, range(-31, 31), indexing="ij")
    value, multiplier, shift = (axis.reshape(-1).astype(np.int64) for axis in grid)
    compare(program, value, multiplier, shift)
