"""What flashing writes and says, computed by hand: images, command lines, drives."""

import errno
import os
import random
import shlex
import struct
from pathlib import Path

import pytest
from shell import call
from tiny_elf import DIGEST, write_elf

from tesla_embed.errors import ConfigError, DeviceError, ToolchainError
from tesla_host.apps import LINK, MLPERF_TINY
from tesla_host.elf import Segment, read_image
from tesla_host.flash import drives
from tesla_host.flash.boards import FLASH_BOARDS, Esp, FlashBoard, find_flash_board
from tesla_host.flash.commands import Wishes, choose_programmer, make_plan, prepare, render
from tesla_host.flash.images import encode_bin, encode_hex, read_segments
from tesla_host.flash.programmers import PROGRAMMERS, find_programmer
from tesla_host.flash.uf2 import encode_uf2
from tesla_host.flash.verify import read_identity
from tesla_host.targets import find_target

PICO, NUCLEO = find_flash_board("pico"), find_flash_board("nucleo-f446re")
ESP = FlashBoard(
    name="esp",
    target="nrf52840-dk",  # for its flash, from 0: no row is of Espressif's
    esp=Esp(chip="esp32c3", offset=0x1000),
)


def random_segments(seed: int) -> list[Segment]:
    rng = random.Random(seed)
    address, found = 0x1000_0000, []
    for _ in range(rng.randint(1, 6)):
        address += rng.choice([0, 1, 17, 256, 4096, 0x12345])
        data = rng.randbytes(rng.randint(1, 1200))
        found.append(Segment(address=address, data=data))
        address += len(data)
    return found


def memory(segments: list[Segment]) -> dict[int, int]:
    return {s.address + i: byte for s in segments for i, byte in enumerate(s.data)}


def decode_uf2(content: bytes, family: int) -> dict[int, int]:
    """Flash as a boot loader leaves it, by the specification's rules for every block."""
    assert len(content) % 512 == 0
    found: dict[int, int] = {}
    count = len(content) // 512
    for number in range(count):
        block = content[number * 512 :][:512]
        start = struct.unpack_from("<8I", block)
        assert start[:3] == (0x0A324655, 0x9E5D5157, 0x2000)
        assert block[508:] == bytes.fromhex("306fb10a")
        address, size, *numbers, chip = start[3:]
        assert (size, numbers, chip) == (256, [number, count], family)
        assert address % 256 == 0 and address not in found
        found |= {address + i: block[32 + i] for i in range(size)}
        assert not any(block[32 + size : 508])
    return found


@pytest.mark.parametrize("seed", range(20))
def test_uf2_decodes_to_the_same_memory(seed: int) -> None:
    segments = random_segments(seed)
    family = 0xE48BFF56
    found, wanted = decode_uf2(encode_uf2(segments, family), family), memory(segments)
    assert wanted.items() <= found.items()
    assert all(found[address] == 0xFF for address in found.keys() - wanted.keys())
    assert {address - address % 256 for address in wanted} == {a - a % 256 for a in found}


def decode_hex(content: bytes) -> dict[int, int]:
    found: dict[int, int] = {}
    upper = 0
    lines = content.decode("ascii").splitlines()
    for line in lines:
        record = bytes.fromhex(line.removeprefix(":"))
        assert line[0] == ":" and sum(record) % 256 == 0 and record[0] == len(record) - 5
        address, kind, data = int.from_bytes(record[1:3]), record[3], record[4:-1]
        if kind == 4:
            upper = int.from_bytes(data) << 16
        elif kind == 0:
            assert address + len(data) <= 0x10000
            found |= {upper + address + i: byte for i, byte in enumerate(data)}
    assert lines[-1] == ":00000001FF"
    return found


@pytest.mark.parametrize("seed", range(20))
def test_hex_decodes_to_the_same_memory(seed: int) -> None:
    segments = random_segments(seed)
    assert decode_hex(encode_hex(segments)) == memory(segments)
    low = [Segment(address=s.address - 0x1000_0000, data=s.data) for s in segments]
    assert decode_hex(encode_hex(low)) == memory(low)


def test_bin_begins_at_the_base_and_fills_gaps() -> None:
    segments = [Segment(address=0x14, data=b"ab"), Segment(address=0x10, data=b"x")]
    assert encode_bin(segments, 0x0E) == b"\xff\xffx\xff\xff\xffab"


