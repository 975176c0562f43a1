"""Estimated Cortex-M4 cycles of a basic block.

In: the machine code of a block (Thumb-2). Out: its instructions by class, its cycles when it falls
through, and what it adds when the next block is another than the following one. An ESTIMATE from
published figures, not a measurement.

Source: Arm Cortex-M4 Processor Technical Reference Manual (100166), section 3.3, "Instruction set
summary" and "Load/store timings"; FPU: section 7.2.3. Assumptions where the manual gives a range:

- memory without wait states, no contention, aligned addresses;
- the pipeline refill P after a taken branch (1 to 3) is 2;
- a division (2 to 12) takes 12;
- a load takes 2, but 1 directly after another load without write-back whose result it does not
  need; a load or store whose base register comes from the instruction before takes 1 more, which is
  not in the manual's table and errs on the slow side;
- an instruction that its IT block skips counts like one that is executed.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

import capstone
from capstone import arm

_REFILL = 2

CYCLES = MappingProxyType(
    {
        "alu": 1,
        "multiply": 1,  # MUL, SMULL, UMULL, SMLAL, UMLAL, SMLAxy, SMLAD, SMMUL ...
        "multiply-accumulate": 2,  # MLA, MLS
        "divide": 12,
        "load": 2,
        "load-multiple": 1,  # and 1 for each register; LDRD has two
        "store": 1,  # 2 with a register offset
        "store-multiple": 1,  # and 1 for each register
        "branch": 1,  # and the refill when taken
        "float": 1,
        "float-multiply-accumulate": 3,
        "float-divide": 14,  # VDIV, VSQRT
        "system": 2,  # MSR, MRS, barriers
        "unknown": 1,  # what the disassembler does not know
    }
)
"""Cycles of each class, before the refinements that the comments name."""

_PREFIXES = (
    ("float-divide", ("vdiv", "vsqrt")),
    (
        "float-multiply-accumulate",
        ("vmla", "vmls", "vnmla", "vnmls", "vfma", "vfms", "vfnma", "vfnms"),
    ),
    ("load-multiple", ("ldm", "pop", "ldrd", "ldrexd", "vldm", "vpop")),
    ("store-multiple", ("stm", "push", "strd", "strexd", "vstm", "vpush")),
    ("load", ("ldr", "vldr")),
    ("store", ("str", "vstr")),
    ("divide", ("sdiv", "udiv")),
    ("float", ("v",)),
    ("multiply", ("mul", "smul", "umul", "sml", "uml", "uma", "smm", "smu")),
    ("system", ("msr", "mrs", "dsb", "dmb", "isb")),
)
_MULTIPLY_ACCUMULATE = (arm.ARM_INS_MLA, arm.ARM_INS_MLS)
_TABLE_BRANCH = (arm.ARM_INS_TBB, arm.ARM_INS_TBH)
_COMPARE_BRANCH = (arm.ARM_INS_CBZ, arm.ARM_INS_CBNZ)
_BRANCH = (
    arm.ARM_INS_B,
    arm.ARM_INS_BL,
    arm.ARM_INS_BX,
    arm.ARM_INS_BLX,
    *_TABLE_BRANCH,
    *_COMPARE_BRANCH,
)


@dataclass(frozen=True, slots=True)
class BlockTiming:
    """Cycles of one execution of a block; `taken_penalty` comes on top when it ends in a branch,
    and another block than the following one comes next (also when that branch is unconditional).
    """

    cycles: int
    taken_penalty: int
    classes: tuple[tuple[str, int], ...]


def block_timing(code: bytes, address: int) -> BlockTiming:
    """Decode a block of Thumb code that starts at `address` and add up its instructions."""
    classes: Counter[str] = Counter()
    cycles = 0
    previous: capstone.CsInsn | None = None
    for insn in _instructions(code, address):
        name = "unknown" if insn is None else classify(insn)
        classes[name] += 1
        cycles += CYCLES[name] if insn is None else _cost(insn, name, previous)
        previous = insn
    penalty = _REFILL if previous is not None and _may_leave(previous) else 0
    return BlockTiming(cycles, penalty, tuple(sorted(classes.items())))


def classify(insn: capstone.CsInsn) -> str:
    """The key of `CYCLES` for a decoded instruction."""
    if insn.id in _BRANCH:
        return "branch"
    if insn.id in _MULTIPLY_ACCUMULATE:
        return "multiply-accumulate"
    mnemonic = insn.mnemonic
    for name, prefixes in _PREFIXES:
        if mnemonic.startswith(prefixes):
            return name
    return "alu"


def _instructions(code: bytes, address: int) -> Iterator[capstone.CsInsn | None]:
    """Each instruction in turn; None stands for one that the disassembler does not know."""
    offset = 0
    while offset < len(code):
        for insn in _disassembler().disasm(code[offset:], address + offset):
            offset += insn.size
            yield insn
        if offset < len(code):
            wide = len(code) - offset >= 2 and code[offset + 1] >> 3 in (0b11101, 0b11110, 0b11111)
            offset += 4 if wide else 2
            yield None


@cache
def _disassembler() -> capstone.Cs:
    decoder = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
    decoder.detail = True
    return decoder


def _cost(insn: capstone.CsInsn, name: str, previous: capstone.CsInsn | None) -> int:
    cycles = CYCLES[name]
    if name in ("load-multiple", "store-multiple"):
        cycles += _registers_moved(insn)
    if name == "store" and _memory(insn).index != 0:
        cycles += 1
    if insn.id in _TABLE_BRANCH:
        cycles += 1
    if previous is None or name not in ("load", "store", "load-multiple", "store-multiple"):
        return cycles
    bases = _address_registers(insn)
    if name == "load" and classify(previous) == "load" and not previous.writeback:
        return cycles - 1 if bases.isdisjoint(_written(previous)) else cycles
    if classify(previous) in ("alu", "multiply") and not bases.isdisjoint(_written(previous)):
        cycles += 1
    return cycles


def _memory(insn: capstone.CsInsn) -> arm.ArmOpMem:
    return next(o.mem for o in insn.operands if o.type == arm.ARM_OP_MEM)


def _address_registers(insn: capstone.CsInsn) -> set[int]:
    """Registers that form the address of a load or store."""
    for operand in insn.operands:
        if operand.type == arm.ARM_OP_MEM:
            return {operand.mem.base, operand.mem.index} - {0}
    if insn.mnemonic.startswith(("push", "pop", "vpush", "vpop")):
        return {arm.ARM_REG_SP}
    return {insn.operands[0].reg}


def _written(insn: capstone.CsInsn) -> set[int]:
    return set(insn.regs_access()[1])


def _registers_moved(insn: capstone.CsInsn) -> int:
    registers: int = sum(operand.type == arm.ARM_OP_REG for operand in insn.operands)
    listed_base = insn.mnemonic.startswith(("ldm", "stm", "vldm", "vstm"))
    return registers - 1 if listed_base else registers


def _may_leave(insn: capstone.CsInsn) -> bool:
    return insn.id in _BRANCH or arm.ARM_REG_PC in _written(insn)
