"""The CPUs of the catalogue, each with what makes a toolchain emit code for it."""

from tesla_codegen.kernels.variant import Isa
from tesla_host.catalogue.rows import Core

_BARE = "-ffreestanding"
# Armv6-M: no unaligned access, no IT blocks, no division, no CLZ; compilers know.
CORTEX_M0 = Core(
    name="Cortex-M0",
    isa=Isa.PORTABLE,
    flags={
        "zig": ("--target=thumb-freestanding-eabi", "-mcpu=cortex_m0", _BARE),
        "gcc": ("-mcpu=cortex-m0", "-mthumb", "-mfloat-abi=soft", _BARE),
    },
)
CORTEX_M0_PLUS = Core(
    name="Cortex-M0+",
    isa=Isa.PORTABLE,
    flags={
        "zig": ("--target=thumb-freestanding-eabi", "-mcpu=cortex_m0plus", _BARE),
        "gcc": ("-mcpu=cortex-m0plus", "-mthumb", "-mfloat-abi=soft", _BARE),
    },
)
CORTEX_M3 = Core(
    name="Cortex-M3",
    isa=Isa.PORTABLE,
    flags={
        "zig": ("--target=thumb-freestanding-eabi", "-mcpu=cortex_m3", _BARE),
        "gcc": ("-mcpu=cortex-m3", "-mthumb", "-mfloat-abi=soft", _BARE),
    },
)
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
CORTEX_M7 = Core(
    name="Cortex-M7",
    isa=Isa.DSP,
    flags={
        "zig": ("--target=thumb-freestanding-eabi", "-mcpu=cortex_m7+soft_float", _BARE),
        "gcc": ("-mcpu=cortex-m7", "-mthumb", "-mfloat-abi=soft", _BARE),
    },
)
CORTEX_M33 = Core(
    name="Cortex-M33",
    isa=Isa.DSP,
    flags={
        "zig": ("--target=thumb-freestanding-eabi", "-mcpu=cortex_m33+soft_float", _BARE),
        "gcc": ("-mcpu=cortex-m33", "-mthumb", "-mfloat-abi=soft", _BARE),
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