def test_boards_have_names_of_their_own_and_a_programmer() -> None:
    assert len({board.name for board in FLASH_BOARDS}) == len(FLASH_BOARDS)
    for board in FLASH_BOARDS:
        assert sum(row.supports(board) for row in PROGRAMMERS) >= 4, board.name
    with pytest.raises(ConfigError, match="nothing is known about flashing a 'x'; there are nuc"):
        find_flash_board("x")
    with pytest.raises(ConfigError, match="there are uf2, openocd"):
        find_programmer("x")


def test_what_is_written_lies_in_the_flash_of_the_catalogue(tmp_path: Path) -> None:
    for board in FLASH_BOARDS:
        assert find_target(board.target).name == board.name and board.flash.bytes, board.name
    for address in (0x07FF_FFFF, NUCLEO.flash.origin + NUCLEO.flash.bytes):
        elf = write_elf(tmp_path / "fw.elf", address, DIGEST)
        with pytest.raises(ConfigError, match=r"flash of nucleo-f446re \(0x08000000 to 0x0807ffff"):
            read_segments(elf, NUCLEO)
    with pytest.raises(ConfigError, match="host has no flash to write"):
        _ = FlashBoard(name="host", target="host").flash


def test_words_are_rendered_one_by_one() -> None:
    values = {"a": ("1", "2"), "none": (), "b": "3 4"}
    words = ("{a}", "{none}", "{b}", "-S{b}", "{{{b}}}", "plain")
    assert render(words, values) == ("1", "2", "3 4", "-S3 4", "{3 4}", "plain")


LINES = {
    ("nucleo-f446re", "openocd"): "openocd -f interface/stlink.cfg -f target/stm32f4x.cfg "
    "-c 'adapter serial S' X -c 'program {E} verify reset exit'",
    ("nrf52840-dk", "openocd"): "openocd -f interface/jlink.cfg -c 'transport select swd' "
    "-f target/nrf52.cfg -c 'adapter serial S' X -c 'program {E} verify reset exit'",
    (
        "nucleo-h743zi",
        "pyocd",
    ): "pyocd load --no-wait --target stm32h743xx --uid S X --format elf E",
    ("pico2", "jlink"): "JLinkExe -NoGui 1 -ExitOnError 1 -AutoConnect 1 -Device RP2350_M33_0 "
    "-If SWD -Speed 4000 -USB S X -CommandFile B.jlink",
    ("nucleo-l4r5zi", "stm32cube"): "STM32_Programmer_CLI -c port=SWD sn=S X -w B.hex -v -rst",
    ("nrf52840-dk", "nrfutil"): "nrfutil device program --firmware B.hex --options "
    "chip_erase_mode=ERASE_RANGES_TOUCHED_BY_FIRMWARE,verify=VERIFY_READ,reset=RESET_SYSTEM "
    "--serial-number S X",
    ("stm32vldiscovery", "stm32flash"): "stm32flash -b 9600 X -w B.bin -v -S 0x08000000 "
    "-g 0x08000000 P",
    ("netduinoplus2", "gdb"): "gdb-multiarch -nx -batch X -x B.gdb E",
    ("microbit", "west"): "west flash --skip-rebuild X --hex-file B.hex",
    ("pico", "uf2"): "cp B.uf2 DRIVE",
    ("esp", "esptool"): "esptool --chip esp32c3 elf2image -o B.bin E\n"
    "esptool --chip esp32c3 --port P --baud 9600 X write_flash 0x1000 B.bin",
}


@pytest.mark.parametrize(("board", "programmer"), list(LINES))
def test_command_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, board: str, programmer: str
) -> None:
    monkeypatch.setenv("PATH", "")
    row = ESP if board == "esp" else find_flash_board(board)
    elf = write_elf(tmp_path / "fw.elf", row.flash.origin, DIGEST)
    probe = "S" if find_programmer(programmer).probe else None
    probe = "host:1" if programmer == "gdb" else probe
    extra = () if programmer == "uf2" else ("X",)
    wishes = Wishes(programmer=programmer, port="P", probe=probe, baud=9600, extra=extra)
    plan = make_plan(elf, row, wishes, dry=True)
    shown = "\n".join(shlex.join(command) for command in plan.commands)
    base = str(tmp_path / "fw")
    assert shown.replace(base + ".elf", "E").replace(base, "B") == LINES[board, programmer]
    form = find_programmer(programmer).form
    wanted = {"fw.elf", f"fw.{form}"} | ({f"fw.{programmer}"} & {"fw.jlink", "fw.gdb"})
    assert {path.name for path in tmp_path.iterdir()} == wanted
    if programmer == "jlink":
        script = (tmp_path / "fw.jlink").read_text()
        assert script == f'r\nloadfile "{base}.hex"\nr\ng\nexit\n'


