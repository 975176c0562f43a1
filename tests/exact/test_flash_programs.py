"""Flashing with programs: some that pretend, one boot loader in software, and the real ones."""

import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import serial.tools.list_ports
from boot_rom import BASE, BootRom
from graphs import RICH, benchmark_model, quantized_model
from serial.tools.list_ports_common import ListPortInfo
from shell import call
from tiny_elf import DIGEST, write_elf

from tesla_embed.errors import DeviceError, ToolchainError
from tesla_embed.ir.store import save_model
from tesla_host.compilers import find_compiler
from tesla_host.elf import read_image
from tesla_host.flash import boards
from tesla_host.flash.boards import FLASH_BOARDS, FlashBoard
from tesla_host.flash.commands import Wishes, make_plan
from tesla_host.flash.images import encode_bin
from tesla_host.flash.run import ProgrammerFailed, run_plan
from tesla_host.flash.verify import Identity, read_identity, verify_board
from tesla_host.targets import find_target

Capture = pytest.CaptureFixture[str]
NUCLEO = next(board for board in FLASH_BOARDS if board.name == "nucleo-f446re")


def require_program(name: str) -> Callable[[], str]:
    def find() -> str:
        path = shutil.which(name)
        if path is None:
            raise ToolchainError(f"{name} is not installed: apt install {name}")
        return path

    return find


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Puts a program alone on PATH that notes its arguments, then runs a line of shell."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "sleep", "cat"):
        (folder / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(folder))

    def install(name: str, line: str) -> Path:
        noted = tmp_path / f"{name}.arguments"
        program = folder / name
        program.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" > '{noted}'\n{line}\n")
        program.chmod(0o755)
        return noted

    return install


Fake = Callable[[str, str], Path]


@pytest.fixture
def elf(tmp_path: Path) -> Path:
    return write_elf(tmp_path / "my fw.elf", BASE, DIGEST + os.urandom(999))


def test_a_programmer_gets_its_arguments(fake: Fake, elf: Path, capsys: Capture) -> None:
    noted = fake("openocd", "exit 0")
    assert call("flash", elf, "--board", "nucleo-f446re", "--no-verify") == 0
    assert noted.read_text().splitlines() == [
        *("-f", "interface/stlink.cfg", "-f", "target/stm32f4x.cfg"),
        *("-c", f"program {{{elf}}} verify reset exit"),
    ]
    assert capsys.readouterr().out.endswith("to nucleo-f446re by openocd, not verified\n")


def test_what_a_failing_programmer_said_is_shown(fake: Fake, elf: Path, capsys: Capture) -> None:
    fake("pyocd", "echo out of luck; echo and of words >&2; exit 7")
    assert call("flash", elf, "--board", "nucleo-f446re", "--no-verify") == 3
    shown = capsys.readouterr()
    assert "out of luck\nand of words\n" in shown.err and shown.out == ""
    assert shown.err.splitlines()[-1].startswith("error: pyocd failed with status 7; is the board")


def test_nothing_installed_tells_what_to_install(fake: Fake, elf: Path, capsys: Capture) -> None:
    assert call("flash", elf, "--board", "nucleo-f446re") == 3
    message = capsys.readouterr().err
    for hint in ("apt install openocd", "pip install pyocd", "segger.com", "apt install stm32fl"):
        assert hint in message
    assert call("flash", elf, "--board", "nucleo-f446re", "--programmer", "jlink") == 3
    assert "jlink is not on PATH: get the J-Link software" in capsys.readouterr().err


def test_a_dry_run_shows_what_would_be_run(fake: Fake, elf: Path, capsys: Capture) -> None:
    noted = fake("JLinkExe", "exit 9")
    assert call("flash", elf, "--board", "nucleo-f446re", "--dry-run") == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"{noted.parent}/bin/JLinkExe -NoGui 1")
    assert not noted.exists()
    fake("JLinkExe", "exit 0")
    subprocess.run(["/bin/sh", "-c", shown], check=True)
    assert noted.read_text().splitlines()[-1] == str(elf.with_suffix(".jlink"))


