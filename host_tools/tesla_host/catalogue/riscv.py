"""Boards with a RISC-V core, and these cores."""

from tesla_codegen.kernels.variant import Isa
from tesla_host.catalogue.rows import Core, Memory, Qemu, Target
from tesla_host.compilers import RISCV

_BARE = ("-mabi=ilp32", "-ffreestanding")
# Whole numbers, multiplication, and instructions of 16 bits: what the smallest parts have.
RV32IMC = Core(
    name="RV32IMC",
    isa=Isa.PORTABLE,
    flags={
        "zig": (*("--target=riscv32-freestanding-none", "-mcpu=generic_rv32+m+c", *_BARE),),
        # In the older specification the instructions that read counters need no name of their own,
        # which neither Clang 14 nor Debian's choice of libgcc knows.
        "gcc": ("-march=rv32imc", "-misa-spec=2.2", *_BARE),
        "clang": ("--target=riscv32-unknown-elf", "-march=rv32imc", *_BARE),
    },
    architecture=RISCV,
)

RISCV_BOARDS = (
    Target(
        name="qemu:virt",
        description="RISC-V RV32IMC, QEMU's machine of no maker: exact instruction counts",
        core=RV32IMC,
        sources=("riscv", "riscv_counters", "ns16550", "virt"),
        toolchains=("zig", "gcc", "clang"),
        clock_hz=1_000_000_000,
        # One RAM: its first part stands for flash and is protected as such.
        flash=Memory(origin=0x8000_0000, bytes=4 << 20),
        ram=Memory(origin=0x8040_0000, bytes=4 << 20),
        stack_bytes=8 << 10,
        constants=(
            ("UART", 0x1000_0000),
            ("UART_CLOCK_HZ", 3_686_400),
            ("UART_INTERRUPT", 10),
            ("PLIC", 0x0C00_0000),
        ),
        # minstret tells nanoseconds: of instructions that take one each, it is the exact number.
        qemu=Qemu(
            machine="virt",
            icount_shift=0,
            timer_hz=1_000_000_000,
            program="qemu-system-riscv32",
            # the core without what the firmware must not use
            options=("-bios", "none", "-cpu", "rv32,a=false,f=false,d=false"),
        ),
        status="emulated",
    ),
)
