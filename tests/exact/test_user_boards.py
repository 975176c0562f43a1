"""A user's own board: the example of the documentation, in QEMU, and what it may bring itself."""

import re
from pathlib import Path

import pytest
from conftest import FAKE_MODEL, require, tools_of
from graphs import quantized_model
from shell import call

from tesla_embed.errors import ConfigError
from tesla_embed.ir.store import save_model
from tesla_host.build import build_firmware
from tesla_host.link.client import LinkClient
from tesla_host.targets import find_target, open_target
from tesla_host.verifier import random_inputs
from tesla_host.workbench import set_up

GUIDE = Path(__file__).parents[2] / "docs" / "adding-a-board.md"
INPUT = bytes(i * 7 % 90 for i in range(1500))
RISCV = """
name = "my-virt"
core = "RV32IMC"
clock_hz = 1_000_000_000
sources = ["uart.c"]
[flash]
origin = 0x8000_0000
bytes = 0x10_0000
[ram]
origin = 0x8010_0000
bytes = 0x10_0000
[qemu]
machine = "virt"
"""
UART_16550 = """
#include "tesla_board.h"
#define UART ((volatile uint8_t *)0x10000000u)
int tesla_board_read_byte(void) {
    return (UART[5] & 1u) != 0u ? UART[0] : -1;
}
void tesla_board_write_byte(uint8_t byte) {
    UART[0] = byte;
}
"""
MORE = """
#include "more.h"
#include "tesla_board.h"
static uint64_t reads;
static uint32_t waits;
tesla_board_info_t tesla_board = {NAME, "core", 7, 2, {{"reads", 0}, {"waits", 0}}};
void tesla_board_init(void) {
    reads = 1000;
}
bool tesla_board_idle(void) {
    waits++;
    return true;
}
void tesla_board_read_counters(uint64_t ticks[TESLA_MAX_COUNTERS]) {
    ticks[0] = reads++ * reads;
    ticks[1] = waits;
}
void tesla_board_stack(uint32_t *size, uint32_t *used) {
    *size = 77;
    *used = 7;
}
"""


READ = {
    "own.c": """
#include "../above.h"
#include "below/more.h"
#include "tesla_board.h"
static const volatile char letters[] =
#include "letters.inc"
    ;
extern const char assembled[];
void tesla_board_init(void) {
    for (const char *at = ABOVE BELOW; *at != 0; at++) {
        tesla_board_write_byte((uint8_t)*at);
    }
    tesla_board_write_byte((uint8_t)letters[tesla_board_read_byte() & 1]);
    tesla_board_write_byte((uint8_t)assembled[tesla_board_read_byte() & 1]);
}
""",
    "../above.h": '#define ABOVE "{}"\n',
    "below/more.h": '#define BELOW "{}"\n',
    "letters.inc": '"{}"\n',
    "part.S": """
.section .rodata.assembled, "a"
.globl assembled
assembled:
.include "part.s.inc"
.incbin "blob.bin"
""",
    "part.s.inc": '.asciz "{}"\n',
    "blob.bin": "{}",
}
"""A user's sources, and what they read in each way there is."""


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """The two files of the guide, as they stand there."""
    folder = tmp_path / "board"
    folder.mkdir()
    for language, name in (("toml", "board.toml"), ("c", "board.c")):
        (text,) = re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(), re.DOTALL)
        (folder / name).write_text(text)
    return folder / "board.toml"


@pytest.fixture
def riscv(tmp_path: Path) -> Path:
    (tmp_path / "uart.c").write_text(UART_16550)
    (tmp_path / "virt.toml").write_text(RISCV)
    return tmp_path / "virt.toml"