def test_a_programmer_that_hangs_is_ended(fake: Fake, elf: Path, tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    fake("openocd", f"echo begun\ntrap '' TERM\nsleep 60 & echo $! > '{alive}'\nwait\nsleep 60")
    plan = make_plan(elf, NUCLEO, Wishes())
    hasty = replace(plan, programmer=replace(plan.programmer, timeout_s=1.0))
    with pytest.raises(ProgrammerFailed, match="openocd did not end within 1 s") as raised:
        run_plan(hasty)
    assert raised.value.output == "begun\n"
    assert_gone(int(alive.read_text()))


def assert_gone(number: int) -> None:
    for _ in range(100):
        status = Path(f"/proc/{number}/stat")
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.05)
    raise AssertionError(f"process {number} still runs")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_ends_the_programmer_too(
    fake: Fake, elf: Path, tmp_path: Path, number: int, code: int
) -> None:
    alive = tmp_path / "alive"
    fake("openocd", f"echo $$ > '{alive}'\nsleep 60")
    command = [sys.executable, "-m", "tesla_host", "flash", elf, "--board", "nucleo-f446re"]
    process = subprocess.Popen([*command, "--no-verify"], stderr=subprocess.PIPE, text=True)
    while not alive.exists() or not alive.read_text():
        time.sleep(0.02)
    process.send_signal(number)
    _, messages = process.communicate(timeout=20)
    assert process.returncode == code and "Traceback" not in messages
    assert_gone(int(alive.read_text()))


def test_an_interrupt_while_the_programmer_starts(
    fake: Fake, elf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive = tmp_path / "alive"
    fake("openocd", f"echo $$ > '{alive}'\nsleep 60")
    started: list[int] = []

    class Interrupted(subprocess.Popen[bytes]):
        """Is interrupted as soon as the program runs, before its caller knows of it."""

        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, **options)  # type: ignore[call-overload]
            started.append(self.pid)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_plan(make_plan(elf, NUCLEO, Wishes()))
    assert_gone(started[0])


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--board", "nucleo"), 2, "there are nucleo-f446re"),
        (("--board", "pico"), 2, "outside the flash of pico"),
        (("--board", "nucleo-f446re", "--programmer", "dd"), 2, "no programmer 'dd'"),
        (("--board", "nucleo-f446re", "--programmer", "esptool"), 2, "esptool cannot flash a nuc"),
        (("--board", "nucleo-f446re", "--programmer", "stm32flash"), 2, "needs --port"),
    ],
)
def test_mistakes(
    elf: Path, capsys: Capture, arguments: tuple[str, ...], code: int, says: str
) -> None:
    assert call("flash", elf, *arguments) == code
    assert says in capsys.readouterr().err


def test_a_file_that_is_neither(tmp_path: Path, capsys: Capture) -> None:
    assert call("flash", tmp_path / "none", "--board", "pico") == 2
    (tmp_path / "text").write_text("hello")
    assert call("flash", tmp_path / "text", "--board", "microbit") == 2
    assert "check the path" in capsys.readouterr().err


def test_a_uf2_drive(tmp_path: Path, capsys: Capture) -> None:
    drive = tmp_path / "RPI RP2"
    drive.mkdir()
    (drive / "INFO_UF2.TXT").write_text("UF2 Bootloader v3.0\nBoard-ID: RPI-RP2\n")
    elf = write_elf(tmp_path / "fw.elf", 0x1000_0000, DIGEST + bytes(500))
    arguments = ("flash", elf, "--board", "pico", "--drive", drive, "--no-verify")
    assert call(*arguments, "--dry-run") == 0
    assert capsys.readouterr().out == f"cp {tmp_path}/fw.uf2 '{drive}'\n"
    assert not (drive / "fw.uf2").exists()
    assert call(*arguments) == 0
    assert (drive / "fw.uf2").read_bytes() == (tmp_path / "fw.uf2").read_bytes()
    assert len((drive / "fw.uf2").read_bytes()) == 3 * 512


