"""How long a PC takes over ResNet-8 at full width, in processor time: generating, and running it.

A limit for ten thousand images in ten regions on two processors, held here by a few of them:

    python -m pytest -s tests/exact/test_zoo_speed.py

`TESLA_ZOO_IMAGES=10000` runs all of them.
"""

import os
import resource
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import require
from graphs import zoo_model

from tesla_codegen.kernels.variant import Isa, Optimize
from tesla_codegen.project import generate
from tesla_embed.ir.graph import Model
from tesla_host.batch import run_batch
from tesla_host.build import build_firmware
from tesla_host.compilers import find_compiler

WHOLE_S, PROCESSORS, WHOLE_IMAGES = 120, 2, 10_000
GENERATE_S = 3


def children_s() -> float:
    """Processor time of all processes that were started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.fixture(scope="module")
def model() -> Model:
    return zoo_model("ic")


@pytest.mark.parametrize("optimize", Optimize)
@pytest.mark.parametrize("isa", Isa)
def test_a_project_is_written_at_once(
    model: Model, tmp_path: Path, isa: Isa, optimize: Optimize
) -> None:
    started = time.process_time()
    generate(model, tmp_path / "project", isa=isa, optimize=optimize)
    used = time.process_time() - started
    print(f"generated for {isa}, {optimize} in {used:.2f} s of processor time")
    assert used < GENERATE_S


def test_ten_thousand_images_in_two_minutes(model: Model, tmp_path: Path) -> None:
    require(lambda: find_compiler("host"))
    images = int(os.environ.get("TESLA_ZOO_IMAGES", "40"))
    generate(model, tmp_path / "project")
    built = build_firmware(tmp_path / "project", "host", tmp_path)
    shape = model.regions[-1].types[model.graph.input].shape
    x = np.random.default_rng(0).integers(-128, 128, (images, *shape)).astype(np.int8)
    before, started = children_s(), time.monotonic()
    for region in model.regions:
        run_batch(built.elf, model, region, x)
    used, wall = children_s() - before, time.monotonic() - started
    whole = used / images * WHOLE_IMAGES
    print(f"{images} images: {used:.2f} s of processor time, {wall:.2f} s; all: {whole:.0f} s")
    assert whole < WHOLE_S * PROCESSORS
