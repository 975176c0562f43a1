"""The generated interface: what it refuses, instances side by side, and the float helpers.

Every program is built with the address and undefined-behaviour sanitizers.
"""

import dataclasses
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from conftest import require
from graphs import RICH, STRICT, compile_c, extreme_model, int8_inputs, quantized_model
from test_generated_layers import SANITIZERS, gcc

from tesla_codegen.project import generate
from tesla_embed.ir.graph import Model
from tesla_embed.ir.interpret import interpret
from tesla_embed.ir.ops import Reshape
from tesla_embed.ir.requantization import quantization, quantize_input
from tesla_embed.ir.store import digest

HEAD = """
#include "tesla_net.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition) \\
    do { \\
        if (!(condition)) { \\
            fprintf(stderr, "line %d: %s\\n", __LINE__, #condition); \\
            return 1; \\
        } \\
    } while (0)

static uint64_t arena[TESLA_NET_ARENA_BYTES / sizeof(uint64_t) + 1];
static uint64_t other_arena[TESLA_NET_ARENA_BYTES / sizeof(uint64_t)];
static int8_t input[TESLA_NET_INPUT_BYTES];
static int8_t output[TESLA_NET_OUTPUT_BYTES];
static tesla_net_t net;
"""

REFUSALS = """
int main(void) {
    CHECK(tesla_net_run(&net, input, output) == TESLA_ERROR_STATE);
    CHECK(tesla_net_init(NULL, arena) == TESLA_ERROR_ARGUMENT);
    CHECK(tesla_net_init(&net, NULL) == TESLA_ERROR_ARGUMENT);
    for (unsigned i = 1; i < TESLA_NET_ARENA_ALIGNMENT; ++i) {
        CHECK(tesla_net_init(&net, (uint8_t *)arena + i) == TESLA_ERROR_ARGUMENT);
    }
    CHECK(tesla_net_run(&net, input, output) == TESLA_ERROR_STATE);
    CHECK(tesla_net_init(&net, arena) == TESLA_OK);
    CHECK(tesla_net_init(&net, arena + 1) == TESLA_OK);
    CHECK(tesla_net_run(NULL, input, output) == TESLA_ERROR_ARGUMENT);
    CHECK(tesla_net_run(&net, NULL, output) == TESLA_ERROR_ARGUMENT);
    CHECK(tesla_net_run(&net, input, NULL) == TESLA_ERROR_ARGUMENT);
    CHECK(tesla_net_run(&net, input, output) == TESLA_OK);
    return 0;
}
"""

REGIONS = """
static int is_region(unsigned percent) {
    for (unsigned i = 0; i < TESLA_NET_REGION_COUNT; ++i) {
        if (tesla_net_regions[i] == percent) {
            return 1;
        }
    }
    return 0;
}

int main(void) {
    int8_t before[TESLA_NET_OUTPUT_BYTES];
    CHECK(tesla_net_set_dp(NULL, tesla_net_regions[0]) == TESLA_ERROR_ARGUMENT);
    CHECK(tesla_net_init(&net, arena) == TESLA_OK);
    memset(input, 99, sizeof input);
    for (unsigned r = 0; r < TESLA_NET_REGION_COUNT; ++r) {
        CHECK(r == 0 || tesla_net_regions[r - 1] < tesla_net_regions[r]);
        CHECK(tesla_net_set_dp(&net, tesla_net_regions[r]) == TESLA_OK);
        CHECK(tesla_net_run(&net, input, before) == TESLA_OK);
        for (unsigned percent = 0; percent < 256; ++percent) {
            if (!is_region(percent)) {
                CHECK(tesla_net_set_dp(&net, (uint8_t)percent) == TESLA_ERROR_REGION);
            }
        }
        CHECK(tesla_net_run(&net, input, output) == TESLA_OK);
        CHECK(memcmp(before, output, sizeof output) == 0); /* the old region stayed */
    }
    CHECK(tesla_net_init(&net, arena) == TESLA_OK); /* starts in the largest region */
    CHECK(tesla_net_run(&net, input, output) == TESLA_OK);
    CHECK(memcmp(before, output, sizeof output) == 0);
    for (unsigned i = 0; i < 32; ++i) {
        printf("%02x", tesla_net_digest[i]);
    }
    printf(" %s %s %s %s %s", tesla_status_name(TESLA_OK), tesla_status_name(TESLA_ERROR_ARGUMENT),
           tesla_status_name(TESLA_ERROR_REGION), tesla_status_name(TESLA_ERROR_STATE),
           tesla_status_name((tesla_status_t)-77));
    return 0;
}
"""

SIDE_BY_SIDE = """
static unsigned calls;

static void count(void *user, uint16_t layer, const int8_t *values, uint32_t size) {
    if (user == &calls && layer == calls && values != NULL && size > 0u) {
        ++calls;
    }
}

int main(void) {
    tesla_net_t other;
    int8_t second[TESLA_NET_OUTPUT_BYTES];
    CHECK(tesla_net_init(&net, arena) == TESLA_OK);
    CHECK(tesla_net_init(&other, other_arena) == TESLA_OK);
    CHECK(tesla_net_set_dp(&net, tesla_net_regions[0]) == TESLA_OK);
    tesla_net_set_callback(&net, count, &calls);
    while (fread(input, 1, sizeof input, stdin) == sizeof input) {
        calls = 0;
        CHECK(tesla_net_run(&net, input, output) == TESLA_OK);
        CHECK(calls == TESLA_NET_LAYER_COUNT);
        CHECK(tesla_net_run(&other, input, second) == TESLA_OK);
        CHECK(calls == TESLA_NET_LAYER_COUNT);
        fwrite(output, 1, sizeof output, stdout);
        fwrite(second, 1, sizeof second, stdout);
    }
    tesla_net_set_callback(&net, NULL, NULL);
    CHECK(tesla_net_run(&net, input, output) == TESLA_OK);
    CHECK(calls == TESLA_NET_LAYER_COUNT);
    return 0;
}
"""

