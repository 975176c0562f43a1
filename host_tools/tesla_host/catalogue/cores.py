"""The CPUs of the catalogue, each with what makes a toolchain emit code for it."""

from tesla_codegen.kernels.variant import Isa
from tesla_host.catalogue.rows import Core

_BARE = "-ffreestanding"


def _clang(architecture: str, cpu: str, floats: str = "soft") -> tuple[str, ...]:
    abi = "eabihf" if floats == "hard" else "eabi"
    return (f"--target={architecture}-none-{abi}", f"-mcpu={cpu}", f"-mfloat-abi={floats}", _BARE)


# Armv6-M: no unaligned access, no IT blocks, no division, no CLZ; compilers know.
CORTEX_M0 = Core(
    name="Cortex-M0",
    isa=Isa.PORTABLE,
    flags={
        "zig": ("--target=thumb-freestanding-eabi", "-mcpu=cortex_m0", _BARE),
        "gcc": ("-mcpu=cortex-m0", "-mthumb", "-mfloat-abi=soft", _BARE),
        "clang": _clang("thumbv6m", "cortex-m0"),
    },
)
CORTEX_M0_PLUS = Core(
    name="Cortex-M0+",
    isa=Isa.PORTABLE,
    flags={
        "zig": ("--target=thumb-freestanding-eabi", "-mcpu=cortex_m0plus", _BARE),
        "gcc": ("-mcpu=cortex-m0plus", "-mthumb", "-mfloat-abi=soft", _BARE),
        "clang": _clang("thumbv6m", "cortex-m0plus"),
    },
)
CORTEX_M3 = Core(
    name="Cortex-M3",
    isa=Isa.PORTABLE,
    flags={
        "zig": ("--target=thumb-freestanding-eabi", "-mcpu=cortex_m3", _BARE),
        "gcc": ("-mcpu=cortex-m3", "-mthumb", "-mfloat-abi=soft", _BARE),
        "clang": _clang("thumbv7m", "cortex-m3"),
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
        "clang": _clang("thumbv7em", "cortex-m4"),
    },
)
CORTEX_M7 = Core(
    name="Cortex-M7",
    isa=Isa.DSP,
    flags={
        "zig": ("--target=thumb-freestanding-eabi", "-mcpu=cortex_m7+soft_float", _BARE),
        "gcc": ("-mcpu=cortex-m7", "-mthumb", "-mfloat-abi=soft", _BARE),
        "clang": _clang("thumbv7em", "cortex-m7"),
    },
)
CORTEX_M33 = Core(
    name="Cortex-M33",
    isa=Isa.DSP,
    flags={
        "zig": ("--target=thumb-freestanding-eabi", "-mcpu=cortex_m33+soft_float+dsp", _BARE),
        "gcc": ("-mcpu=cortex-m33", "-mthumb", "-mfloat-abi=soft", _BARE),
        "clang": _clang("thumbv8m.main", "cortex-m33"),
    },
)
# Vectors (Helium) live in the registers of the floating-point unit.
CORTEX_M55 = Core(
    name="Cortex-M55",
    isa=Isa.HELIUM,
    flags={
        "zig": ("--target=thumb-freestanding-eabihf", "-mcpu=cortex_m55+mve+mve_fp", _BARE),
        "gcc": ("-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard", _BARE),
        "clang": _clang("thumbv8.1m.main", "cortex-m55", "hard"),
    },
)
