"""Every row of the catalogue: the same bits wherever firmware runs, and sound images everywhere."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from conftest import FAKE_MODEL, require, tools_of
from graphs import benchmark_model, every_operation
from graphs.grow import Builder, Cell
from graphs.models import finish, float_inputs

from tesla_codegen.project import generate
from tesla_embed.errors import CodegenError
from tesla_embed.ir.graph import Model
from tesla_embed.ir.interpret import interpret
from tesla_embed.ir.ops import Activation, FullyConnected
from tesla_embed.ir.store import digest
from tesla_embed.ir.verify import verify
from tesla_embed.quant import calibrate, quantize
from tesla_host.boot2 import crc32
from tesla_host.build import BuildResult, build_firmware
from tesla_host.catalogue import TARGETS, Target
from tesla_host.compilers import RISCV
from tesla_host.elf import read_image
from tesla_host.flash.boards import FLASH_BOARDS
from tesla_host.flash.images import read_segments
from tesla_host.link.client import ExpectedModel, LinkClient
from tesla_host.targets import find_target, open_target
from tesla_host.verifier import random_inputs

TOOLCHAINS = ("zig", "gcc", "clang")
ELSEWHERE = ("emulator", "host", "qemu:mps2-an386", "qemu:mps3-an547")  # in tests of their own
ROWS = [row for row in TARGETS if row.name not in ELSEWHERE]
EMULATED = [row.runs_as for row in ROWS if row.runs_as is not None]
COMPILED = [row.name for row in ROWS if row.runs_as is None]
WIRED = [row.name for row in ROWS if "chip" in row.sources]
IMAGE_BLOCK = (0xFFFF_DED3, 0x1021_0142, 0x0000_01FF, 0, 0xAB12_3579)


@cache
def small_model() -> Model:
    """A convolution and two dense layers of 500 weights, in three regions."""
    builder = Builder(np.random.default_rng(5), portable=True)
    builder.begin((6, 6, 2))
    builder.conv(Cell(4, scalable=True), style="keep")
    builder.pool(average=False)
    builder.reshape((builder.last.size,))
    builder.fully_connected(scalable=True, size=9)
    builder.fully_connected(scalable=False, size=5)
    last = builder.ops[-1]
    assert isinstance(last, FullyConnected)
    builder.ops[-1] = replace(last, activation=Activation.NONE)  # negative outputs, too
    model = verify(finish(builder, "small", dps=(30, 60, 100)))
    return quantize(model, calibrate(model, float_inputs(model, 0, 8)))


def build(model: Model, row: Target, toolchain: str, folder: Path) -> BuildResult:
    require(lambda: tools_of(row.name, toolchain))
    generate(model, folder / "project", isa=row.isa)
    return build_firmware(
        folder / "project", row, folder, toolchain=toolchain, extra_flags=("-Werror",)
    )


def expected(model: Model) -> ExpectedModel:
    return ExpectedModel(name=model.name, digest=bytes.fromhex(digest(model)))


def check_bits(client: LinkClient, model: Model, samples: int) -> None:
    inputs = random_inputs(model, samples)
    for region in model.regions:
        client.set_dp(region.dp)
        found = client.infer_many([x.tobytes() for x in inputs])
        for want, got in zip(interpret(model, region, inputs), found, strict=True):
            assert got.output == want.tobytes()


def words(built: BuildResult, address: int, count: int) -> Sequence[int]:
    """Words that the image puts at an address."""
    for segment in read_image(built.elf).segments:
        at = address - segment.address
        if 0 <= at <= len(segment.data) - 4 * count:
            return np.frombuffer(segment.data, "<u4", count, at).tolist()
    raise AssertionError(f"nothing at 0x{address:08x}")


def vectors_of(row: Target) -> int:
    """Where the vector table stands: at the start of flash, or behind the second boot stage."""
    assert row.flash is not None
    return row.flash.origin + (256 if "rp2040" in row.sources else 0)


def check_image(row: Target, built: BuildResult) -> None:
    """The vector table, and what the chip's ROM asks for, stand where they are looked for."""
    assert row.core is not None and row.flash is not None and row.ram is not None
    functions = read_image(built.elf).symbols
    if row.core.architecture == RISCV:  # which begins with code
        assert functions.function_at(row.flash.origin) == "Reset_Handler"
    else:
        stack, reset = words(built, vectors_of(row), 2)
        assert stack == row.ram.origin + row.stack_bytes
        assert reset & 1 and functions.function_at(reset & ~1) == "Reset_Handler"
    if "chip" in row.sources:
        number = dict(row.constants)["UART_INTERRUPT"]
        (handler,) = words(built, vectors_of(row) + 4 * (16 + number), 1)
        assert functions.function_at(handler & ~1) == "tesla_uart_interrupt"
    assert built.flash_bytes <= row.flash.bytes
    assert built.ram_bytes + built.stack_bytes <= row.ram.bytes
    if "rp2040" in row.sources:
        *stage, seal = words(built, row.flash.origin, 64)
        assert seal == crc32(np.array(stage, "<u4").tobytes()) != 0
    if "rp2350" in row.sources:
        first = words(built, row.flash.origin, 1024)  # it must begin in the first 4 KiB
        assert IMAGE_BLOCK in {tuple(first[at : at + 5]) for at in range(1020)}
    for board in FLASH_BOARDS:
        if board.target == row.name:
            assert read_segments(built.elf, board)


