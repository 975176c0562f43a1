"""The stack of the library: a run never touches more than what the compilers' frames sum to.

`-s` shows both for every network and compiler.
"""

import importlib
import subprocess
from pathlib import Path

import pytest
from conftest import require
from graphs import every_operation, int8_inputs, quantized_model
from graphs.narrow import narrow_model

from tesla_codegen.project import generate
from tesla_embed.errors import ToolchainError
from tesla_embed.ir.graph import Model
from tesla_host.build import BuildResult, build_firmware
from tesla_host.compilers import find_compiler
from tesla_host.elf import read_image
from tesla_host.link.client import LinkClient
from tesla_host.pointers import pointed_functions
from tesla_host.stack_bound import StackBound, read_frames, stack_bound
from tesla_host.targets import find_target

MODELS = {
    "everything": every_operation,
    "random": lambda: quantized_model(7),
    "four bits": lambda: narrow_model(3),
}
PATTERN = 0xA5


def firmware(model: Model, compiler: str, folder: Path) -> BuildResult:
    """`model` in the emulated board's firmware, with kernels that call nothing through pointers."""
    row = find_target("emulator")
    require(lambda: find_compiler(compiler))
    generate(model, folder / "project")
    return build_firmware(folder / "project", row, folder, toolchain=compiler)


def touched(elf: Path, model: Model) -> int:
    """The most bytes of stack that a run of the library writes to, in all regions."""
    require(lambda: importlib.import_module("unicorn"))
    from tesla_host.emulator.machine import Machine, arm_const, unicorn

    symbols = read_image(elf).symbols
    entry = symbols.starts[symbols.names.index(f"tesla_{model.name}_run")]
    row = find_target("emulator")
    assert row.ram is not None
    base = row.ram.origin
    machine = Machine(elf, row)
    most, top, back = [0], [0], set[int]()

    def leave(cpu: object, address: int, size: int, data: object) -> None:
        if top[0]:
            stack = bytes(machine.cpu.mem_read(base, top[0] - base))
            most[0] = max(most[0], len(stack.lstrip(bytes([PATTERN]))))
            top[0] = 0

    def enter(cpu: object, address: int, size: int, data: object) -> None:
        top[0] = machine.cpu.reg_read(arm_const.UC_ARM_REG_SP)
        machine.cpu.mem_write(base, bytes([PATTERN]) * (top[0] - base))
        after = machine.cpu.reg_read(arm_const.UC_ARM_REG_LR) & ~1
        if after not in back:
            back.add(after)
            machine.cpu.hook_add(unicorn.UC_HOOK_CODE, leave, None, after, after)

    machine.cpu.hook_add(unicorn.UC_HOOK_CODE, enter, None, entry, entry)
    with LinkClient(machine) as client:
        for region in model.regions:
            client.set_dp(region.dp)
            for sample in int8_inputs(model, 1, 3):
                client.infer(sample.tobytes())
    return most[0]


@pytest.mark.parametrize("compiler", ["zig", "gcc", "clang"])
@pytest.mark.parametrize("name", MODELS)
def test_a_run_stays_within_the_bound(tmp_path: Path, name: str, compiler: str) -> None:
    model = MODELS[name]()
    built = firmware(model, compiler, tmp_path)
    run = f"tesla_{model.name}_run"
    bound = stack_bound(built.elf, built.frames, run)
    measured = touched(built.elf, model)
    chain = " > ".join(bound.path)
    print(f"{name}, {compiler}: {measured} B touched, at most {bound.bytes} B: {chain}")
    assert bound.path[0] == run
    assert bound.through_pointers in ((run,), ("done",))
    assert 0.5 * bound.bytes < measured <= bound.bytes


ASSEMBLY = """
.syntax unified
.thumb
.global entry, leaf, looping, computed
.macro function name
    .type \\name, %function
    .thumb_func
    \\name:
.endm
function entry
    push {r4, r5, lr}
    vpush {d8, d9}
    sub sp, #24
    bl leaf
    ldr r0, =0x12345678
    bl leaf
    add sp, #24
    vpop {d8, d9}
    pop {r4, r5, pc}
    .ltorg
    .size entry, . - entry
function leaf
    str r0, [sp, #-8]!
    stmdb sp!, {r1, r2}
    cbz r0, 1f
    b 1f
1:  add sp, #16
    blx r3
    b shared
    .size leaf, . - leaf
function shared
    bx lr
    .size shared, . - shared
function looping
    push {lr}
    bl other
    pop {pc}
    .size looping, . - looping
function other
    b.w looping
    .size other, . - other
function computed
    sub sp, sp, r0
    bx lr
    .size computed, . - computed
function chooser
    push {r4, lr}
    ldr r1, =leaf
    movw r2, #:lower16:table
    movt r2, #:upper16:table
    bl own
    blx r3
    pop {r4, pc}
    .ltorg
    .size chooser, . - chooser
function own
    push {r4}
    adr r0, 1f
    str r0, [sp]
    ldr pc, [sp]
    .align 2
1:  add sp, #4
    bx lr
    .size own, . - own
function high
    push {r4, r5}
    adr r12, 1f
    adr.w r5, high
    str r12, [sp]
    ldr pc, [sp]
    .align 2
1:  add sp, #8
    bx lr
    .size high, . - high
function other_jump
    push {r4}
    add r12, r0, #8
    str r12, [sp]
    ldr pc, [sp]
    .size other_jump, . - other_jump
function elsewhere
    push {r4}
    adr.w r2, 1f
    str r2, [sp]
    b.w partly
1:  pop {r4}
    bx lr
    .size elsewhere, . - elsewhere
function partly
    adds r0, #1
    ldr pc, [sp]
    .size partly, . - partly
function pointed
    sub sp, #48
    add sp, #48
    bx lr
    .size pointed, . - pointed
.section .rodata
table: .word pointed
.section .debug_frame
.word looping
"""
HELIUM = """
.syntax unified
.thumb
.global entry
.type entry, %function
.thumb_func
entry:
    push {r4, lr}
    dls lr, r0
1:  vldrb.8 q0, [r1], #16
    vmladava.s8 r2, q0, q0
    le lr, 1b
    vmax.s8 q0, q0, q1
    bl inner
    pop {r4, pc}
    .size entry, . - entry
.type inner, %function
.thumb_func
inner:
    vctp.8 r0
    vpst
    vstrbt.8 q0, [r1]
    vpush {d8-d15}
    vpop {d8-d15}
    bx lr
    .size inner, . - inner
"""


