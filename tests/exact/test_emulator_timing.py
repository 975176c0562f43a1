"""Cycle estimates of hand-assembled Thumb-2: the figures of the Cortex-M4 reference manual."""

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def timing(require_tool: Callable[[Callable[[], Any]], Any]) -> Any:
    def module() -> Any:
        from tesla_host.emulator import timing

        return timing

    return require_tool(module)


ONE = [
    ("adds r0, #1", "0130", "alu", 1),
    ("sxtb16 r0, r1", "2ffa81f0", "alu", 1),
    ("ssat r0, #8, r0", "00f30700", "alu", 1),
    ("moveq behind it", "08bf0020", "alu", 2),
    ("muls r0, r1, r0", "4843", "multiply", 1),
    ("smlad r0, r1, r2, r3", "21fb0230", "multiply", 1),
    ("smull r0, r1, r2, r3", "82fb0301", "multiply", 1),
    ("smmul r0, r1, r2", "51fb02f0", "multiply", 1),
    ("mla r0, r1, r2, r3", "01fb0230", "multiply-accumulate", 2),
    ("mls r0, r1, r2, r3", "01fb1230", "multiply-accumulate", 2),
    ("sdiv r0, r1, r2", "91fbf2f0", "divide", 12),
    ("ldr r0, [r1]", "0868", "load", 2),
    ("ldrsb r0, [r1, r2]", "8856", "load", 2),
    ("ldr r0, [pc, #0]", "0048", "load", 2),
    ("str r0, [r1]", "0860", "store", 1),
    ("str r0, [r1, r2]", "8850", "store", 2),
    ("ldrd r0, r1, [r2]", "d2e90001", "load-multiple", 3),
    ("strd r0, r1, [r2]", "c2e90001", "store-multiple", 3),
    ("ldm r0!, {r1, r2, r3}", "0ec8", "load-multiple", 4),
    ("stm r0!, {r1, r2}", "06c0", "store-multiple", 3),
    ("push {r4, lr}", "10b5", "store-multiple", 3),
    ("mrs r0, primask", "eff31080", "system", 2),
    ("vadd.f32 s0, s0, s1", "30ee200a", "float", 1),
    ("vmla.f32 s0, s0, s1", "00ee200a", "float-multiply-accumulate", 3),
    ("vdiv.f32 s0, s0, s1", "80ee200a", "float-divide", 14),
    ("vldr s0, [r0]", "90ed000a", "load", 2),
]


@pytest.mark.parametrize(("text", "code", "name", "cycles"), ONE, ids=[row[0] for row in ONE])
def test_single_instructions(timing: Any, text: str, code: str, name: str, cycles: int) -> None:
    block = timing.block_timing(bytes.fromhex(code), 0x100)
    assert dict(block.classes) == ({name: 1} if "it" not in text.split() else {name: 2})
    assert (block.cycles, block.taken_penalty) == (cycles, 0)


LEAVING = [
    ("b", "fee7", 1),
    ("beq", "fed0", 1),
    ("bl", "fff7feff", 1),
    ("bx lr", "7047", 1),
    ("cbz r0", "00b1", 1),
    ("tbb [pc, r0]", "dfe800f0", 2),
    ("pop {r4, pc}", "10bd", 3),
    ("ldr pc, [r0]", "d0f800f0", 2),
    ("mov pc, r0", "8746", 1),
]


@pytest.mark.parametrize(("text", "code", "cycles"), LEAVING, ids=[row[0] for row in LEAVING])
def test_taken_branches_refill_the_pipeline(timing: Any, text: str, code: str, cycles: int) -> None:
    block = timing.block_timing(bytes.fromhex(code), 0x100)
    assert (block.cycles, block.taken_penalty) == (cycles, 2)


SEQUENCES = [
    ("independent loads pipeline", "0868 1a68 2c68", 2 + 1 + 1),
    ("a load whose base is loaded waits", "0868 0168", 2 + 2),
    ("a load after write-back waits", "51f8040b 1a68", 2 + 2),
    ("a base from the ALU costs one more", "0431 0868", 1 + 3),
    ("a load behind a multiply of other registers", "4843 1a68", 1 + 2),
    ("stores do not pipeline", "0860 1a60", 1 + 1),
]


@pytest.mark.parametrize(("text", "code", "cycles"), SEQUENCES, ids=[row[0] for row in SEQUENCES])
def test_neighbours(timing: Any, text: str, code: str, cycles: int) -> None:
    assert timing.block_timing(bytes.fromhex(code), 0x100).cycles == cycles


def test_what_the_disassembler_does_not_know_is_counted(timing: Any) -> None:
    block = timing.block_timing(bytes.fromhex("ffffffff 0130"), 0x100)
    assert dict(block.classes) == {"unknown": 1, "alu": 1}


def test_every_class_has_a_price(timing: Any) -> None:
    named = {name for name, _ in timing._PREFIXES} | {
        "alu",
        "branch",
        "multiply-accumulate",
        "unknown",
    }
    assert named == set(timing.CYCLES)


class Cpu:
    stops = 0

    def emu_stop(self) -> None:
        self.stops += 1


def test_blocks_add_up(timing: Any) -> None:
    from tesla_host.emulator.blocks import BlockCounter

    code = {0x100: bytes.fromhex("0130 fdd1"), 0x104: bytes.fromhex("7047")}
    counter, cpu = BlockCounter(lambda address, size: code[address][:size]), Cpu()
    counter.limit = 23
    for _ in range(10):  # adds, bne: nine times back, then through
        counter.enter(cpu, 0x100, 4)
    counter.enter(cpu, 0x104, 2)
    counter.enter(cpu, 0x100, 4)
    assert cpu.stops == 0
    assert counter.instructions == 10 * 2 + 1 + 2
    assert counter.cycles() == 10 * 2 + 9 * 2 + (1 + 2) + 2
    assert counter.classes() == {"alu": 11, "branch": 12}
    counter.enter(cpu, 0x100, 4)
    assert (cpu.stops, counter.instructions) == (1, 23)