def tools(folder: Path, *names: str) -> str:
    for name in names:
        path = folder / name
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    return str(folder)


def test_the_first_programmer_at_hand_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drives, "_MOUNTS", tmp_path / "none")
    monkeypatch.setenv("PATH", tools(tmp_path, "stm32flash", "west", "esptool"))
    with pytest.raises(ToolchainError, match=r"flashes a nucleo-f446re. openocd: apt install open"):
        choose_programmer(NUCLEO, Wishes())
    assert choose_programmer(NUCLEO, Wishes(port="P")).name == "stm32flash"
    tools(tmp_path, "STM32_Programmer_CLI")
    assert choose_programmer(NUCLEO, Wishes(port="P")).name == "stm32cube"
    tools(tmp_path, "pyocd", "JLinkExe")
    assert choose_programmer(NUCLEO, Wishes()).name == "pyocd"
    assert choose_programmer(NUCLEO, Wishes(programmer="jlink")).name == "jlink"
    with pytest.raises(ConfigError, match="uf2 cannot flash a nucleo-f446re; these can: openocd"):
        choose_programmer(NUCLEO, Wishes(programmer="uf2"))
    assert choose_programmer(PICO, Wishes(drive=tmp_path)).name == "uf2"


def test_what_a_programmer_lacks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    elf = write_elf(tmp_path / "fw.elf", NUCLEO.flash.origin, DIGEST)
    with pytest.raises(ConfigError, match="stm32flash needs --port"):
        make_plan(elf, NUCLEO, Wishes(programmer="stm32flash"))
    with pytest.raises(ToolchainError, match="openocd is not on PATH: apt install openocd"):
        make_plan(elf, NUCLEO, Wishes(programmer="openocd"))
    with pytest.raises(ConfigError, match="gdb needs --probe, a gdb server"):
        make_plan(elf, NUCLEO, Wishes(programmer="gdb"), dry=True)
    with pytest.raises(ConfigError, match="west uses no debug probe"):
        make_plan(elf, NUCLEO, Wishes(programmer="west", probe="1"), dry=True)


@pytest.mark.parametrize("probe", ["xx", "host:", ":x", "host:port", "host:1\nquit", "a b:1", ""])
def test_what_is_no_gdb_server_is_refused(probe: str) -> None:
    with pytest.raises(ConfigError, match=r"gdb needs --probe, a gdb server: HOST:PORT, not '"):
        prepare(NUCLEO, Wishes(programmer="gdb", probe=probe), dry=True)


@pytest.mark.parametrize("probe", ["localhost:3333", "10.0.0.7:1", "[::1]:3333", "/tmp/socket"])
def test_what_is_a_gdb_server_is_taken(probe: str) -> None:
    assert prepare(NUCLEO, Wishes(programmer="gdb", probe=probe), dry=True)[0].name == "gdb"


def test_an_elf_of_any_name_stays_as_it_is(tmp_path: Path) -> None:
    elf = write_elf(tmp_path / "fw.bin", NUCLEO.flash.origin, DIGEST)
    before = elf.read_bytes()
    plan = make_plan(elf, NUCLEO, Wishes(programmer="stm32flash", port="P"), dry=True)
    assert plan.image == tmp_path / "fw.bin.bin"
    assert (elf.read_bytes(), plan.image.read_bytes()) == (before, DIGEST)


@pytest.mark.parametrize(
    ("address", "size"), [(0x0800_0000 - 4, 32), (0x0807_FFF0, 32), (0x1000_0000, 32)]
)
def test_what_lies_outside_the_flash_is_refused(tmp_path: Path, address: int, size: int) -> None:
    elf = write_elf(tmp_path / "fw.elf", address, bytes(size))
    with pytest.raises(ConfigError, match=r"outside the flash of nucleo-f446re .*build it for"):
        read_segments(elf, NUCLEO)


def test_an_elf_tells_what_it_holds(tmp_path: Path) -> None:
    data = DIGEST + b"rest"
    found = read_identity(write_elf(tmp_path / "a", 0x100, data))
    assert (found.model, found.digest, found.app) == ("net", DIGEST, LINK)
    names = ("tesla_mlperf_start", "tesla_kws_2_digest")
    found = read_identity(write_elf(tmp_path / "b", 0x100, data, names))
    assert (found.model, found.digest, found.app) == ("kws_2", DIGEST, MLPERF_TINY)
    with pytest.raises(ToolchainError, match="--no-verify"):
        read_identity(write_elf(tmp_path / "c", 0x100, data, ("main",)))


