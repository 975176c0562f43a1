"""The CPUs of the catalogue, each with what makes a toolchain emit code for it."""

from tesla_codegen.kernels.variant import Isa
from tesla_host.catalogue.rows import Core

_BARE = "-ffreestanding"
# Without the floating-point unit: its registers would need start-up code and gain integer code
# nothing.
CORTEX_M4 = Core(
    name="Cortex-M4",
    isa=Isa.DSP,
    flags={
        "zig": ("--target=thumb-freestanding-eabi", "-mcpu=cortex_m4+soft_float", _BARE),
        "gcc": ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=soft", _BARE),
    },
)
# Vectors (Helium) live in the registers of the floating-point unit.
CORTEX_M55 = Core(
    name="Cortex-M55",
    isa=Isa.HELIUM,
    flags={
        "zig": ("--target=thumb-freestanding-eabihf", "-mcpu=cortex_m55+mve+mve_fp", _BARE),
        "gcc": ("-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard", _BARE),
    },
)