REAL_IN = """
int main(void) {
    float real[TESLA_NET_INPUT_BYTES];
    while (fread(real, sizeof(float), TESLA_NET_INPUT_BYTES, stdin) == TESLA_NET_INPUT_BYTES) {
        tesla_net_quantize_input(real, input);
        fwrite(input, 1, sizeof input, stdout);
    }
    return tesla_net_init(&net, arena) != TESLA_OK || other_arena[0] || output[0];
}
"""

REAL_OUT = """
int main(void) {
    float real[TESLA_NET_OUTPUT_BYTES];
    CHECK(tesla_net_init(&net, arena) == TESLA_OK);
    for (unsigned r = 0; r < TESLA_NET_REGION_COUNT; ++r) {
        CHECK(tesla_net_set_dp(&net, tesla_net_regions[r]) == TESLA_OK);
        for (int value = -128; value < 128; ++value) {
            memset(output, value, sizeof output);
            tesla_net_dequantize_output(&net, output, real);
            fwrite(real, sizeof(float), TESLA_NET_OUTPUT_BYTES, stdout);
        }
    }
    return input[0] || other_arena[0];
}
"""

SEEDS = (3, 5, 8)


def run(folder: Path, model: Model, program: str, data: bytes = b"") -> bytes:
    """What `program` prints about the C of `model`, which is called `net`."""
    generate(dataclasses.replace(model, name="net"), folder / "net")
    units: Sequence[str] = [str(path) for path in (folder / "net/src").rglob("*.c")]
    (folder / "main.c").write_text(HEAD + program)
    flags = [*STRICT, "-Wno-unused-variable", "-O1", *SANITIZERS, "-fsanitize=float-cast-overflow"]
    include = ["-I", str(folder / "net/include")]
    compile_c([*require(gcc), *flags, *include, "main.c", *units, "-o", "main"], folder)
    done = subprocess.run([folder / "main"], input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_refuses_null_misaligned_and_uninitialised(tmp_path: Path) -> None:
    run(tmp_path, quantized_model(RICH), REFUSALS)


@pytest.mark.parametrize("seed", SEEDS)
def test_regions_and_identity(tmp_path: Path, seed: int) -> None:
    model = dataclasses.replace(quantized_model(seed), name="net")
    words = run(tmp_path, model, REGIONS).decode().split()
    assert words == [
        digest(model),
        "TESLA_OK",
        "TESLA_ERROR_ARGUMENT",
        "TESLA_ERROR_REGION",
        "TESLA_ERROR_STATE",
        "TESLA_ERROR_UNKNOWN",
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_two_instances_in_different_regions(tmp_path: Path, seed: int) -> None:
    model = quantized_model(seed)
    inputs = int8_inputs(model, seed, 30)
    ends = (model.regions[0], model.regions[-1])
    expected = [interpret(model, region, inputs).reshape(len(inputs), -1) for region in ends]
    layers = sum(not isinstance(op, Reshape) for op in model.graph.ops)
    assert layers >= 1
    found = np.frombuffer(run(tmp_path, model, SIDE_BY_SIDE, inputs.tobytes()), np.int8)
    assert np.array_equal(found.reshape(len(inputs), 2, -1), np.stack(expected, axis=1))


def special_values(scale: float) -> np.ndarray:
    """Values next to every rounding step, and what is hardly a number."""
    steps = np.arange(-300, 301, dtype=np.float32) * np.float32(0.5) * np.float32(scale)
    near = [np.nextafter(steps, np.float32(np.inf)), np.nextafter(steps, np.float32(-np.inf))]
    odd = [np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-45, 1e-38, 3.4e38, -3.4e38]
    odd += [2.0**31 * scale, -(2.0**31) * scale, 2.0**63, -(2.0**63), 255.5 * scale, 256 * scale]
    with np.errstate(over="ignore"):
        return np.concatenate([steps, *near, np.array(odd, np.float32)]).astype(np.float32)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", range(6))
def test_quantize_input_equals_python(tmp_path: Path, seed: int) -> None:
    model = extreme_model(seed)
    type_ = model.regions[0].types[model.graph.input]
    values = special_values(quantization(type_).scale)
    values = np.resize(values, (-(-len(values) // type_.size), type_.size))
    found = np.frombuffer(run(tmp_path, model, REAL_IN, values.tobytes()), np.int8)
    expected = quantize_input(type_, values).reshape(-1)
    for index in np.flatnonzero(found != expected)[:1]:
        real = values.reshape(-1)[index]
        pytest.fail(f"{real!r} is {found[index]} in C, {expected[index]} in Python")
    assert len(found) == len(expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_dequantize_output_uses_the_current_region(tmp_path: Path, seed: int) -> None:
    model = extreme_model(seed)
    found = np.frombuffer(run(tmp_path, model, REAL_OUT), np.float32)
    rows = []
    for region in model.regions:
        type_ = region.types[model.graph.output]
        q = quantization(type_)
        steps = np.arange(-128, 128, dtype=np.float32) - np.float32(q.zero_point)
        rows.append(np.repeat(steps * np.float32(q.scale), type_.size))
    np.testing.assert_array_equal(found, np.concatenate(rows))
