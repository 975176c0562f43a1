"""The C of many models in one program for an emulated Cortex-M4, run without an operating system.

`Emulated` does what `Native` does, with the same driver: standard input and output are two regions
of memory that Unicorn maps, and every heap block stands between two guards that are checked when it
is freed.
"""

import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from graphs.driver import compile_c
from graphs.native import Native
from tesla_codegen.kernels.variant import Isa, Optimize
from tesla_embed.ir.graph import Model
from tesla_host.elf import read_image

_SUPPORT = """
#include <stddef.h>
#include <stdint.h>
typedef struct { int unused; } FILE;
extern FILE *const stdin;
extern FILE *const stdout;
size_t fread(void *to, size_t size, size_t count, FILE *file);
size_t fwrite(const void *from, size_t size, size_t count, FILE *file);
void *malloc(size_t size);
void free(void *block);
void exit(int status);
void *memcpy(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);
int memcmp(const void *a, const void *b, size_t size);
"""

_STREAMS = """
#include <stdio.h>
static uint8_t *const input = (uint8_t *)0x60000000u;
static uint8_t *const output = (uint8_t *)0x70000000u;
static uint32_t taken = 8, made = 8; /* both regions begin with the number of bytes */
FILE *const stdin = NULL;
FILE *const stdout = NULL;
int main(void);
void halt(void);
void start(void);
__attribute__((noinline)) void halt(void) { for (;;) __asm__ volatile(""); }
void exit(int status) {
    *(uint32_t *)(void *)output = made - 8u;
    *(int32_t *)(void *)(output + 4) = status;
    halt();
}
void start(void) { exit(main()); }
size_t fread(void *to, size_t size, size_t count, FILE *file) {
    (void)file;
    const uint32_t left = 8u + *(uint32_t *)(void *)input - taken;
    if (left < size * count) return 0;
    memcpy(to, input + taken, size * count);
    taken += size * count;
    return count;
}
size_t fwrite(const void *from, size_t size, size_t count, FILE *file) {
    (void)file;
    memcpy(output + made, from, size * count);
    made += size * count;
    return count;
}
"""

_MEMORY = """
enum { GUARD = 0x47, GUARDS = 16 };
static uint8_t heap[HEAP];
static size_t used;
/* A block: its size, a guard, the bytes, another guard. All freed: begin again. */
static uint32_t blocks;
void *malloc(size_t size) {
    const size_t room = (size + 2u * GUARDS + 8u + 7u) / 8u * 8u;
    if (used + room > sizeof heap) return NULL;
    uint8_t *block = (uint8_t *)(((uintptr_t)heap + used + 7u) / 8u * 8u);
    used += room + 8u;
    ++blocks;
    *(uint32_t *)(void *)block = size;
    memset(block + 8, GUARD, GUARDS);
    memset(block + 8 + GUARDS + size, GUARD, GUARDS);
    return block + 8 + GUARDS;
}
void free(void *pointer) {
    const uint8_t *bytes = pointer;
    const uint32_t size = *(const uint32_t *)(const void *)(bytes - GUARDS - 8);
    for (uint32_t i = 0; i < GUARDS; ++i) {
        if (bytes[-1 - (int)i] != GUARD || bytes[size + i] != GUARD) exit(99);
    }
    if (--blocks == 0u) used = 0;
}
void *memcpy(void *to, const void *from, size_t size) {
    volatile uint8_t *a = to;
    const uint8_t *b = from;
    while (size-- > 0u) *a++ = *b++;
    return to;
}
void *memset(void *to, int value, size_t size) {
    volatile uint8_t *a = to;
    while (size-- > 0u) *a++ = (uint8_t)value;
    return to;
}
/* As a compiler for bare metal calls them. */
void __aeabi_memcpy(void *to, const void *from, size_t size) { memcpy(to, from, size); }
void __aeabi_memset(void *to, size_t size, int value) { memset(to, value, size); }
void __aeabi_memclr(void *to, size_t size) { memset(to, 0, size); }
void __aeabi_memcpy4(void *to, const void *from, size_t size) { memcpy(to, from, size); }
void __aeabi_memset4(void *to, size_t size, int value) { memset(to, value, size); }
void __aeabi_memclr4(void *to, size_t size) { memset(to, 0, size); }
void __aeabi_memcpy8(void *to, const void *from, size_t size) { memcpy(to, from, size); }
void __aeabi_memset8(void *to, size_t size, int value) { memset(to, value, size); }
void __aeabi_memclr8(void *to, size_t size) { memset(to, 0, size); }
int memcmp(const void *a, const void *b, size_t size) {
    const uint8_t *x = a, *y = b;
    for (; size > 0u; --size, ++x, ++y) {
        if (*x != *y) return *x - *y;
    }
    return 0;
}
"""

