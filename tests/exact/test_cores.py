"""Every core by every toolchain: the instructions that its kernels are written for are there."""

import subprocess

import pytest
from conftest import require

from tesla_codegen.kernels.variant import Isa
from tesla_host.catalogue.user import known_cores
from tesla_host.compilers import find_compiler

CORES = known_cores()
PROMISED = {
    Isa.PORTABLE: (),
    Isa.DSP: ("__ARM_FEATURE_DSP", "__ARM_FEATURE_SIMD32"),
    Isa.HELIUM: ("__ARM_FEATURE_DSP", "__ARM_FEATURE_MVE"),
}


@pytest.mark.parametrize("toolchain", ["zig", "gcc", "clang"])
@pytest.mark.parametrize("name", CORES)
def test_a_core_has_the_instructions_of_its_kernels(name: str, toolchain: str) -> None:
    """Without them kernels still compile, to plain C several times as slow: zig's Cortex-M33."""
    core = CORES[name]
    compiler = require(lambda: find_compiler(toolchain, core.architecture))
    command = [*compiler.command, *core.flags[toolchain], "-dM", "-E", "-x", "c", "/dev/null"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    defined = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("#define")}
    assert set(PROMISED[core.isa]) <= defined
    assert ("__riscv" in defined) == (core.architecture == "riscv")
