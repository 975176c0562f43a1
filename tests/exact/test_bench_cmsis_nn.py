"""`bench kernels --cmsis-nn`: a checkout is built, run, compared and counted.

The checkout here is a small one of our own with the same interface, of which only the pool
computes anything. With TESLA_CMSIS_NN set to the folder of a real one, that is measured, too.
"""

import json
import os
import re
from pathlib import Path

import pytest
from conftest import require, tools_of
from shell import call

from tesla_host.bench.cases import CASES, Case
from tesla_host.bench.cmsis_nn import find_checkout, measure_peer
from tesla_host.bench.peers import find_peer

HEADER = """
/* $Revision: V.1.2.3 */
#ifndef HEADER
#define HEADER
#include <stdint.h>
#include <string.h>
typedef enum { ARM_CMSIS_NN_SUCCESS = 0, ARM_CMSIS_NN_ARG_ERROR = -1 } arm_cmsis_nn_status;
typedef struct { void *buf; int32_t size; } cmsis_nn_context;
typedef struct { int32_t n, h, w, c; } cmsis_nn_dims;
typedef struct { int32_t w, h; } cmsis_nn_tile;
typedef struct { int32_t min, max; } cmsis_nn_activation;
typedef struct { cmsis_nn_tile stride, padding; cmsis_nn_activation activation; }
    cmsis_nn_pool_params;
arm_cmsis_nn_status arm_max_pool_s8(const cmsis_nn_context *, const cmsis_nn_pool_params *,
    const cmsis_nn_dims *, const int8_t *, const cmsis_nn_dims *, const cmsis_nn_dims *, int8_t *);
#endif
"""
POOL = """
#include "arm_nnfunctions.h"
arm_cmsis_nn_status arm_max_pool_s8(const cmsis_nn_context *ctx, const cmsis_nn_pool_params *pool,
    const cmsis_nn_dims *in, const int8_t *x, const cmsis_nn_dims *taps, const cmsis_nn_dims *out,
    int8_t *y) {
    (void)ctx;
    for (int r = 0; r < out->h; r++)
        for (int q = 0; q < out->w; q++)
            for (int c = 0; c < in->c; c++) {
                int most = START;
                for (int i = 0; i < taps->h; i++)
                    for (int j = 0; j < taps->w; j++) {
                        int8_t v;
                        memcpy(&v, x + ((r * pool->stride.h + i) * in->w
                                        + q * pool->stride.w + j) * in->c + c, 1);
                        if (v > most) most = v;
                    }
                *y++ = (int8_t)most;
            }
    return ARM_CMSIS_NN_SUCCESS;
}
"""
SOURCES = (
    "ConvolutionFunctions", "FullyConnectedFunctions", "NNSupportFunctions", "PoolingFunctions",
)  # fmt: skip


def make_checkout(folder: Path, start: int) -> Path:
    """A folder like a checkout; its pool is right if it starts at -128."""
    (folder / "Include").mkdir(parents=True)
    (folder / "Include" / "arm_nnfunctions.h").write_text(HEADER)
    for name in SOURCES:
        (folder / "Source" / name).mkdir(parents=True)
    pool = folder / "Source" / "PoolingFunctions"
    (pool / "arm_max_pool_s8.c").write_text(POOL.replace("START", str(start)))
    (pool / "arm_max_pool_f32.c").write_text("#error not of integers\n")
    return folder


def bench(checkout: Path, folder: Path, *options: object) -> int:
    require(lambda: tools_of("emulator", "zig"))
    arguments = ("--only", "maxpool2x2-16x16x32", "--cmsis-nn", checkout, "--no-portable")
    return call("bench", "kernels", *arguments, "--json", folder / "k.json", *options)


def test_a_checkout_takes_the_place_of_published_figures(tmp_path: Path) -> None:
    checkout = make_checkout(tmp_path / "nn", -128)
    before = sorted(checkout.rglob("*"))
    found = []
    for _ in range(2):
        assert bench(checkout, tmp_path) == 0
        found.append(json.loads((tmp_path / "k.json").read_text())["rows"])
    assert found[0] == found[1]
    for row in found[0]:
        assert row["peer"]["name"].startswith("CMSIS-NN with header V.1.2.3, zig ")
        assert row["peer"]["name"].endswith(" -O3, measured here")
        # a load, a comparison and a loop for each of four taps, by no clever compiler
        outputs = 64 * 32 * row["dp"] // 100
        assert 8 * outputs < row["peer"]["instructions"] < 200 * outputs
        assert row["ratio_cycles"] == row["cycles_estimate"] / row["peer"]["cycles_estimate"]
    assert sorted(checkout.rglob("*")) == before


def test_wrong_results_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(make_checkout(tmp_path / "nn", 0), tmp_path) == 1
    says = capsys.readouterr().err
    found = re.search(
        r"error: maxpool2x2-16x16x32 by CMSIS-NN: wrong output at 25 % DP: layer layer, "
        r"element \d+: 0 instead of (-\d+)$",
        says.strip(),
    )
    assert found and -128 <= int(found[1]) < 0
    assert not (tmp_path / "k.json").exists()


def test_a_board_in_qemu_runs_the_checkout(tmp_path: Path) -> None:
    """Regression: it was asked for by the name of its row, and that is the board itself."""
    target = "qemu:netduinoplus2"
    require(lambda: tools_of(target, "zig"))
    assert bench(make_checkout(tmp_path / "nn", -128), tmp_path, "--target", target) == 0
    rows = json.loads((tmp_path / "k.json").read_text())["rows"]
    assert all(row["peer"]["name"].startswith("CMSIS-NN with header") for row in rows)


def test_no_checkout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(tmp_path, tmp_path) == 2
    assert "holds no CMSIS-NN" in capsys.readouterr().err


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_real_checkout_takes_what_was_published(case: Case, tmp_path: Path) -> None:
    path = os.environ.get("TESLA_CMSIS_NN")
    if path is None:
        pytest.skip("TESLA_CMSIS_NN names no checkout")
    require(lambda: tools_of("emulator", "gcc"))
    peer = measure_peer(find_checkout(Path(path)), case, 100, "emulator", "gcc", tmp_path)
    published = find_peer(case.name, "Cortex-M4", 100)
    assert published is not None
    assert abs(peer.instructions / published.instructions - 1) < 0.03