@pytest.mark.parametrize("toolchain", TOOLCHAINS)
@pytest.mark.parametrize("target", EMULATED)
def test_emulated(target: str, toolchain: str, tmp_path: Path) -> None:
    """The firmware of the row equals the interpreter, and counts the same each time."""
    row, model = find_target(target), small_model()
    require(lambda: tools_of(target, toolchain))
    built = build(model, row, toolchain, tmp_path)
    check_image(row, built)
    with LinkClient(open_target(target, built.elf), expected(model)) as client:
        hello = client.hello()
        assert (hello.board, hello.cpu) == (row.name, row.cpu)
        assert [counter.name for counter in hello.counters] == ["instructions"]
        check_bits(client, model, 6)
        runs = {run["instructions"] for run in client.run(4)}
        layers = sum(layer["instructions"] for layer in client.layer_ticks())
        assert len(runs) == 1 and 0 < runs.pop() - layers < 100
        assert client.stack().used < row.stack_bytes // 2


@pytest.mark.parametrize("toolchain", TOOLCHAINS)
@pytest.mark.parametrize("target", COMPILED)
def test_compiled(target: str, toolchain: str, tmp_path: Path) -> None:
    """Builds without a warning, and the whole firmware runs against a model of its registers."""
    registers = require(lambda: __import__("registers"))
    row, model = find_target(target), small_model()
    built = build(model, row, toolchain, tmp_path)
    check_image(row, built)
    board = registers.Board(row, built.elf, registers.chip_of(row), alive=True)
    board.boot(vectors_of(row))
    with LinkClient(board, expected(model)) as client:
        hello = client.hello()
        assert (hello.board, hello.cpu, hello.clock_hz) == (row.name, row.cpu, row.clock_hz)
        assert [(counter.name, counter.hz) for counter in hello.counters] == [
            ("cycles", row.clock_hz)
        ]
        assert abs(board.baud() / 115_200 - 1) < 0.01
        assert board.wrongly_wired() == {}
        check_bits(client, model, 2)


@pytest.mark.parametrize("target", WIRED)
def test_no_clock_ever_ready(target: str, tmp_path: Path) -> None:
    """Every wait has an end: without a single ready bit the firmware comes up all the same.

    Its UART is connected as on the board: QEMU, which runs some of them, knows nothing of pins.
    """
    registers = require(lambda: __import__("registers"))
    row = find_target(target)
    built = build(small_model(), row, "gcc", tmp_path)
    board = registers.Board(row, built.elf, registers.chip_of(row), alive=False)
    board.boot(vectors_of(row))
    assert board.wrongly_wired() == {}


