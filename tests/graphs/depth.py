"""How deep the stack of a generated library really gets: a program around it that paints and looks.

The library's own objects, as the firmware was built from them, are linked with a driver that runs
every region in QEMU: on the Cortex-M4 of mps2-an386, or the Cortex-M55 of mps3-an547.
"""

import subprocess
from pathlib import Path

from tesla_codegen.lower import Project
from tesla_host.build import BuildResult
from tesla_host.link.qemu import find_qemu
from tesla_host.toolchain import link_elf

_DRIVER = """
#include "PREFIX.h"
#define PATTERN 0xA5A5A5A5u
extern uint32_t stack_bottom[];
extern uint32_t stack_top[];
void start(void);
static uint64_t arena[(MACRO_ARENA_BYTES + 7u) / 8u];
static int8_t input[MACRO_INPUT_BYTES];
static int8_t output[MACRO_OUTPUT_BYTES];
static void call(int operation, const void *parameters) {
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = parameters;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}
static void leave(uint32_t status) {
    const uint32_t parameters[2] = {0x20026u, status};
    call(0x20, parameters);
    for (;;) {}
}
static void fault(void) { leave(98); }
static __attribute__((noinline)) uint32_t touched(PREFIX_t *network) {
    uintptr_t here;
    __asm__ volatile("mov %0, sp" : "=r"(here));
    volatile uint32_t *word = stack_bottom;
    while ((uintptr_t)word < here) *word++ = PATTERN;
    if (PREFIX_run(network, input, output) != TESLA_OK) leave(97);
    word = stack_bottom;
    while (*word == PATTERN) ++word;
    return (uint32_t)(here - (uintptr_t)word);
}
void start(void) {
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* vectors, where there are any */
    __asm__ volatile("dsb\\n\\tisb");
    PREFIX_t network;
    PREFIX_init(&network, arena);
    uint32_t most = 0, seed = 1;
    for (uint32_t i = 0; i < MACRO_REGION_COUNT; ++i) {
        for (uint32_t k = 0; k < sizeof input; ++k) {
            seed = seed * 1664525u + 1013904223u;
            input[k] = (int8_t)(seed >> 24);
        }
        PREFIX_set_dp(&network, PREFIX_regions[i]);
        const uint32_t depth = touched(&network);
        most = depth > most ? depth : most;
    }
    char text[12] = "0000000000";
    for (int place = 9; place >= 0; --place, most /= 10u) text[place] = (char)('0' + most % 10u);
    call(4, text);
    leave(0);
}
__attribute__((used, section(".vectors"))) static void *const vectors[16] = {
    stack_top, (void *)start, (void *)fault, (void *)fault, (void *)fault, (void *)fault,
    (void *)fault, (void *)fault};
"""

_SCRIPT = """
ENTRY(start)
SECTIONS {
    . = FLASH;
    .vectors : { KEEP(*(.vectors)) }
    .text : { *(.text .text.* .rodata .rodata.*) }
    .ARM.exidx : { *(.ARM.exidx*) }
    . = RAM;
    stack_bottom = .;
    stack_top = . + 0x4000;
    . = . + 0x4000;
    .data : { *(.data .data.*) }
    .bss : { *(.bss .bss.*) *(COMMON) }
}
"""
_BOARDS = {
    "emulator": ("mps2-an386", 0x0, 0x2000_0000),
    "qemu:mps3-an547": ("mps3-an547", 0x1000_0000, 0x3100_0000),
}
"""By target: QEMU's machine with that core, and where its flash and RAM begin."""


def touched_stack(built: BuildResult, project: Project, target: str) -> int:
    """The most bytes of stack that a run writes to below its caller's, in all regions."""
    machine, flash, ram = _BOARDS[target]
    library, folder = built.library, built.elf.parent
    assert library is not None
    text = _DRIVER.replace("PREFIX", project.prefix).replace("MACRO", project.macro)
    (folder / "depth.c").write_text(text)
    script = folder / "depth.ld"
    script.write_text(_SCRIPT.replace("FLASH", hex(flash)).replace("RAM", hex(ram)))
    include = folder / "project" / "include"
    flags = (*library.flags, "-nostartfiles", "-fno-stack-protector", "-fno-sanitize=undefined")
    flags += ("-fomit-frame-pointer", f"-I{include}", "-Wl,--gc-sections", f"-Wl,-T,{script}")
    elf = folder / "depth.elf"
    link_elf(library.compiler, [folder / "depth.c", *library.objects], flags, elf)
    return int(_run(machine, elf))


def _run(machine: str, elf: Path) -> bytes:
    command = [find_qemu(), "-M", machine, "-display", "none", "-monitor", "none"]
    command += ["-serial", "none", "-semihosting-config", "enable=on,target=native"]
    done = subprocess.run(
        [*command, "-kernel", str(elf)], capture_output=True, check=False, timeout=300
    )
    assert done.returncode == 0, f"exit status {done.returncode}: {done.stderr.decode()}"
    return done.stdout + done.stderr