def make_drive(folder: Path, board_id: str = "RPI-RP2") -> Path:
    folder.mkdir()
    text = f"UF2 Bootloader v3.0\r\nModel: Raspberry Pi RP2\r\nBoard-ID: {board_id}\r\n"
    (folder / "INFO_UF2.TXT").write_text(text)
    return folder


def mounted(monkeypatch: pytest.MonkeyPatch, folder: Path, *paths: Path) -> None:
    lines = [f"/dev/sd{i} {str(path).replace(' ', chr(92) + '040')} vfat rw 0 0"
             for i, path in enumerate(paths)]  # fmt: skip
    (folder / "mounts").write_text("proc /proc proc rw 0 0\n" + "\n".join(lines) + "\n")
    monkeypatch.setattr(drives, "_MOUNTS", folder / "mounts")


def test_the_drive_is_found_by_its_description(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "usb").mkdir()
    ours, other = make_drive(tmp_path / "RPI RP2"), make_drive(tmp_path / "other", "RP2350")
    mounted(monkeypatch, tmp_path, tmp_path / "usb", other, ours)
    assert drives.choose_drive(PICO, None) == ours
    assert drives.choose_drive(find_flash_board("pico2"), None) == other
    assert not drives.find_drives(NUCLEO)
    second = make_drive(tmp_path / "second")
    mounted(monkeypatch, tmp_path, ours, second)
    with pytest.raises(DeviceError, match="there are 2 drives of a pico"):
        drives.choose_drive(PICO, None)
    assert drives.choose_drive(PICO, second) == second
    with pytest.raises(DeviceError, match="is no drive of a pico"):
        drives.choose_drive(PICO, other)
    mounted(monkeypatch, tmp_path)
    with pytest.raises(DeviceError, match="hold its boot button"):
        drives.choose_drive(PICO, None)


def test_only_file_systems_of_such_drives_are_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that does not answer would stop everything; names need not be UTF-8."""
    drive = make_drive(tmp_path / os.fsdecode(b"caf\xe9"))
    lines = []
    for kind in ("nfs4", "autofs", "fuse.sshfs", "ext4", "msdos"):
        folder = make_drive(tmp_path / kind)
        lines.append(os.fsencode(f"/dev/x {folder} {kind} rw 0 0"))
    lines.append(b"/dev/y " + os.fsencode(drive) + b" vfat rw 0 0")
    (tmp_path / "mounts").write_bytes(b"\n".join(lines) + b"\n")
    monkeypatch.setattr(drives, "_MOUNTS", tmp_path / "mounts")
    assert drives.find_drives(PICO) == [tmp_path / "msdos", drive]


def test_a_board_that_restarts_with_the_last_block_took_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive = make_drive(tmp_path / "drive")

    def unplug(_: int) -> None:
        if gone:
            (drive / "INFO_UF2.TXT").unlink()
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", unplug)
    gone = False
    with pytest.raises(DeviceError, match=r"cannot write .*fw.uf2: Input/output error"):
        drives.copy_to_drive(b"x" * 512, drive, "fw.uf2")
    gone = True
    drives.copy_to_drive(b"x" * 512, drive, "fw.uf2")
    assert (drive / "fw.uf2").read_bytes() == b"x" * 512
    with pytest.raises(DeviceError, match="No such file"):
        drives.copy_to_drive(b"x", tmp_path / "none", "fw.uf2")


def test_a_firmware_cut_short_is_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wherever it was cut: as a toolchain's failure it used to end with 3, or was flashed."""
    whole = write_elf(tmp_path / "f.elf", 0x0800_0000, DIGEST).read_bytes()
    words = ("--board", "nucleo-f446re", "--dry-run", "--programmer", "openocd")
    stripped = bytearray(whole)
    stripped[32:36] = stripped[48:52] = bytes(4)  # of its sections, the place and the count
    end = whole.index(DIGEST) + len(DIGEST)
    (tmp_path / "f.elf").write_bytes(stripped[:end])
    assert [part.data for part in read_image(tmp_path / "f.elf").segments] == [DIGEST]
    for cut in [*(whole[:n] for n in range(4, len(whole))), *(stripped[:n] for n in range(4, end))]:
        (tmp_path / "f.elf").write_bytes(cut)
        with pytest.raises(ConfigError, match="is no firmware ELF"):
            read_image(tmp_path / "f.elf")
    assert call("flash", tmp_path / "f.elf", *words) == 2
    assert "is no firmware ELF" in capsys.readouterr().err