@pytest.fixture
def rom() -> Iterator[BootRom]:
    rom = BootRom()
    yield rom
    rom.close()


EIGHT_BITS = ("--programmer-arg=-m", "--programmer-arg=8n1")
"""A pseudo-terminal has no parity bit; a board's UART has the usual even one."""


def test_stm32flash_writes_verifies_and_starts(
    rom: BootRom, elf: Path, require_tool: Callable[..., object], capsys: Capture
) -> None:
    require_tool(require_program("stm32flash"))
    wishes = ("--programmer", "stm32flash", "--port", rom.port, "--no-verify", *EIGHT_BITS)
    assert call("flash", elf, "--board", "nucleo-f446re", *wishes) == 0
    wanted = encode_bin(read_image(elf).segments, BASE)
    assert rom.flash[: len(wanted)] == wanted
    assert rom.started == BASE
    assert rom.heard > 2 * len(DIGEST)


def test_a_damaged_write_is_found(
    elf: Path, require_tool: Callable[..., object], capsys: Capture
) -> None:
    require_tool(require_program("stm32flash"))
    rom = BootRom(damage=True)
    try:
        wishes = ("--programmer", "stm32flash", "--port", rom.port, "--no-verify", *EIGHT_BITS)
        assert call("flash", elf, "--board", "nucleo-f446re", *wishes) == 3
    finally:
        rom.close()
    assert "Failed to verify" in capsys.readouterr().err
    assert rom.started is None


def test_openocd_without_a_board_fails_and_says_so(
    elf: Path, require_tool: Callable[..., object], capsys: Capture
) -> None:
    require_tool(require_program("openocd"))
    arguments = ("--board", "nucleo-f446re", "--programmer", "openocd", "--probe", "nobody")
    assert call("flash", elf, *arguments, "--no-verify") == 3
    message = capsys.readouterr().err
    assert "Open On-Chip Debugger" in message and "openocd failed with status 1" in message


MARKER, MARKED_AT = 0x1234_5678, 0x2000_0100


def marking_program() -> bytes:
    """Vectors of a Cortex-M, and a program that writes MARKER into RAM, then rests."""
    code = struct.pack("<4H2I", 0x4801, 0x4902, 0x6001, 0xE7FE, MARKED_AT, MARKER)
    return struct.pack("<II", 0x2000_2000, BASE + 8 + 1) + code + os.urandom(70_000)


def test_gdb_loads_and_starts_a_program_in_qemu(
    tmp_path: Path, require_tool: Callable[..., object], capsys: Capture
) -> None:
    qemu = str(require_tool(require_program("qemu-system-arm")))
    gdb = str(require_tool(require_program("gdb-multiarch")))
    data = marking_program()
    elf = write_elf(tmp_path / "fw.elf", BASE, data)
    server = tmp_path / "gdb.socket"
    command = [qemu, "-M", "netduinoplus2", "-S", "-display", "none", "-monitor", "none"]
    command += ["-serial", "none", "-gdb", f"unix:{server},server=on,wait=off"]
    with subprocess.Popen(command) as machine:
        try:
            while not server.exists():
                time.sleep(0.05)
            wishes = ("--programmer", "gdb", "--probe", server, "--no-verify")
            assert call("flash", elf, "--board", "netduinoplus2", *wishes) == 0
            dumped, words = tmp_path / "flash.bin", [gdb, "-nx", "-batch"]
            for line in (
                f"target remote {server}",
                f"dump binary memory {dumped} {BASE} {BASE + len(data)}",
                f"x/xw {MARKED_AT}",
            ):
                words += ["-ex", line]
            done = subprocess.run(words, capture_output=True, text=True, check=True)
            assert dumped.read_bytes() == data
            assert f"0x{MARKER:08x}" in done.stdout
        finally:
            machine.kill()


def test_gdb_without_a_server_fails(
    tmp_path: Path, elf: Path, require_tool: Callable[..., object], capsys: Capture
) -> None:
    require_tool(require_program("gdb-multiarch"))
    wishes = ("--programmer", "gdb", "--probe", tmp_path / "nobody", "--no-verify")
    assert call("flash", elf, "--board", "netduinoplus2", *wishes) == 3
    assert "gdb-multiarch failed with status 1; does a gdb server" in capsys.readouterr().err


