"""The emulated board: exact counts, faults that say where, stack use, a budget of time."""

import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tesla_embed.errors import ConfigError, DeviceError, LinkTimeout, ToolchainError
from tesla_host.build import BuildResult
from tesla_host.link.client import LinkClient
from tesla_host.targets import find_target

Build = Callable[[str], BuildResult]
DATA = bytes(range(1, 91)) * 16 + bytes(60)


@pytest.fixture
def machine(fake_firmware: Build, require_tool: Callable[[Callable[[], Any]], Any]) -> Any:
    return _open(fake_firmware, require_tool)


def _open(fake_firmware: Build, require_tool: Callable[[Callable[[], Any]], Any]) -> Any:
    def module() -> Any:
        from tesla_host.emulator import machine

        return machine

    return require_tool(module).Machine(fake_firmware("emulator").elf, find_target("emulator"))


def _dialog(machine: Any) -> list[object]:
    client = LinkClient(machine)
    seen: list[object] = []
    for step in (
        client.hello,
        lambda: client.set_dp(50),
        lambda: client.infer(DATA),
        lambda: client.run(3),
        client.layer_ticks,
        client.stack,
        lambda: client.echo(bytes(100)),
    ):
        seen += [step(), machine.instructions, machine.cycles, machine.classes()]
    return seen


def test_two_machines_agree_to_the_instruction(
    fake_firmware: Build,
    require_tool: Callable[[Callable[[], Any]], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []
    for _ in range(2):  # with the same session and the same numbers, hence the same bytes
        draw = random.Random(7)
        monkeypatch.setattr("tesla_host.link.session.secrets.token_bytes", draw.randbytes)
        seen.append(_dialog(_open(fake_firmware, require_tool)))
    assert seen[0] == seen[1]


def test_counts_equal_a_hook_on_every_instruction(machine: Any) -> None:
    """The hook does not see what an IT block skips: there, and only there, we count more."""
    import capstone
    import unicorn

    hooked: Counter[int] = Counter()
    machine.cpu.hook_add(unicorn.UC_HOOK_CODE, lambda cpu, at, size, _: hooked.update((at,)))
    _dialog(machine)
    decoder = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
    counted: Counter[int] = Counter()
    conditional: set[int] = set()
    for (start, size), block in machine._counter._known.items():
        code = bytes(machine.cpu.mem_read(start, size))
        for insn in decoder.disasm(code, start):
            counted[insn.address] += block.count
            if insn.mnemonic.startswith("it"):
                after = bytes(machine.cpu.mem_read(insn.address, 20))
                shadow = list(decoder.disasm(after, insn.address))[1 : len(insn.mnemonic)]
                conditional.update(part.address for part in shadow)
    assert counted.total() == machine.instructions == sum(machine.classes().values())
    for address in counted | hooked:
        if address in conditional:
            assert counted[address] >= hooked[address]
        else:
            assert counted[address] == hooked[address], hex(address)


def test_measured_runs_are_exact_and_exclude_reading(machine: Any) -> None:
    client = LinkClient(machine)
    client.set_dp(50)
    client.load_input(DATA)
    half = client.run(3)
    assert half[0] == half[1] == half[2]
    client.set_dp(100)
    full = client.run()[0]
    # The two loops of the fake model are linear in the percentage.
    assert full["instructions"] == pytest.approx(2 * half[0]["instructions"], rel=0.02)
    layers = client.layer_ticks()
    total = sum(ticks["instructions"] for ticks in layers)
    assert abs(total - full["instructions"]) < 60  # what precedes and follows the layers
    assert full["instructions"] <= full["cycles"] < 4 * full["instructions"]


def test_a_budget_interrupts_and_resumes_without_a_trace(
    fake_firmware: Build, require_tool: Callable[[Callable[[], Any]], Any]
) -> None:
    whole, pieces = (_open(fake_firmware, require_tool) for _ in range(2))
    from tesla_host.link.frames import encode

    hello = bytes([2, 8, 0, 1, 0, 1, 2, 3, 4])
    load = bytes([2, 0, 0, 10]) + bytes(4) + DATA[:500]
    for machine in (whole, pieces):
        machine.write(encode(hello) + encode(load))
        assert len(machine.read(1000)) > 100
    request = encode(bytes([2, 9, 0, 4, 2, 0]))
    whole.write(request)
    pieces.write(request)
    expected = whole.read(1000)
    got, waits = b"", 0
    pieces.timeout = 300 / 168e6
    while len(got) < len(expected) and waits < 10_000:
        got += pieces.read(1000)
        waits += 1
    assert got == expected and waits > 20
    pieces.timeout = 1.0
    pieces.read(1)
    assert (pieces.instructions, pieces.cycles) == (whole.instructions, whole.cycles)


def test_an_idle_firmware_returns_at_once(machine: Any) -> None:
    machine.timeout = 1000.0
    start = time.monotonic()
    assert machine.read(10) == b""
    assert machine.read(10) == b""
    assert time.monotonic() - start < 5


def test_a_fault_names_function_address_and_access(machine: Any) -> None:
    client = LinkClient(machine)
    client.load_input(b"\x63")
    words = r"faulted in run at 0x[0-9a-f]{8}: read of 1 bytes at 0x70000000"
    with pytest.raises(DeviceError, match=words) as first:
        client.run()
    with pytest.raises(DeviceError, match=words):
        machine.read(1)
    assert "\n" not in str(first.value)


def test_stack_high_water_mark(machine: Any) -> None:
    client = LinkClient(machine)
    client.run()
    before = client.stack()
    assert before.size == 8192 and 0 < before.used < 600
    client.load_input(b"\x62")
    client.run()
    after = client.stack()
    assert 1024 < after.used < before.used + 1100
    client.load_input(b"\0")
    client.run()
    assert client.stack() == after


def test_an_endless_loop_is_a_timeout(machine: Any) -> None:
    client = LinkClient(machine, timeout_s=0.001, retries=1)
    client.hello()
    branch_to_itself = b"\xfe\xe7"
    starts = machine._image.symbols
    run = starts.starts[starts.names.index("fake_add")]
    machine.cpu.mem_write(run, branch_to_itself)
    machine.cpu.ctl_remove_cache(0, 1 << 20)
    with pytest.raises(LinkTimeout, match="RUN: no answer in 2 attempts"):
        LinkClient(machine, timeout_s=0.001, run_timeout_s=0.001, retries=1).run()


def test_what_is_no_elf_is_refused(
    tmp_path: Path, require_tool: Callable[[Callable[[], Any]], Any]
) -> None:
    def module() -> Any:
        from tesla_host.emulator import machine

        return machine

    opened = require_tool(module).Machine
    with pytest.raises(ToolchainError, match=r"cannot read .*nothing.elf"):
        opened(tmp_path / "nothing.elf", find_target("emulator"))
    (tmp_path / "text.elf").write_text("hello")
    with pytest.raises(ConfigError, match="is no firmware ELF"):
        opened(tmp_path / "text.elf", find_target("emulator"))


def test_another_boards_elf_is_refused(
    fake_firmware: Build, require_tool: Callable[[Callable[[], Any]], Any]
) -> None:
    def module() -> Any:
        from tesla_host.emulator import machine

        return machine

    opened = require_tool(module).Machine
    with pytest.raises(DeviceError, match="build it for the target emulator"):
        opened(fake_firmware("host").elf, find_target("emulator"))
