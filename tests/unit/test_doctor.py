"""What `doctor` finds on a computer that is made up: ports, probes, drives, programs."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import serial.tools.list_ports
from serial.tools.list_ports_common import ListPortInfo
from shell import call

from tesla_host import attached, doctor
from tesla_host.attached import look
from tesla_host.doctor import Section, examine
from tesla_host.flash import drives
from tesla_host.flash.programmers import PROGRAMMERS
from tesla_host.usb_ids import USB_IDS, Kind, identify

Capture = pytest.CaptureFixture[str]
Plug = Callable[..., Path]


@pytest.fixture
def plug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plug:
    """Plugs USB devices into a made-up system, and nothing else is there."""
    devices, nodes = tmp_path / "devices", tmp_path / "nodes"
    devices.mkdir()
    monkeypatch.setattr(attached, "USB_DEVICES", devices)
    monkeypatch.setattr(attached, "USB_NODES", nodes)
    monkeypatch.setattr(drives, "_mounted", list)
    monkeypatch.setattr(serial.tools.list_ports, "comports", list)

    def put(place: str, vendor: str, number_of: str, /, interface: str = "", **more: str) -> Path:
        folder = devices / place
        folder.mkdir()
        number = len(list(devices.iterdir()))
        numbers = {"busnum": "1", "devnum": str(number)}
        entries = {"idVendor": vendor, "idProduct": number_of, **numbers, **more}
        for name, text in entries.items():
            (folder / name).write_text(f"{text}\n")
        if interface:
            part = folder / f"{place}:1.0"
            part.mkdir()
            (part / "interface").write_text(f"{interface}\n")
        node = nodes / "001" / f"{number:03}"
        node.parent.mkdir(parents=True, exist_ok=True)
        node.write_text("")
        return node

    return put


def port(device: str, vendor: int | None = None, product: int | None = None) -> ListPortInfo:
    info = ListPortInfo(device)
    info.vid, info.pid, info.hwid = vendor, product, "n/a" if vendor is None else "USB"
    info.description, info.serial_number = "a port", "0672FF" if vendor else None
    return info


def test_probes_boards_and_what_is_neither(plug: Plug) -> None:
    plug("1-1", "0483", "374b", serial="0672FF")
    plug("1-2", "1366", "1051", product="J-Link", serial="000683")
    plug("1-3", "2e8a", "0003")
    plug("1-4", "046d", "c077", product="a mouse")
    plug("usb1", "1d6b", "0002", product="a hub")
    plug("1-1:1.0", "", "")
    found = look()
    assert [(d.usb, d.kind, d.serial_number) for d in found.devices] == [
        ("0483:374b", "probe", "0672FF"),
        ("1366:1051", "probe", "000683"),
        ("2e8a:0003", "boot loader", None),
    ]
    assert "Nucleo" in found.devices[0].name and "J-Link" in found.devices[1].name
    assert (found.ports, found.drives, found.hints) == ([], [], [])


@pytest.mark.parametrize("where", ["product", "interface"])
def test_an_unknown_probe_gives_itself_away(plug: Plug, where: str) -> None:
    plug("1-1", "cafe", "0001", **{where: "Somebody's CMSIS-DAP v2"})
    (found,) = look().devices
    assert (found.name, found.kind) == ("CMSIS-DAP probe", "probe")


def test_a_name_says_more_than_a_vendor() -> None:
    """A Pico that was made a probe says so; without that, its vendor makes boards."""
    probe = identify(0x2E8A, 0x0004, "Picoprobe CMSIS-DAP")
    assert probe is not None and (probe.kind, probe.product) == (Kind.PROBE, 0x0004)
    board = identify(0x2E8A, 0x0004, "Pico")
    assert board is not None and board.kind is Kind.BOARD
    known = identify(0x2E8A, 0x000A, "CMSIS-DAP")
    assert known is not None and known.name.startswith("RP2040")


def test_ports_are_named_by_their_usb_ids(
    plug: Plug, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = tmp_path / "ttyACM0"
    named.write_text("")
    ports = [port("/dev/ttyS0"), port(str(named), 0x0483, 0x374B), port("/dev/x", 0xCAFE, 1)]
    monkeypatch.setattr(serial.tools.list_ports, "comports", lambda: ports)
    other, stlink = look().ports
    assert (stlink.device, stlink.usb, stlink.accessible) == (str(named), "0483:374b", True)
    assert stlink.known is not None and "ST-LINK/V2-1" in stlink.known
    assert (other.usb, other.known) == ("cafe:0001", None)


def test_who_may_not_open_a_device_is_told_how(
    plug: Plug, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, closed = plug("1-1", "0483", "3748"), tmp_path / "ttyUSB0"
    closed.write_text("")
    monkeypatch.setattr(
        serial.tools.list_ports, "comports", lambda: [port(str(closed), 0x10C4, 0xEA60)]
    )
    real = os.access
    denied = {str(node), str(closed)}
    monkeypatch.setattr(
        os, "access", lambda path, mode: str(path) not in denied and real(path, mode)
    )
    monkeypatch.setattr(Path, "group", lambda _: "uucp")
    found = look()
    assert not found.ports[0].accessible and not found.devices[0].accessible
    first, second = found.hints
    assert "ttyUSB0" in first and "usermod -aG uucp $USER" in first
    assert 'ATTR{idVendor}=="0483"' in second and "udevadm" in second


def test_drives_are_named_by_their_boards(
    plug: Plug, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = {name: tmp_path / name for name in ("RPI-RP2", "FEATHER", "stick")}
    for name, folder in folders.items():
        folder.mkdir()
        if name != "stick":
            (folder / "INFO_UF2.TXT").write_text(f"UF2 Bootloader\r\nBoard-ID: {name}\r\n")
    monkeypatch.setattr(drives, "_mounted", lambda: list(folders.values()))
    assert [(d.board_id, d.boards) for d in look().drives] == [
        ("RPI-RP2", ["pico"]),
        ("FEATHER", []),
    ]


def test_without_the_systems_files_ports_tell_of_their_devices(
    plug: Plug, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attached, "USB_DEVICES", tmp_path / "none")
    monkeypatch.setattr(serial.tools.list_ports, "comports", lambda: [port("COM3", 0x0483, 0x374B)])
    (found,) = look().devices
    assert (found.usb, found.serial_number) == ("0483:374b", "0672FF")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts programs of one line of shell alone on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "sh").symlink_to(str(shutil.which("sh")))
    monkeypatch.setenv("PATH", str(folder))

    def install(name: str, line: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)

    return install


def test_a_module_of_no_distribution_tells_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: a package that was put on the path by hand ended `doctor` with a traceback."""
    (tmp_path / "by_hand").mkdir()
    (tmp_path / "by_hand" / "__init__.py").write_text("")
    (tmp_path / "one_file.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    packages = [
        doctor._Package(module, "no-such-distribution", "extra", "nothing")
        for module in ("by_hand", "one_file", "not_there_at_all")
    ]
    monkeypatch.setattr(doctor, "_PACKAGES", packages)
    found = [finding.version for finding in doctor._packages()]
    assert found == [
        f"found at {tmp_path / 'by_hand'}",
        f"found at {tmp_path / 'one_file.py'}",
        None,
    ]