def test_second_boot_stage(tmp_path: Path) -> None:
    """The RP2040's ROM copies it into RAM and runs it there: it sets up the flash and goes on."""
    registers = require(lambda: __import__("registers"))
    row = find_target("pico")
    built = build(small_model(), row, "gcc", tmp_path)
    board = registers.Board(row, built.elf, registers.chip_of(row), alive=True)
    stage = np.array(words(built, 0x1000_0000, 64), "<u4").tobytes()
    board.cpu.mem_write(0x2004_1F00, stage)
    _stack, reset = words(built, 0x1000_0100, 2)
    board.run(0x2004_1F00, reset & ~1)
    written = {at - 0x1800_0000: value for at, value in board.written.items()}
    assert written[0x00] == 0x001F_0300 and written[0xF4] == 0x0300_0218
    assert (written[0x08], written[0x14], written[0x04]) == (1, 4, 0)
    assert board.written[0xE000_ED08] == 0x1000_0100


@pytest.mark.parametrize(
    ("target", "reference"),
    [("qemu:netduinoplus2", "emulator"), ("qemu:lm3s6965evb", "qemu:mps2-an385")],
)
def test_counts_over_many_rounds_of_systick(target: str, reference: str, tmp_path: Path) -> None:
    """24 bits of SysTick, its interrupt taken off: as many instructions as others count."""
    model = benchmark_model("ic01")
    counts = []
    for name in (target, reference):
        require(lambda name=name: tools_of(name, "gcc"))  # type: ignore[misc]
        built = build(model, find_target(name), "gcc", tmp_path / name[-5:])
        pipe = open_target(name, built.elf)
        with LinkClient(pipe, expected(model), timeout_s=5.0, run_timeout_s=60.0) as client:
            client.load_input(random_inputs(model, 1)[0].tobytes())
            entries = [*client.run(8), *client.layer_ticks()]
            counts.append([entry["instructions"] for entry in entries])
    assert counts[0] == counts[1]
    assert sum(counts[0][:8]) > 2_000_000  # of which a round has 390,000 and 1,310,000


def test_a_timer_of_32_bits_goes_round(tmp_path: Path) -> None:
    """The micro:bit's goes round after 1,048,576,000 instructions, of which none are lost.

    The interrupt that looks at it twice in a round takes some itself, as the only thing that is not
    the same in both runs.
    """
    row, rounds = find_target("qemu:microbit"), []
    for times in (1, 3):
        require(lambda: tools_of(row.name, "gcc"))
        flags = (f"-DFAKE_LONG={times}",)
        built = build_firmware(FAKE_MODEL, row, tmp_path / str(times), extra_flags=flags)
        pipe = open_target("qemu:microbit", built.elf)
        with LinkClient(pipe, timeout_s=5.0, run_timeout_s=120.0) as client:
            client.load_input(b"\x60")
            rounds.append(client.run()[0]["instructions"])
    once, thrice = rounds
    assert 800_000_000 <= once < 801_000_000
    assert abs(thrice - once - 1_600_000_000) <= 4 * 40


def test_a_network_too_large_for_a_board(tmp_path: Path) -> None:
    row = find_target("stm32vldiscovery")
    with pytest.raises(CodegenError, match=r"not fit stm32vldiscovery: [\d,]+ bytes of RAM too"):
        build(benchmark_model("ic01"), row, "gcc", tmp_path)


@pytest.mark.parametrize("toolchain", TOOLCHAINS)
def test_every_operation_on_a_small_core(toolchain: str, tmp_path: Path) -> None:
    """Armv6-M faults at unaligned accesses: no kernel makes one."""
    row, model = find_target("emulator:m0plus"), every_operation()
    require(lambda: tools_of(row.name, toolchain))
    built = build(model, row, toolchain, tmp_path)
    with LinkClient(open_target(row.name, built.elf), expected(model)) as client:
        check_bits(client, model, 2)