@pytest.mark.parametrize("board", FLASH_BOARDS, ids=lambda board: board.name)
def test_openocd_has_the_files_that_rows_name(
    board: FlashBoard, require_tool: Callable[..., object]
) -> None:
    openocd = str(require_tool(require_program("openocd")))
    if board.name == "pico2":
        pytest.skip("target/rp2350.cfg came after OpenOCD 0.12")
    done = subprocess.run(
        [openocd, *board.openocd, "-c", "shutdown"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, require_tool: Callable[..., object]
) -> Iterator[Callable[[str], tuple[str, Path]]]:
    """An emulated board that speaks an application: its port, and the ELF it runs."""
    require_tool(lambda: find_compiler(find_target("emulator").compiler))
    folder = tmp_path_factory.mktemp("served")
    save_model(folder / "m.safetensors", benchmark_model("kws01"))
    processes: list[subprocess.Popen[str]] = []

    def start(app: str) -> tuple[str, Path]:
        command = [sys.executable, "-m", "tesla_host", "emulate", folder / "m.safetensors"]
        command += ["--app", app, "--build-dir", folder / app, "--listen", "pty"]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        output = processes[-1].stdout
        assert output is not None
        return output.readline().strip(), folder / app / "firmware.elf"

    yield start
    for process in processes:
        process.terminate()
        process.communicate(timeout=10)


Served = Callable[[str], tuple[str, Path]]


@pytest.mark.parametrize("app", ["link", "mlperf-tiny"])
def test_the_board_is_asked_which_model_it_runs(
    served: Served, app: str, fake: Fake, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, elf = served(app)
    fake("pyocd", "exit 0")
    arguments = ("flash", elf, "--board", "nrf52840-dk", "--port", port)
    assert call(*arguments) == 0
    assert f"by pyocd; {port} runs kws01_like" in capsys.readouterr().out

    identity = read_identity(elf)
    usb = ListPortInfo(port)
    usb.vid = 0x0483
    monkeypatch.setattr(serial.tools.list_ports, "comports", lambda: [ListPortInfo("none"), usb])
    assert verify_board(identity, None) == port

    other = Identity(model="net", digest=DIGEST, app=identity.app)
    with pytest.raises(DeviceError, match=r"(the firmware|pts/\d+) runs .*, not net"):
        verify_board(other, port, patience_s=0)


def test_a_board_that_stays_silent(rom: BootRom, monkeypatch: pytest.MonkeyPatch) -> None:
    from tesla_host.apps import MLPERF_TINY

    identity = Identity(model="net", digest=DIGEST, app=MLPERF_TINY)
    with pytest.raises(DeviceError, match=f"nothing answered on {rom.port}: .* does not speak"):
        verify_board(identity, rom.port, patience_s=0.5)
    monkeypatch.setattr(serial.tools.list_ports, "comports", lambda: [])
    with pytest.raises(DeviceError, match="no USB serial port to ask; give --port"):
        verify_board(identity, None, patience_s=0)


def test_a_model_is_built_for_the_board(
    tmp_path: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch, require_tool: Callable[..., object]
) -> None:
    require_tool(lambda: find_compiler(find_target("emulator").compiler))
    board = next(row for row in FLASH_BOARDS if row.name == "microbit")
    row = replace(board, target="emulator")  # its flash begins at 0, too
    monkeypatch.setattr(boards, "FLASH_BOARDS", (row,))
    model = tmp_path / "m.safetensors"
    save_model(model, quantized_model(RICH))
    monkeypatch.chdir(tmp_path)
    noted = fake("openocd", "exit 0")
    assert call("flash", model, "--board", "microbit", "--no-verify") == 0
    (built,) = (tmp_path / "build").iterdir()
    assert f"program {{{built / 'firmware.elf'}}} verify reset exit" in noted.read_text()
