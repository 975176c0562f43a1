"""Run small networks on an emulated target and count, layer by layer, what each kernel executes.

In: models, a target and a toolchain. Out: observations, and what the builds took. Refuses a target
that counts no instructions (`ConfigError`) and a wrong output (`WrongOutput`).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tesla_codegen.cost.counts import Counts
from tesla_codegen.cost.models import counts_of
from tesla_codegen.kernels.choice import choose
from tesla_codegen.kernels.variant import Isa, Optimize
from tesla_codegen.lower import Project
from tesla_codegen.project import generate
from tesla_embed.errors import ConfigError
from tesla_embed.ir.graph import Model, Region
from tesla_embed.ir.interpret import interpret
from tesla_host.build import BuildResult, build_firmware
from tesla_host.divergence import wrong_output
from tesla_host.link.client import LinkClient
from tesla_host.targets import Target, start

Int8 = npt.NDArray[np.int8]
INPUTS = 2
"""Inputs in the smallest region, where what depends on data shows. Other regions have one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One layer in one region: what its cost model counts, and its instructions by input."""

    kernel: str
    layer: str
    dp: int
    counts: Counts
    instructions: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A network that was built and run."""

    model: Model
    project: Project
    build: BuildResult
    observations: tuple[Observation, ...]


def measure_model(
    model: Model,
    target: Target,
    toolchain: str | None,
    folder: Path,
    *,
    isa: Isa | None = None,
    optimize: Optimize = Optimize.BALANCED,
    compiled: Optimize | None = None,
    inputs: int = INPUTS,
) -> Measured:
    """Build a model in `folder` and count in every region; outputs must be the interpreter's.

    `optimize` chooses the kernels, and how they are compiled unless `compiled` says otherwise.
    Objects that an earlier call left in `folder` are used again.
    """
    isa = isa or target.isa
    project = generate(model, folder / "project", isa=isa, optimize=optimize)
    build = build_firmware(
        folder / "project", target, folder, toolchain=toolchain, optimize=compiled or optimize
    )
    variants = choose(model, isa, optimize)
    ticks = layer_instructions(model, target, build.elf, inputs)
    observations = []
    steps = [(i, variant) for i, variant in enumerate(variants) if variant is not None]
    for step, (index, variant) in enumerate(steps):
        counts = counts_of(model, index, variant)
        for place, region in enumerate(model.regions):
            observations.append(
                Observation(
                    kernel=variant.kernel,
                    layer=model.graph.ops[index].name,
                    dp=region.dp,
                    counts=counts[place],
                    instructions=tuple(run[step] for run in ticks[place]),
                )
            )
    return Measured(model=model, project=project, build=build, observations=tuple(observations))


def layer_instructions(
    model: Model, target: Target, elf: Path, inputs: int = INPUTS
) -> list[list[list[int]]]:
    """Instructions `[region][input][layer]` of random inputs on a target that counts."""
    found = []
    with LinkClient(start(target, elf)) as client:
        for region in model.regions:
            client.set_dp(region.dp)
            runs = []
            samples = random_inputs(model, region, inputs if region is model.regions[0] else 1)
            wanted = interpret(model, region, samples)
            for sample, output in zip(samples, wanted, strict=True):
                client.load_input(sample.tobytes())
                client.run()
                ticks = client.layer_ticks()
                if "instructions" not in ticks[0]:
                    raise ConfigError(
                        f"{target.name} counts no instructions; choose an emulated one"
                    )
                got = client.read_output()
                if got != output.tobytes():
                    raise wrong_output(
                        model.name, model, region, sample[np.newaxis], got, client=client
                    )
                runs.append([entry["instructions"] for entry in ticks])
            found.append(runs)
    return found


def random_inputs(model: Model, region: Region, count: int) -> Int8:
    """Inputs `[count, *input shape]`, the same for the same region."""
    rng = np.random.default_rng(region.dp)
    shape = region.types[model.graph.input].shape
    return rng.integers(-128, 128, (count, *shape), dtype=np.int8)
