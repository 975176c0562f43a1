"""The C of many models in one program for an emulated Cortex-M55, run without an operating system.

`Vectored` does what `Emulated` does, in QEMU, which knows Helium: standard input and output are
those of QEMU, by semihosting.
"""

import subprocess

from graphs.emulated import Emulated
from tesla_host.link.qemu import find_qemu

_STREAMS = """
#include <stdio.h>
FILE *const stdin = NULL;
FILE *const stdout = NULL;
extern uint32_t stack_top[];
int main(void);
void start(void);
void halt(void);
static int call(int operation, const void *parameters) {
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = parameters;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}
static int open_console(uint32_t mode) {
    const uint32_t parameters[3] = {(uint32_t)(uintptr_t)":tt", mode, 3};
    return call(1, parameters);
}
void exit(int status) {
    const uint32_t parameters[2] = {0x20026u, (uint32_t)status};
    call(0x20, parameters);
    for (;;) {}
}
void halt(void) { exit(98); } /* every fault */
static int input, output;
void start(void) {
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* vectors, please */
    __asm__ volatile("dsb" "\\n" "isb");
    input = open_console(0);
    output = open_console(4);
    exit(main());
}
static size_t moved(int operation, int file, uint8_t *bytes, size_t size) {
    size_t left = size;
    while (left > 0u) {
        const uint32_t at = (uint32_t)(uintptr_t)(bytes + size - left);
        const uint32_t block[3] = {(uint32_t)file, at, left};
        const size_t now = (size_t)call(operation, block);
        if (now == left) break;
        left = now;
    }
    return size - left;
}
size_t fread(void *to, size_t size, size_t count, FILE *file) {
    (void)file;
    return moved(6, input, to, size * count) / size;
}
size_t fwrite(const void *from, size_t size, size_t count, FILE *file) {
    (void)file;
    return moved(5, output, (uint8_t *)(uintptr_t)from, size * count) / size;
}
__attribute__((used, section(".vectors"))) static void *const vectors[16] = {
    stack_top, (void *)start, (void *)halt, (void *)halt, (void *)halt, (void *)halt, (void *)halt,
    (void *)halt};
"""

_SCRIPT = """
ENTRY(start)
SECTIONS {
    . = 0x10000000;
    .vectors : { KEEP(*(.vectors)) }
    . = 0x11000000;
    .text : { *(.text*) *(.rodata*) }
    .ARM.exidx : { *(.ARM.exidx*) }
    ASSERT(. <= 0x11200000, "the models take more than the machine's 2 MiB for code; take fewer")
    . = 0x31000000;
    stack_top = . + 0x20000;
    . = . + 0x20000;
    .data : { *(.data*) }
    .bss : { *(.bss*) *(COMMON) }
    ASSERT(. <= 0x31400000, "the heap takes more than the machine's 4 MiB of RAM")
}
"""


class Vectored(Emulated):
    """One program for a Cortex-M55 that holds the generated C of several models."""

    _streams = _STREAMS
    _script = _SCRIPT
    _heap = 2 << 20

    def _run(self, stream: bytes) -> subprocess.CompletedProcess[bytes]:
        command = [find_qemu(), "-M", "mps3-an547", "-display", "none", "-monitor", "none"]
        command += ["-serial", "none", "-semihosting-config", "enable=on,target=native"]
        return subprocess.run(
            [*command, "-kernel", str(self.program)],
            input=stream,
            capture_output=True,
            check=False,
            timeout=300,
        )
