"""A user's own board: what its file may say, and what is answered to everything else."""

from pathlib import Path

import pytest

from tesla_embed.errors import ConfigError
from tesla_host import board
from tesla_host.catalogue import TARGETS, Memory, Qemu
from tesla_host.catalogue.user import known_cores, user_target
from tesla_host.flash.boards import Uf2, find_flash_board
from tesla_host.targets import check_target, find_target, open_target

GOOD = """
name = "mine"
core = "Cortex-M4"
clock_hz = 16_000_000
sources = ["board.c"]
{members}
[flash]
origin = 0x0800_0000
bytes = 0x2_0000
[ram]
origin = 0x2000_0000
bytes = 0x5000
{tables}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "board.c").write_text("")
    (tmp_path / "drivers" / "deep").mkdir(parents=True)
    (tmp_path / "drivers" / "uart.c").write_text("")
    (tmp_path / "drivers" / "deep" / "fast.S").write_text("")
    (tmp_path / "drivers" / "uart.h").write_text("")
    (tmp_path / "empty").mkdir()
    return tmp_path / "mine.toml"


def write(place: Path, members: str = "", tables: str = "", **changed: str) -> Path:
    text = GOOD.format(members=members, tables=tables)
    for old, new in changed.items():
        lines = [line for line in text.splitlines() if line.startswith(f"{old} = ")]
        text = text.replace(lines[0], new, 1)
    place.write_text(text)
    return place


def test_what_is_left_out_has_defaults(place: Path) -> None:
    row = user_target(write(place))
    assert (row.name, row.cpu, row.compiler) == ("mine", "Cortex-M4", "zig")
    assert row.flash == Memory(origin=0x0800_0000, bytes=128 << 10)
    assert row.ram == Memory(origin=0x2000_0000, bytes=20 << 10)
    assert (row.stack_bytes, row.receive_bytes, row.constants, row.qemu) == (8192, 0, (), None)
    assert row.files == (place.parent / "board.c",)
    assert "mine.toml" in row.description


def test_everything_that_may_be_said(place: Path) -> None:
    members = 'stack_bytes = 4096\nreceive_bytes = 64\ntoolchains = ["gcc"]\ndescription = "D"'
    tables = '[constants]\nUART = 0x4000_0000\n[qemu]\nmachine = "netduinoplus2"\nserial = 1\n'
    row = user_target(write(place, members, tables, sources='sources = ["drivers", "board.c"]'))
    assert (row.stack_bytes, row.receive_bytes, row.toolchains) == (4096, 64, ("gcc",))
    assert row.qemu == Qemu(machine="netduinoplus2", icount_shift=8, timer_hz=16_000_000, serial=1)
    assert [file.name for file in row.files] == ["fast.S", "uart.c", "board.c"]
    text = board.header(row)
    assert "#define TESLA_TARGET_UART 0x40000000u\n" in text
    assert "#define TESLA_TARGET_INSTRUCTIONS_OF_TICKS" in text


def test_risc_v_counts_by_its_own_counter(place: Path) -> None:
    core = 'core = "RV32IMC"'
    row = user_target(write(place, "", '[qemu]\nmachine = "virt"', core=core))
    assert row.qemu is not None
    assert (row.qemu.program, row.qemu.instructions_per_tick) == ("qemu-system-riscv32", 1)
    write(place, "", '[qemu]\nmachine = "virt"\ntimer_hz = 5', core=core)
    with pytest.raises(ConfigError, match=r"on RISC-V minstret counts; leave out qemu.timer_hz"):
        user_target(place)


def test_every_core_of_the_catalogue_can_be_named() -> None:
    used = {row.core.name: row.core for row in TARGETS if row.core is not None}
    assert used.items() <= known_cores().items()


WRONG = {
    "a member that is spelled wrong": (
        {"members": "clock = 5"},
        r"mine.toml: nothing is called clock; do you mean 'clock_hz'\?",
    ),
    "a member that resembles none": (
        {"members": "xyzzy = 5"},
        "nothing is called xyzzy; there are name, core, clock_hz",
    ),
    "a member of a table": (
        {"tables": "[qemu]\nmashine = 'x'"},
        r"nothing is called qemu.mashine; do you mean 'machine'\?",
    ),
    "a wrong type": ({"clock_hz": 'clock_hz = "fast"'}, r"Expected `int`, got `str`.*clock_hz"),
    "a missing member": ({"core": ""}, "missing required field `core`"),
    "no number": ({"clock_hz": "clock_hz = 0"}, "Expected `int` >= 1"),
    "a name for no header": ({"name": "name = 'a\"b'"}, "matching regex.*name"),
    "no TOML": ({"members": "= 5"}, "mine.toml is no TOML file: .*line 6"),
    "an unknown core": (
        {"core": 'core = "Cortex-M44"'},
        r"no core is called 'Cortex-M44'; do you mean 'Cortex-M4'\? There are Cortex-M0,",
    ),
    "a toolchain": ({"members": 'toolchains = ["icc"]'}, "not built with 'icc'; use zig or gcc or"),
    "no such source": ({"sources": 'sources = ["uart.c"]'}, "uart.c, which does not exist"),
    "no source at all": ({"sources": "sources = []"}, "length >= 1 - at `.*sources"),
    "a header": (
        {"sources": 'sources = ["board.c", "drivers/uart.h"]'},
        r"uart\.h is a header, and nothing compiles it; leave it out of sources",
    ),
    "a foreign source": ({"sources": 'sources = ["mine.toml"]'}, "neither .c nor .S; correct"),
    "an empty folder": ({"sources": 'sources = ["empty"]'}, "no .c or .S file lies in .*empty"),
    "too much flash": ({"bytes": "bytes = 0xF800_0001"}, "flash ends behind the last address"),
    "memories that overlap": ({"bytes": "bytes = 0x1800_0001"}, "flash and ram overlap"),
    "a crooked stack": ({"members": "stack_bytes = 4097"}, "stack_bytes is 4097; give a multiple"),
    "a huge stack": ({"members": "stack_bytes = 20480"}, "a multiple of 16 below ram.bytes"),
    "a constant that exists": ({"tables": "[constants]\nNAME = 1"}, "constants.NAME exists"),
    "a constant of QEMU's": (
        {"tables": "[constants]\nTICKS_OF_INSTRUCTIONS = 1"},
        "constants.TICKS_OF_INSTRUCTIONS exists",
    ),
    "the guard of the header": ({"tables": "[constants]\nH = 1"}, "constants.H exists"),
    "a buffer larger than RAM": (
        {"members": "receive_bytes = 0xFFFF_FFFF"},
        "receive_bytes is 4294967295, more than the RAM",
    ),
    "an interrupt that no core has": (
        {"tables": "[constants]\nUART_INTERRUPT = 480"},
        "no Cortex-M has an interrupt 480",
    ),
    "a constant for no macro": ({"tables": "[constants]\nuart = 1"}, "matching regex"),
    "ticks that are too few": (
        {"tables": "[qemu]\nmachine = 'x'\nicount_shift = 7"},
        "timer_hz 16000000 and qemu.icount_shift 7 .* give a larger icount_shift",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_refused(case: str, place: Path) -> None:
    changes, message = WRONG[case]
    write(place, **changes)
    with pytest.raises(ConfigError, match=message):
        find_target(str(place))


@pytest.mark.parametrize(
    ("memory", "origin", "tables", "step"),
    [
        ("flash", 0x0800_0003, "", 128),
        ("flash", 0x0800_0040, "", 128),
        ("flash", 0x0800_0080, "[constants]\nUART_INTERRUPT = 38", 256),
        ("flash", 0x0800_0400, "[constants]\nUART_INTERRUPT = 479", 2048),
        ("ram", 0x2000_0001, "", 16),
        ("ram", 0x2000_0008, "", 16),
    ],
)
def test_memories_begin_at_round_addresses(
    place: Path, memory: str, origin: int, tables: str, step: int
) -> None:
    for at in (origin, origin - origin % step):
        text = write(place, "", tables).read_text()
        before = {"flash": "origin = 0x0800_0000", "ram": "origin = 0x2000_0000"}[memory]
        place.write_text(text.replace(before, f"origin = {at:#x}"))
        if at == origin:
            with pytest.raises(ConfigError, match=rf"{memory}.origin is .*multiple of {step}$"):
                user_target(place)
        else:
            assert getattr(user_target(place), memory).origin == at


def test_flash_of_risc_v_has_no_table_of_vectors(place: Path) -> None:
    """As behind the head of an image that a ROM loads."""
    write(place, core='core = "RV32IMC"')
    place.write_text(place.read_text().replace("0x0800_0000", "0x4200_0020"))
    row = user_target(place)
    assert row.flash is not None and row.flash.origin == 0x4200_0020


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*none.toml: No such file"):
        find_target(str(tmp_path / "none.toml"))


def test_both_spellings_name_a_board_in_qemu(place: Path) -> None:
    write(place, "", '[qemu]\nmachine = "netduinoplus2"')
    for name in (str(place), f"qemu:{place}"):
        check_target(name)
        assert find_target(name).name == "mine"


def test_a_board_that_nothing_emulates_is_not_run(place: Path) -> None:
    write(place)
    with pytest.raises(ConfigError, match="is a board: build or flash its firmware"):
        open_target(str(place), place)


def test_flashing(place: Path) -> None:
    write(place)
    with pytest.raises(ConfigError, match="does not say how to flash mine; add a table"):
        find_flash_board(str(place))
    tables = '[programmers]\njlink = "STM32F401RE"\nopenocd = ["-f", "board.cfg"]\n'
    drive = "uf2 = {family = 1, board_id = 'B'}"
    found = find_flash_board(str(write(place, "", tables + drive)))
    assert (found.name, found.target) == ("mine", str(place))
    assert (found.jlink, found.openocd) == ("STM32F401RE", ("-f", "board.cfg"))
    assert found.uf2 == Uf2(family=1, board_id="B")
    assert (found.pyocd, found.stlink) == ("", False)
    assert found.flash == Memory(origin=0x0800_0000, bytes=128 << 10)