_SCRIPT = """
ENTRY(start)
SECTIONS {
    . = 0x00001000;
    .text : { *(.text*) *(.rodata*) }
    .ARM.exidx : { *(.ARM.exidx*) }
    . = 0x20000000;
    .data : { *(.data*) }
    .bss : { *(.bss*) *(COMMON) }
}
"""
_TIMEOUT_US = 300_000_000
_STACK = 0x2100_0000


@dataclass(frozen=True, slots=True)
class Cross:
    """How to compile for a Cortex-M4, and how to link what was compiled."""

    compile: tuple[str, ...]
    link: tuple[str, ...]
    libraries: tuple[str, ...] = ()


def zig_m4() -> Cross:
    """As firmware for the target `emulator` is compiled."""
    zig = (sys.executable, "-m", "ziglang", "cc")
    flags = ("--target=thumb-freestanding-eabi", "-mcpu=cortex_m4+soft_float")
    quiet = ("-fno-sanitize=undefined", "-fno-stack-protector", "-ffreestanding")
    return Cross((*zig, *flags, *quiet), (*zig, *flags))


class Emulated(Native):
    """One program for a Cortex-M4 that holds the generated C of several models."""

    _streams = _STREAMS
    _script = _SCRIPT
    _heap = 4 << 20

    def __init__(
        self,
        models: Sequence[Model],
        folder: Path,
        tools: Cross,
        flags: Sequence[str],
        isa: Isa,
        calls: Sequence[str] = (),
        optimize: Optimize = Optimize.BALANCED,
    ) -> None:
        """As `Native`, with the compiler and linker `tools`."""
        for name in ("stdio.h", "stdlib.h", "string.h"):
            (folder / "libc").mkdir(exist_ok=True)
            guard = "#pragma once\n" + ('#include "stdio.h"\n' if name != "stdio.h" else _SUPPORT)
            (folder / "libc" / name).write_text(guard)
        (folder / "script.ld").write_text(self._script)
        (folder / "runtime.c").write_text(self._streams + _MEMORY)
        self._tools = tools
        runtime = ["-fno-builtin", f"-DHEAP={self._heap}u", "-Os", "-c", "runtime.c"]
        compile_c([*tools.compile, "-I", "libc", *runtime], folder)
        super().__init__(
            models, folder, [*tools.compile, "-I", "libc"], flags, isa, calls, optimize
        )

    def _link(self, objects: Sequence[str], folder: Path) -> None:
        script = ["-T", "script.ld", "-o", "program"]
        compile_c([*self._tools.link, *objects, *script, *self._tools.libraries], folder)

    def _run(self, stream: bytes) -> subprocess.CompletedProcess[bytes]:
        unicorn, arm = import_module("unicorn"), import_module("unicorn.arm_const")
        image = read_image(self.program)
        cpu = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        cpu.ctl_set_cpu_model(arm.UC_CPU_ARM_CORTEX_M4)
        for base, size in ((0, 32 << 20), (0x2000_0000, 16 << 20), (0x7000_0000, 64 << 20)):
            cpu.mem_map(base, size)
        cpu.mem_map(0x6000_0000, -(-(len(stream) + 8) // 4096) * 4096)
        cpu.mem_write(0x6000_0000, struct.pack("<II", len(stream), 0) + stream)
        for segment in image.segments:
            cpu.mem_write(segment.address, segment.data)
        places = dict(zip(image.symbols.names, image.symbols.starts, strict=True))
        cpu.reg_write(arm.UC_ARM_REG_SP, _STACK)
        cpu.emu_start(places["start"] | 1, places["halt"] & ~1, _TIMEOUT_US)
        size, status = struct.unpack("<Ii", bytes(cpu.mem_read(0x7000_0000, 8)))
        output = bytes(cpu.mem_read(0x7000_0008, size))
        return subprocess.CompletedProcess([], status, output, b"")