@pytest.mark.parametrize("toolchain", ["zig", "gcc", "clang"])
@pytest.mark.parametrize("which", ["board", "riscv"])
def test_verify(which: str, toolchain: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    place: Path = request.getfixturevalue(which)
    require(lambda: tools_of(str(place), toolchain))
    model = tmp_path / "m.safetensors"
    save_model(model, quantized_model(11))
    options = ("--toolchain", toolchain, "--samples", 4, "--device-samples", 4)
    assert call("verify", model, "--target", place, *options) == 0


def test_the_example_has_no_warnings_and_can_be_built(board: Path, tmp_path: Path) -> None:
    for toolchain in find_target(str(board)).toolchains:
        require(lambda toolchain=toolchain: tools_of(str(board), toolchain))  # type: ignore[misc]
        folder = tmp_path / toolchain
        build_firmware(
            FAKE_MODEL, str(board), folder, toolchain=toolchain, extra_flags=("-Werror",)
        )
    save_model(tmp_path / "m.safetensors", quantized_model(11))
    out = tmp_path / "out"
    assert call("build", tmp_path / "m.safetensors", "--target", board, "--out", out) == 0
    assert (out / "firmware.elf").is_file()


def test_systick_counts_far_beyond_its_24_bits(board: Path, tmp_path: Path) -> None:
    """The same count every time; a long one is exact but for an instruction or two in a round."""
    require(lambda: tools_of(str(board)))
    elf = build_firmware(FAKE_MODEL, str(board), tmp_path, extra_flags=("-DFAKE_LONG",)).elf
    with LinkClient(open_target(str(board), elf)) as client:
        hello = client.hello()
        assert (hello.board, hello.cpu, hello.clock_hz) == ("my-lm3s6965", "Cortex-M3", 12_500_000)
        client.load_input(INPUT)
        short = [client.run()[0]["instructions"] for _ in range(3)]
        assert short[0] == short[1] == short[2] > 0
        stack = client.stack()
        assert 0 < stack.used < stack.size == 8192
    with LinkClient(open_target(str(board), elf), run_timeout_s=60) as client:
        client.load_input(b"\x60")
        extra = client.run()[0]["instructions"] - short[0] - 800_000_000
        rounds = 800_000_000 * 3.2 / 2**24
        assert abs(extra) <= 2 * rounds


def test_systick_counts_as_the_catalogues_timers_do(board: Path, tmp_path: Path) -> None:
    """The same code on another board with a Cortex-M3: layer by layer the same instructions."""
    found = []
    for target in (str(board), "qemu:mps2-an385"):
        require(lambda target=target: tools_of(target))  # type: ignore[misc]
        bench = set_up(quantized_model(11), target, tmp_path / target[-4:])
        with bench.connect() as client:
            client.load_input(random_inputs(bench.model, 1)[0].tobytes())
            entries = [
                (client.set_dp(r.dp), *client.run(2), *client.layer_ticks())
                for r in bench.model.regions
            ]
            found.append([[entry["instructions"] for entry in region] for region in entries])
    assert found[0] == found[1]


@pytest.mark.parametrize("which", ["board", "riscv"])
def test_what_the_user_brings_takes_the_place_of_the_default(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    place: Path = request.getfixturevalue(which)
    require(lambda: tools_of(str(place)))
    more = place.parent / "more"
    more.mkdir()
    (more / "more.c").write_text(MORE)
    place.write_text(re.sub(r"(sources = \[.*?)\]", r'\1, "more"]', place.read_text()))
    for name in ("first", "second"):  # a header that changes is noticed
        (more / "more.h").write_text(f'#define NAME "{name}"\n')
        elf = build_firmware(FAKE_MODEL, str(place), tmp_path / "out").elf
        with LinkClient(open_target(str(place), elf)) as client:
            hello = client.hello()
            assert (hello.board, hello.cpu, hello.clock_hz) == (name, "core", 7)
            assert [counter.name for counter in hello.counters] == ["reads", "waits"]
            client.load_input(INPUT)
            ticks = client.run()[0]
            assert ticks["reads"] > 0
            stack = client.stack()
            assert (stack.used, stack.size) == (7, 77)


@pytest.mark.parametrize("toolchain", ["zig", "gcc", "clang"])
def test_whatever_a_source_reads_is_noticed(toolchain: str, riscv: Path, tmp_path: Path) -> None:
    """Regression: only headers right beside the source were looked at."""
    require(lambda: tools_of(str(riscv), toolchain))
    own = tmp_path / "own"
    (own / "below").mkdir(parents=True)
    for place in READ:
        (own / place).write_text(READ[place].replace("{}", "first"))
    riscv.write_text(riscv.read_text().replace('"uart.c"', '"uart.c", "own"'))

    def build() -> bytes:
        extra = (f"-Wa,-I{own}", "-Werror")
        return build_firmware(
            FAKE_MODEL, str(riscv), tmp_path / "out", toolchain=toolchain, extra_flags=extra
        ).elf.read_bytes()

    build()
    objects = sorted((tmp_path / "out" / "objects").iterdir())
    assert build().count(b"first") >= 5
    assert sorted((tmp_path / "out" / "objects").iterdir()) == objects
    for place in ("below/more.h", "../above.h", "letters.inc", "part.s.inc", "blob.bin"):
        word = f"<{Path(place).stem}>"
        (own / place).write_text(READ[place].replace("{}", word))
        assert word.encode() in build(), place


@pytest.mark.parametrize("toolchain", ["zig", "gcc", "clang"])
@pytest.mark.parametrize("interrupt", [None, 45])
def test_behind_a_boot_loader_the_vectors_are_its_own(
    interrupt: int | None, toolchain: str, board: Path, tmp_path: Path
) -> None:
    """Whatever table was in use: SysTick's interrupt must come to this firmware."""
    require(lambda: tools_of(str(board), toolchain))
    registers = require(lambda: __import__("registers"))
    text = board.read_text().replace("origin = 0x0000_0000", "origin = 0x0000_5000")
    if interrupt is not None:
        text = text.replace("[constants]", f"[constants]\nUART_INTERRUPT = {interrupt}")
    board.write_text(text)
    row = find_target(str(board))
    built = build_firmware(FAKE_MODEL, row, tmp_path, toolchain=toolchain)
    ready, uart = registers.pl011(0x4000_C000)
    chip = registers.Chip(ready=ready, uart=uart, clock=row.clock_hz)
    started = registers.Board(row, built.elf, chip, alive=True)
    started.boot(0x5000)
    assert started.written[registers.VECTORS] == 0x5000
    functions = started.functions
    assert started.word(0x5000 + 4 * 15) == functions["SysTick_Handler"] | 1
    if interrupt is not None:
        assert started.word(0x5000 + 4 * (16 + interrupt)) & ~1 == functions["tesla_uart_interrupt"]


def test_an_error_names_the_users_file(board: Path, tmp_path: Path) -> None:
    require(lambda: tools_of(str(board)))
    (board.parent / "board.c").write_text("int x = ;\n")
    with pytest.raises(ConfigError, match=re.escape(str(board.parent / "board.c"))):
        build_firmware(FAKE_MODEL, str(board), tmp_path / "out")
    (board.parent / "board.c").write_text("int nothing_of_a_board;\n")
    with pytest.raises(ConfigError, match="tesla_board_read_byte"):
        build_firmware(FAKE_MODEL, str(board), tmp_path / "out")
    assert ConfigError.exit_code == 2


def test_the_guides_line_that_flashes_builds_for_the_file(
    board: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require(lambda: tools_of(str(board)))
    (command,) = re.findall(r"tesla-embed flash m.safetensors (--board .*)", GUIDE.read_text())
    words = command.replace("board.toml", str(board)).split()
    save_model(tmp_path / "m.safetensors", quantized_model(11))
    options = ("--programmer", "openocd", "--dry-run", "--build-dir", tmp_path / "out")
    assert call("flash", tmp_path / "m.safetensors", *words, *options) == 0
    assert "-f board/ek-lm3s6965.cfg" in capsys.readouterr().out
    assert (tmp_path / "out" / "firmware.elf").is_file()