def assemble(folder: Path, text: str, core: str) -> Path:
    """An ELF of `text`, whose object lies beside it."""
    (folder / "code.s").write_text(text)
    flags = (f"-mcpu={core}", "-mthumb", "-mfpu=auto", "-mfloat-abi=hard", "-nostdlib")
    compiler = require(lambda: find_compiler("gcc"))
    command = [*compiler.command, *flags]
    subprocess.run([*command, "-c", "code.s", "-o", "code.o"], cwd=folder, check=True)
    link = [*command, "code.o", "-o", "code.elf", "-Wl,--entry=entry"]
    subprocess.run(link, cwd=folder, check=True)
    return folder / "code.elf"


@pytest.fixture(scope="module")
def assembled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return assemble(tmp_path_factory.mktemp("assembly"), ASSEMBLY, "cortex-m4")


def test_assembly_is_read_where_no_compiler_told_of_frames(assembled: Path) -> None:
    require(lambda: importlib.import_module("capstone"))
    pushed = 12 + 16 + 24
    expected = StackBound(
        bytes=pushed + 16, path=("entry", "leaf", "shared"), through_pointers=("leaf",)
    )
    assert stack_bound(assembled, {}, "entry") == expected
    assert stack_bound(assembled, {"leaf": 100, "shared": 8}, "entry").bytes == pushed + 108


def test_pointers_lead_to_what_objects_name(assembled: Path) -> None:
    require(lambda: importlib.import_module("capstone"))
    pointed = pointed_functions([assembled.with_suffix(".o")])
    assert pointed == {"leaf", "pointed"}
    alone = stack_bound(assembled, {}, "chooser")
    assert (alone.bytes, alone.through_pointers) == (8 + 4, ("chooser",))
    with pytest.raises(ToolchainError, match="leaf calls itself"):
        stack_bound(assembled, {}, "chooser", pointed)
    expected = StackBound(bytes=8 + 48, path=("chooser", "pointed"), through_pointers=())
    assert stack_bound(assembled, {}, "chooser", {"pointed"}) == expected
    outside = stack_bound(assembled, {}, "chooser", {"pointed"}, {"chooser"})
    assert outside == alone


@pytest.mark.parametrize(("function", "pushed"), [("own", 4), ("high", 8)])
def test_a_jump_within_a_function_is_no_pointer(
    assembled: Path, function: str, pushed: int
) -> None:
    """`adr` of a register from r8 on is `addw` or `subw` to a disassembler."""
    require(lambda: importlib.import_module("capstone"))
    expected = StackBound(bytes=pushed, path=(function,), through_pointers=())
    assert stack_bound(assembled, {}, function) == expected


def test_a_jump_back_to_who_branched_here_is_no_pointer(assembled: Path) -> None:
    require(lambda: importlib.import_module("capstone"))
    expected = StackBound(bytes=4, path=("elsewhere", "partly"), through_pointers=())
    assert stack_bound(assembled, {}, "elsewhere", ("elsewhere",)) == expected


def test_a_jump_to_what_is_no_address_of_its_own_is_a_pointer(assembled: Path) -> None:
    require(lambda: importlib.import_module("capstone"))
    assert stack_bound(assembled, {}, "other_jump").through_pointers == ("other_jump",)


def test_code_behind_helium_is_read(tmp_path: Path) -> None:
    require(lambda: importlib.import_module("capstone"))
    elf = assemble(tmp_path, HELIUM, "cortex-m55")
    expected = StackBound(bytes=8 + 64, path=("entry", "inner"), through_pointers=())
    assert stack_bound(elf, {}, "entry") == expected


def test_only_objects_have_pointers(assembled: Path, tmp_path: Path) -> None:
    (tmp_path / "text.o").write_text("no object")
    for path in (assembled, tmp_path / "text.o"):
        with pytest.raises(ToolchainError, match="is no object"):
            pointed_functions([path])


@pytest.mark.parametrize(
    ("function", "words"),
    [("looping", "calls itself"), ("computed", "by a register"), ("missing", "no function")],
)
def test_what_has_no_bound_is_refused(assembled: Path, function: str, words: str) -> None:
    require(lambda: importlib.import_module("capstone"))
    with pytest.raises(ToolchainError, match=words):
        stack_bound(assembled, {}, function)


def test_frames_of_both_compilers_are_read(tmp_path: Path) -> None:
    gcc, clang = tmp_path / "a.su", tmp_path / "b.su"
    gcc.write_text("src/a.c:68:6:run\t152\tstatic\nsrc/a.c:7:1:one.constprop.0\t8\tstatic\n")
    clang.write_text("src/b.c:68:run\t184\tstatic\n")
    assert read_frames([gcc, clang]) == {"run": 184, "one": 8}
    clang.write_text("src/b.c:9:any\t16\tdynamic\n")
    with pytest.raises(ToolchainError, match="any is dynamic"):
        read_frames([clang])
