"""Numbers of the MLPerf Tiny firmware: made with integers, rounded as exact arithmetic does."""

import random
import struct
import subprocess
from collections.abc import Callable
from fractions import Fraction
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from dialogue import decimals
from graphs import STRICT, compile_c

from tesla_host.compilers import find_compiler

DRIVER = """
#include "mlperf_parse.h"
#include "mlperf_text.h"
#include "tesla_board.h"
#include <stdio.h>
#include <string.h>
void tesla_board_write_byte(uint8_t byte) { (void)putchar(byte); }
int main(int argc, char **argv) {
    unsigned char row[8];
    (void)argc;
    while (fread(row, 1, sizeof row, stdin) == sizeof row) {
        float scale; double value; int32_t factor; uint64_t number;
        memcpy(&scale, row, 4); memcpy(&factor, row + 4, 4);
        memcpy(&value, row, 8); memcpy(&number, row, 8);
        switch (argv[1][0]) {
        case 'p': tesla_mlperf_put_product(scale, factor); break;
        case 'd': tesla_mlperf_put_double(value); break;
        default: tesla_mlperf_put_number(number); break;
        }
        (void)putchar('\\n');
    }
    return 0;
}
"""

Print = Callable[[str, list[bytes]], list[str]]


@pytest.fixture(scope="module")
def print_(tmp_path_factory: pytest.TempPathFactory, require_tool: Callable[..., object]) -> Print:
    """Has the firmware's own C print rows of eight bytes, under the sanitizers."""
    require_tool(lambda: find_compiler("host"))
    folder = tmp_path_factory.mktemp("numbers")
    (folder / "driver.c").write_text(DRIVER)
    sources = Path(str(files("tesla_firmware")))
    names = ("app", "app_mlperf", "board", "include")
    include = [flag for name in names for flag in ("-I", str(sources / name))]
    units = [str(sources / "app_mlperf" / f"mlperf_{name}.c") for name in ("text", "parse")]
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    command = [*find_compiler("host").command, *STRICT, *sanitize, *include]
    compile_c([*command, "driver.c", *units, "-o", "program"], folder)

    def call(kind: str, rows: list[bytes]) -> list[str]:
        done = subprocess.run(
            [folder / "program", kind], input=b"".join(rows), capture_output=True, check=True
        )
        return done.stdout.decode().splitlines()

    return call


def test_products(print_: Print) -> None:
    rng = random.Random(1)
    scales = [0.5**n for n in range(20)] + [2.0, 1024.0, 1e-45, 1e-38, 3.4e38, 0.1, 0.0005, 0.001]
    scales += [float(np.float32(rng.uniform(0, 3) * 10 ** rng.uniform(-9, 3))) for _ in range(3000)]
    pairs = [(scale, factor) for scale in scales[:28] for factor in range(-255, 256)]
    pairs += [(scale, rng.randint(-255, 255)) for scale in scales[28:]]
    shown = print_("p", [struct.pack("<fi", *pair) for pair in pairs])
    for (scale, factor), text in zip(pairs, shown, strict=True):
        exact = Fraction(float(np.float32(scale))) * factor
        if abs(exact) < 2**64:
            assert text == decimals(exact), (scale, factor)
            assert text == f"{float(exact):.3f}" or factor == 0, (scale, factor)
        else:
            assert text.lstrip("-") == f"{2**64 - 1}.000"


def test_ties_go_to_the_even_digit(print_: Print) -> None:
    rows = [struct.pack("<fi", 0.0625, factor) for factor in (1, 3, -1, 5, 7)]
    assert print_("p", rows) == ["0.062", "0.188", "-0.062", "0.312", "0.438"]


def test_small_negative_numbers_keep_their_sign_as_printf_does(print_: Print) -> None:
    assert print_("p", [struct.pack("<fi", 2.0**-13, n) for n in (-4, -5, -6, 0)]) == [
        "-0.000",
        "-0.001",
        "-0.001",
        "0.000",
    ]


def test_doubles(print_: Print) -> None:
    rng = random.Random(2)
    values = [0.0, 0.9995, 0.9994999999999999, 999.9995, 1e15, 2.0**53 + 2, 1.8e19, 5e-324, 1e-300]
    values += [rng.uniform(0, 1) * 10 ** rng.uniform(-12, 18) for _ in range(5000)]
    values += [rng.randint(0, 10**6) / 2000 for _ in range(2000)]
    values += [-value for value in values[1:]]
    shown = print_("d", [struct.pack("<d", value) for value in values])
    for value, text in zip(values, shown, strict=True):
        assert text == f"{value:.3f}", value
    special = [float("inf"), float("-inf"), float("nan"), 1e300, -(2.0**64)]
    assert print_("d", [struct.pack("<d", value) for value in special]) == [
        "inf",
        "-inf",
        "nan",
        f"{2**64 - 1}.000",
        f"-{2**64 - 1}.000",
    ]


def test_whole_numbers(print_: Print) -> None:
    rng = random.Random(3)
    numbers = [0, 9, 10, 99, 2**32, 10**19, 2**64 - 1]
    numbers += [rng.randrange(2 ** rng.randint(1, 64)) for _ in range(1000)]
    assert print_("n", [struct.pack("<Q", n) for n in numbers]) == [str(n) for n in numbers]
