"""What the C side of a board takes from its row of the catalogue.

In: a `Target`. Out: the text of `tesla_target.h` and of the linker script, and the flags of a
toolchain. Nothing is refused: rows of the catalogue are ours, and those of users' files
were checked when they were read (`tesla_host.catalogue.user`).
"""

from tesla_host.catalogue import Target
from tesla_host.compilers import ARM, RISCV

HEADER = "tesla_target.h"
MARKER = "MARKER"
"""The constant of a row whose board has a pin for a current probe, and `tesla_board_marker`."""
LINKER_SCRIPT = "target.ld"
SECTIONS = "sections.ld"
"""In each folder of the firmware's boards that holds start-up code: where the sections go."""

_NO_HEADERS = "-Wl,-z,max-page-size=16"
"""LLD puts the ELF's own headers below the first section where they fit into its page, 64 KiB:
where a firmware stands behind a boot loader, into that. Into pages so small they never fit."""


def header(target: Target) -> str:
    """The row's numbers as macros."""
    numbers = {"CLOCK_HZ": target.clock_hz, **dict(target.constants)}
    for name, memory in (("FLASH", target.flash), ("RAM", target.ram)):
        if memory:
            numbers |= {name: memory.origin, f"{name}_BYTES": memory.bytes}
    if target.qemu:
        per_tick = target.qemu.instructions_per_tick
        numbers |= {
            "INSTRUCTIONS_OF_TICKS": per_tick.numerator,
            "TICKS_OF_INSTRUCTIONS": per_tick.denominator,
        }
    texts = {"NAME": target.name, "CPU": target.cpu}
    lines = [f"/* Numbers of the target {target.name}, from its row of the catalogue. */"]
    lines += ["#ifndef TESLA_TARGET_H", "#define TESLA_TARGET_H", ""]
    lines += [f'#define TESLA_TARGET_{name} "{text}"' for name, text in texts.items()]
    lines += [f"#define TESLA_TARGET_{name} 0x{value:x}u" for name, value in numbers.items()]
    return "\n".join([*lines, "", "#endif /* TESLA_TARGET_H */", ""])


def memory_map(target: Target) -> str:
    """The head of the linker script: what `sections.ld` places things in."""
    assert target.flash is not None and target.ram is not None
    flash, ram = target.flash, target.ram
    return (
        "MEMORY\n{\n"
        f"    FLASH (rx) : ORIGIN = 0x{flash.origin:08x}, LENGTH = 0x{flash.bytes:x}\n"
        f"    RAM (rwx) : ORIGIN = 0x{ram.origin:08x}, LENGTH = 0x{ram.bytes:x}\n"
        "}\n\n"
        f"tesla_stack_bytes = 0x{target.stack_bytes:x};\n\n"
    )


def machine_flags(target: Target, toolchain: str) -> tuple[str, ...]:
    """What makes a toolchain emit code for the target, compiling and linking."""
    receives: tuple[str, ...] = (f"-DTESLA_BOARD_RECEIVE_BYTES={target.receive_bytes}u",)
    if MARKER in dict(target.constants):
        receives += ("-DTESLA_BOARD_MARKER",)
    if target.core is None:
        return receives
    return (*target.core.flags[toolchain], *receives)


def link_flags(target: Target, toolchain: str) -> tuple[str, ...]:
    """What makes a toolchain link code for the target, and with which library.

    The GNU toolchain links for Clang. That for RISC-V comes without a C library: the start-up code
    brings the few functions that compilers call.
    """
    assert target.core is not None
    if toolchain == "zig":
        return (*machine_flags(target, toolchain), _NO_HEADERS)
    alone = {ARM: ("-nostartfiles",), RISCV: ("-nostdlib", "-lgcc")}[target.core.architecture]
    return (*machine_flags(target, "gcc"), *alone)