def test_programmers_tell_their_version(programs: Callable[[str, str], None]) -> None:
    programs("openocd", "echo 'Open On-Chip Debugger 0.12.0' >&2; echo Licensed")
    programs("JLinkExe", "cat")  # which would wait for commands
    programs("nrfutil", "exit 1")
    found = {f.name: f for f in examine() if f.section is Section.PROGRAMMER}
    assert list(found) == [row.name for row in PROGRAMMERS if row.executables]
    assert found["openocd"].version == "Open On-Chip Debugger 0.12.0"
    assert str(found["jlink"].version).startswith("found at /")
    assert str(found["nrfutil"].version).startswith("found at /")
    assert found["pyocd"].version is None and found["pyocd"].mend == "pip install pyocd"
    assert all(finding.optional for finding in found.values())


def test_compilers_and_emulators_that_are_missing_say_how_to_get_them(
    programs: Callable[[str, str], None],
) -> None:
    programs("clang", "echo 'clang version 17.0.6'")
    found = {f.name: f for f in examine()}
    assert found["clang"].version == "clang version 17.0.6"
    for name in ("arm-none-eabi-gcc", "riscv64-unknown-elf-gcc", "qemu-system-arm"):
        assert found[name].version is None and "apt install" in found[name].mend
    assert not [name for name in found if name.startswith("-M")]


def test_machines_that_qemu_lacks(programs: Callable[[str, str], None]) -> None:
    programs(
        "qemu-system-arm",
        'case "$*" in --version) echo QEMU emulator version 2.5;;'
        " *) echo 'Supported machines are:'; echo 'mps2-an386  ARM MPS2';; esac",
    )
    found = {f.name: f for f in examine() if f.section is Section.EMULATOR}
    assert found["qemu-system-arm"].version == "QEMU emulator version 2.5"
    assert found["-M mps2-an386"].version == "mps2-an386"
    assert found["-M mps3-an547"].version is None
    assert "newer QEMU" in found["-M mps3-an547"].mend


def test_the_verb_shows_all_of_it(
    plug: Plug, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug("1-1", "0483", "374b", serial="0672FF")
    findings = [
        doctor.Finding(section=Section.PYTHON, name="a", purpose="all", version="1", mend=""),
        doctor.Finding(section=Section.PYTHON, name="b", purpose="all", version=None, mend="get b"),
    ]
    monkeypatch.setattr(doctor, "examine", lambda: findings)
    assert call("doctor") == 3
    shown = capsys.readouterr().out
    assert "MISSING  (all); get b" in shown and "serial number 0672FF" in shown
    assert "serial ports: none" in shown
    assert call("doctor", "--json") == 3
    found = json.loads(capsys.readouterr().out)
    assert [entry["version"] for entry in found["findings"]] == ["1", None]
    assert found["devices"][0]["usb"] == "0483:374b"


def test_rows_are_found_and_name_a_device_once() -> None:
    pairs = [(row.vendor, row.product) for row in USB_IDS]
    assert len(set(pairs)) == len(pairs)
    for row in USB_IDS:
        assert identify(row.vendor, 0xFFFF if row.product is None else row.product) == row
    assert identify(0xCAFE, 1) is None
    assert {row.kind for row in USB_IDS} == set(Kind)
