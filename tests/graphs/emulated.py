"""The C of many models in one program of an emulated Cortex-M4.

`Emulated` generates the C of some models and compiles it as firmware for the target `emulator` is
compiled: by zig, with -O3. Nothing of a board is in it: requests lie in memory when it starts, and
so does what it answers when it ends.
"""

import struct
import sys
from collections.abc import Sequence
from pathlib import Path

from elftools.elf.elffile import ELFFile

from graphs.driver import (
    STRICT,
    Int8,
    Request,
    Texts,
    compile_units,
    numbered,
    read_trace,
    rendered,
    write_sources,
)
from tesla_embed.ir.graph import Model
from tesla_host.elf import read_image
from tesla_host.targets import find_target

_RAM, _RAM_BYTES = 0x2000_0000, 256 << 20
_FLASH_BYTES = 16 << 20
_STACK_TOP = _RAM + (1 << 20)
_REQUESTS = _RAM + (2 << 20)
_HEAP = _RAM + (64 << 20)
_ANSWERS = _RAM + (128 << 20)
_STOP = _FLASH_BYTES - 16

_HEAD = """
#include <stddef.h>
#include <stdint.h>
void *memcpy(void *target, const void *source, size_t size);
void *memset(void *target, int value, size_t size);
int memcmp(const void *first, const void *second, size_t size);
static struct ports { const uint8_t *next, *end; uint8_t *heap, *answers; } *const ports =
    (struct ports *)0x20000000;
static void *block(size_t size) {
    uint8_t *const memory = ports->heap;
    ports->heap += (size + 7u) / 8u * 8u;
    return memory;
}
static void release(void *memory) {
    if ((uint8_t *)memory < ports->heap) ports->heap = memory;
}
static int take(void *data, size_t size) {
    if ((size_t)(ports->end - ports->next) < size) return 0;
    memcpy(data, ports->next, size);
    ports->next += size;
    return 1;
}
static void give(const void *data, size_t size) {
    memcpy(ports->answers, data, size);
    ports->answers += size;
}
"""

_SCRIPT = f"""
MEMORY
{{
    FLASH (rx) : ORIGIN = 0, LENGTH = {_FLASH_BYTES - 16}
    RAM (rw) : ORIGIN = {_RAM + 16}, LENGTH = 64K
}}
ENTRY(serve)
SECTIONS
{{
    .text : {{ *(.text .text.*) }} > FLASH
    .rodata : {{ *(.rodata .rodata.*) }} > FLASH
    .data : {{ *(.data .data.*) }} > RAM AT > FLASH
    .bss (NOLOAD) : {{ *(.bss .bss.*) *(COMMON) }} > RAM
    ASSERT(SIZEOF(.data) == 0, "a library has no variables")
    /DISCARD/ : {{ *(.ARM.exidx .ARM.exidx.* .ARM.extab .ARM.extab.*) }}
}}
"""


class Emulated:
    """One program that holds the generated C of several models, for an emulated Cortex-M4."""

    def __init__(
        self,
        models: Sequence[Model],
        folder: Path,
        calls: Sequence[str] = (),
        texts: Sequence[Texts] = (),
    ) -> None:
        """Compile; the models' sequences of calls, not the kernels, also with the flags `calls`.

        `texts` are what `rendered` makes of the models, for whoever has it already.
        """
        self.models = numbered(models)
        self.program = folder / "program.elf"
        target = find_target("emulator")
        compiler = [sys.executable, "-m", "ziglang", "cc"]
        flags = ["-O3", "-g1", "-fno-sanitize=undefined", "-fno-stack-protector"]
        flags += target.compile_flags
        link = ["-fno-builtin", *target.link_flags, "-Wl,-T,program.ld", "-Wl,--entry=serve"]
        units = write_sources(self.models, folder, _HEAD, texts or rendered(self.models))
        (folder / "program.ld").write_text(_SCRIPT)
        command = [*compiler, *STRICT, *flags]
        compile_units(command, [*calls, *link], units, folder, self.program.name)
        self._image = read_image(self.program)
        with self.program.open("rb") as stream:
            self._entry = int(ELFFile(stream).header["e_entry"])

    def layers(self, requests: Sequence[Request]) -> list[list[Int8]]:
        """Per request the `[N, *shape]` results of every layer, then the output's own buffer."""
        import unicorn
        from unicorn import arm_const

        stream = b"".join(request.message for request in requests)
        assert len(stream) <= _HEAP - _REQUESTS
        cpu = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        cpu.ctl_set_cpu_model(arm_const.UC_CPU_ARM_CORTEX_M4)
        cpu.mem_map(0, _FLASH_BYTES, unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)
        cpu.mem_map(_RAM, _RAM_BYTES, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE)
        for segment in self._image.segments:
            cpu.mem_write(segment.address, segment.data)
        ports = (_REQUESTS, _REQUESTS + len(stream), _HEAP, _ANSWERS)
        cpu.mem_write(_RAM, struct.pack("<4I", *ports))
        cpu.mem_write(_REQUESTS, stream)
        cpu.reg_write(arm_const.UC_ARM_REG_SP, _STACK_TOP)
        cpu.reg_write(arm_const.UC_ARM_REG_LR, _STOP | 1)
        try:
            cpu.emu_start(self._entry | 1, _STOP)
        except unicorn.UcError as error:
            pc = cpu.reg_read(arm_const.UC_ARM_REG_PC)
            where = self._image.symbols.function_at(pc)
            raise AssertionError(f"the CPU faults in {where} at 0x{pc:08x}: {error}") from error
        status = cpu.reg_read(arm_const.UC_ARM_REG_R0)
        assert status == 0, f"exit status {status}"
        end = struct.unpack("<I", bytes(cpu.mem_read(_RAM + 12, 4)))[0]
        answers = bytes(cpu.mem_read(_ANSWERS, end - _ANSWERS))
        return read_trace(answers, self.models, requests)
