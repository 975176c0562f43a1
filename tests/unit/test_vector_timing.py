"""The model of a Cortex-M55: units by encodings, cycles of a block, and QEMU's trace."""

import pytest

from tesla_embed.errors import DeviceError
from tesla_host.emulator.traces import executed_blocks
from tesla_host.emulator.vector_timing import Unit, VectorTiming, classify, vector_timing

ENCODINGS = {
    "vldrb.u8 q0, [r0], #16": (0xECB0, 0x1E10, Unit.MEMORY),
    "vldrh.u16 q0, [r0, #16]": (0xED90, 0x1E88, Unit.MEMORY),
    "vldrb.s16 q1, [r2]": (0xED92, 0x2E80, Unit.MEMORY),
    "vstrb.8 q1, [r2]": (0xED82, 0x3E00, Unit.MEMORY),
    "vld20.8 {q0, q1}, [r0]": (0xFC90, 0x1E00, Unit.MEMORY),
    "vldrb.u32 q1, [r2, q3]": (0xFC92, 0x2F06, Unit.GATHER),
    "vldrw.u32 q1, [q3, #8]": (0xFD96, 0x3E02, Unit.GATHER),
    "vstrb.16 q1, [r2, q3]": (0xEC82, 0x2E86, Unit.GATHER),
    "vmladava.s8 r0, q0, q1": (0xEEF0, 0x0F22, Unit.ARITHMETIC),
    "vadd.i32 q0, q1, q2": (0xEF22, 0x0844, Unit.ARITHMETIC),
    "vqrdmulh.s32 q0, q1, r3": (0xFE23, 0x0E63, Unit.ARITHMETIC),
    "vqmovnb.s32 q0, q1": (0xEE37, 0x0E03, Unit.ARITHMETIC),
    "vmov q0[2], q0[0], r2, r3": (0xEC13, 0x0F02, Unit.SCALAR),
    "vpush {d8-d15}": (0xED2D, 0x8B10, Unit.SCALAR),
    "vldr s0, [r1]": (0xED91, 0x0A00, Unit.SCALAR),
    "dls lr, r4": (0xF044, 0xE001, Unit.LOOP),
    "wls lr, r4": (0xF044, 0xC01F, Unit.LOOP),
    "le lr": (0xF00F, 0xC003, Unit.LOOP),
    "letp lr": (0xF01F, 0xC009, Unit.LOOP),
    "bl": (0xF000, 0xF80C, Unit.SCALAR),
    "b.w": (0xF000, 0xB80A, Unit.SCALAR),
    "bne.w": (0xF040, 0x8008, Unit.SCALAR),
    "movw r0, #4660": (0xF241, 0x2034, Unit.SCALAR),
    "smlad r0, r1, r2, r3": (0xFB21, 0x3002, Unit.SCALAR),
    "ldrd r0, r1, [r2]": (0xE9D2, 0x0100, Unit.SCALAR),
    "adds r0, r1, r2": (0x1888, 0, Unit.SCALAR),
}
"""As Arm's assembler makes them."""
LOAD, MAC, SCATTER = (0xECB0, 0x1E10), (0xEEF0, 0x0F22), (0xEC82, 0x2E86)
ADD, LOOP = (0x1888,), (0xF00F, 0xC003)
TRACE = """----------------
IN: start
0x00000100:  2300       movs     r3, #0
0x00000102:  f240 0100  movw     r1, #0

Trace 0: 0x7f00 [0080044a/00000100/00000150/ff020200] start
Trace 0: 0x7f00 [0080044a/00000100/00000150/ff020200] start
Stopped execution of TB chain before 0x7f00 [00000100] start
Trace 0: 0x7f00 [0080044a/00000100/00000150/ff020200] start
cpu_io_recompile: rewound execution of TB to 00000102
----------------
IN: start
0x00000102:  f240 0100  movw     r1, #0

Trace 0: 0x7f40 [0080044a/00000102/00000150/ff028001] start
Trace 0: 0x7f00 [0080044a/00000100/00000150/ff020200] start
"""


def code(*instructions: tuple[int, ...]) -> bytes:
    return b"".join(half.to_bytes(2, "little") for one in instructions for half in one)


@pytest.mark.parametrize("name", ENCODINGS)
def test_units(name: str) -> None:
    first, second, unit = ENCODINGS[name]
    assert classify(first, second) is unit


@pytest.mark.parametrize(
    ("block", "before", "cycles", "last"),
    [
        ((ADD, ADD, LOOP), None, 2, None),
        ((LOAD, MAC, LOAD, MAC), None, 5, Unit.ARITHMETIC),
        ((LOAD, MAC, LOAD, MAC, LOOP), Unit.ARITHMETIC, 4, Unit.ARITHMETIC),
        ((MAC, MAC), Unit.ARITHMETIC, 4, Unit.ARITHMETIC),
        ((LOAD, ADD, MAC), None, 5, Unit.ARITHMETIC),
        ((MAC, SCATTER, MAC), None, 7, Unit.ARITHMETIC),
    ],
)
def test_cycles(
    block: tuple[tuple[int, ...], ...], before: Unit | None, cycles: int, last: Unit | None
) -> None:
    assert vector_timing(code(*block), before) == VectorTiming(len(block), cycles, last)


def test_what_a_trace_takes_back_was_not_executed() -> None:
    found = list(executed_blocks(TRACE.splitlines(keepends=True)))
    assert found == [(0x100, 0x106), (0x100, 0x102), (0x102, 0x106), (0x100, 0x106)]


def test_a_trace_without_its_translations_is_refused() -> None:
    lines = [line for line in TRACE.splitlines(keepends=True) if not line.startswith("0x")]
    with pytest.raises(DeviceError, match="executes 0x00000100, which was not translated"):
        list(executed_blocks(lines))
