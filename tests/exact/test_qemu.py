"""Boards in QEMU: the bits of every compiler, exact counts, and processes that end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import FAKE_MODEL, require, tools_of
from graphs import quantized_model
from shell import call

from tesla_embed.errors import ConfigError, DeviceError, LinkTimeout, ToolchainError
from tesla_embed.ir.graph import Model
from tesla_embed.ir.store import save_model
from tesla_host.build import BuildResult, build_firmware
from tesla_host.catalogue import Qemu
from tesla_host.link import qemu
from tesla_host.link.client import LinkClient
from tesla_host.link.qemu import QemuPipe
from tesla_host.targets import find_target, open_target
from tesla_host.verifier import random_inputs
from tesla_host.workbench import Workbench, set_up

Build = Callable[[str], BuildResult]
M4 = "qemu:mps2-an386"
BOARDS = [M4, "qemu:mps3-an547"]  # the others are in test_boards
INPUT = bytes(i * 7 % 90 for i in range(1500))


@pytest.fixture(scope="module")
def model() -> Model:
    return quantized_model(11)


def counts(bench: Workbench) -> list[object]:
    """What switching, running and each layer cost, in instructions, in every region."""
    found: list[object] = []
    with bench.connect() as client:
        client.load_input(random_inputs(bench.model, 1)[0].tobytes())
        for region in bench.model.regions:
            entries = (client.set_dp(region.dp), *client.run(2), *client.layer_ticks())
            found.append([entry["instructions"] for entry in entries])
    return found


@pytest.mark.parametrize("toolchain", ["zig", "gcc", "clang"])
def test_counts_equal_unicorns(toolchain: str, model: Model, tmp_path: Path) -> None:
    """The same code of a network, counted by two emulators: not one instruction apart."""
    for target in ("emulator", M4):
        require(lambda target=target: tools_of(target, toolchain))  # type: ignore[misc]
    benches = [
        set_up(model, target, tmp_path / target[:4], toolchain) for target in ("emulator", M4)
    ]
    assert counts(benches[0]) == counts(benches[1])


@pytest.mark.parametrize("toolchain", ["zig", "gcc", "clang"])
@pytest.mark.parametrize("board", BOARDS)
def test_verify(board: str, toolchain: str, model: Model, tmp_path: Path) -> None:
    require(lambda: tools_of(board, toolchain))
    save_model(tmp_path / "m.safetensors", model)
    options = ("--target", board, "--toolchain", toolchain, "--samples", 4, "--device-samples", 4)
    assert call("verify", tmp_path / "m.safetensors", *options) == 0


@pytest.mark.parametrize("board", BOARDS)
def test_counts_repeat_and_exclude_reading(board: str, fake_firmware: Build) -> None:
    elf = fake_firmware(board).elf
    found = []
    for _ in range(2):
        with LinkClient(open_target(board, elf)) as client:
            client.load_input(INPUT)
            runs = [client.run()[0]["instructions"] for _ in range(3)]
            layers = [entry["instructions"] for entry in client.layer_ticks()]
            found.append((runs, layers, client.stack()))
    assert found[0] == found[1]
    runs, layers, stack = found[0]
    assert runs[0] == runs[1] == runs[2]
    assert 0 < runs[0] - sum(layers) < 60  # what precedes and follows the layers
    assert 0 < stack.used < stack.size == find_target(board).stack_bytes


@pytest.mark.parametrize("board", BOARDS)
def test_a_count_beyond_the_timers_32_bits(board: str, tmp_path: Path) -> None:
    require(lambda: tools_of(board))
    elf = build_firmware(FAKE_MODEL, board, tmp_path, extra_flags=("-DFAKE_LONG",)).elf
    with LinkClient(open_target(board, elf), timeout_s=30.0) as client:
        client.load_input(INPUT)
        short = client.run()[0]["instructions"]
        client.load_input(b"\x60")
        long = client.run()[0]["instructions"]
        client.load_input(b"\x60")
        assert abs(long - short - 800_000_000) < 10
        assert client.run()[0]["instructions"] == long


def test_flash_of_the_risc_v_machine_is_read_only(tmp_path: Path) -> None:
    """All its memory is RAM: without the core's memory protection the write would go unnoticed."""
    require(lambda: tools_of("qemu:virt"))
    elf = build_firmware(
        FAKE_MODEL, "qemu:virt", tmp_path, extra_flags=("-DFAKE_WRITES_FLASH",)
    ).elf
    with LinkClient(open_target("qemu:virt", elf), run_timeout_s=2, retries=0) as client:
        client.load_input(b"\x5e")
        client.run()
        client.load_input(b"\x5f")
        with pytest.raises(LinkTimeout):
            client.run()


def test_a_crash_shows_what_qemu_said(tmp_path: Path) -> None:
    require(lambda: tools_of(M4))
    elf = tmp_path / "no.elf"
    elf.write_bytes(b"\x7fELF")
    pipe = QemuPipe(Qemu(machine="no-such-board", icount_shift=8, timer_hz=1), elf)
    with pytest.raises(DeviceError, match=r"-M no-such-board ended: .*unsupported machine"):
        pipe.read(1)
    pipe.close()
    pipe.close()


def test_a_missing_firmware_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="build it first"):
        open_target(M4, tmp_path / "none.elf")


def test_without_qemu_the_install_command(
    model: Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    require(lambda: tools_of("emulator"))
    monkeypatch.setattr(qemu, "shutil", SimpleNamespace(which=lambda name: None))
    for row in (find_target(board).qemu for board in BOARDS):
        assert row is not None
        with pytest.raises(ToolchainError, match=f"no {row.program}: apt install qemu-system-"):
            qemu.find_qemu(row.program)
    save_model(tmp_path / "m.safetensors", model)
    assert call("verify", tmp_path / "m.safetensors", "--target", M4, "--samples", 1) == 3
    assert "apt install qemu-system-arm" in capsys.readouterr().err


def test_a_toolchain_that_a_target_lacks(model: Model, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"host is not built with 'zig'; use host"):
        set_up(model, "host", tmp_path, "zig")


_HOLDER = """
import sys, time
from pathlib import Path
from tesla_host.targets import open_target
pipe = open_target(sys.argv[1], Path(sys.argv[2]))
print(pipe._keeper.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_qemu_ends_with_its_owner(how: int, fake_firmware: Build) -> None:
    elf = fake_firmware(M4).elf
    command = [sys.executable, "-c", _HOLDER, M4, str(elf)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        keeper = int(owner.stdout.readline())
        os.kill(owner.pid, how)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{keeper}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{keeper}").exists()
    assert str(elf) not in _commands()


def _commands() -> str:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return "\n".join(line for line in lines if line.startswith(("qemu", "/usr/bin/qemu")))
