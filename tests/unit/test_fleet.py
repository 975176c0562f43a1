"""Several boards in Python: every record once, whatever becomes of the boards."""

import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
from fake_device import INPUT, OUTPUT, FakeDevice, faults

from tesla_embed.errors import DeviceError
from tesla_host.fleet import Fleet, Station
from tesla_host.jobs import Probe, Record, Sample, plan_jobs
from tesla_host.link.client import LinkClient
from tesla_host.stations import on_one_core

INPUTS = [bytes(random.Random(i).randbytes(INPUT)) for i in range(40)]
DPS = [25, 50]


class Mortal(FakeDevice):
    """Is lost for good after so many writes."""

    def __init__(self, writes: int) -> None:
        super().__init__()
        self.left = writes

    def write(self, data: bytes) -> int:
        self.left -= 1
        if self.left < 0:
            raise DeviceError("lost the wire; plug the board in and try again")
        return super().write(data)


def station(name: str, device: FakeDevice) -> Station:
    return Station(name, lambda: LinkClient(device, retries=0))


def results(devices: dict[str, FakeDevice], deliver: Callable[[Record], None]) -> Fleet:
    fleet = Fleet([station(name, device) for name, device in devices.items()])
    jobs = plan_jobs(INPUTS, DPS, 1, len(fleet), [])
    with fleet:
        fleet.run(jobs, deliver)
    return fleet


def key(record: Record) -> tuple[int, int]:
    return record.dp, record.index if isinstance(record, Sample) else -1


def check(records: list[Record]) -> None:
    records.sort(key=key)
    assert [key(r) for r in records] == [(dp, i) for dp in DPS for i in range(-1, len(INPUTS))]
    for record in records:
        if isinstance(record, Sample):
            assert record.output == INPUTS[record.index][::-1][:OUTPUT]


@pytest.mark.parametrize("boards", [1, 2, 5])
def test_any_number_of_boards_gives_the_same(boards: int) -> None:
    single: list[Record] = []
    results({"a": FakeDevice()}, single.append)
    many: list[Record] = []
    results({str(i): FakeDevice() for i in range(boards)}, many.append)
    check(single)
    check(many)
    assert many == single


@pytest.mark.parametrize("seed", range(12))
def test_dying_boards_lose_nothing(seed: int) -> None:
    draw = random.Random(seed)
    devices: dict[str, FakeDevice] = {f"m{i}": Mortal(draw.randrange(1, 250)) for i in range(3)}
    records: list[Record] = []
    fleet = results(devices | {"survivor": FakeDevice()}, records.append)
    check(records)
    assert set(fleet.lost) <= set(devices)
    if any(device.left < 0 for device in devices.values()):  # type: ignore[attr-defined]
        assert fleet.lost


def test_what_was_mended_is_told() -> None:
    device = FakeDevice()
    fleet = Fleet([Station("a", lambda: LinkClient(device, retries=3))])
    assert str(fleet.events) == ""
    device.to = faults("drop", "pass", "reset", reset=device.reset)
    records: list[Record] = []
    fleet.run(plan_jobs(INPUTS, DPS, 1, len(fleet), []), records.append)
    check(records)
    assert str(fleet.events) == "1 requests repeated, 1 resets"
    assert str(fleet.events + fleet.events) == "2 requests repeated, 2 resets"


def test_when_all_are_lost_what_was_measured_is_delivered() -> None:
    records: list[Record] = []
    with pytest.raises(DeviceError, match=r"all 2 boards are lost \(.*lost the wire"):
        results({"a": Mortal(30), "b": Mortal(60)}, records.append)
    assert 5 < len(records) < 80
    assert len({key(record) for record in records}) == len(records)


def test_boards_of_two_kinds_are_refused() -> None:
    other = FakeDevice()
    other.receive_bytes = 9
    with pytest.raises(DeviceError, match=r"a .*and b .*no boards of one kind"):
        Fleet([station("a", FakeDevice()), station("b", other)])


def test_a_board_that_does_not_answer_closes_the_others() -> None:
    first, mute = FakeDevice(), Mortal(0)
    with pytest.raises(DeviceError, match="lost the wire"):
        Fleet([station("a", first), station("b", mute)])
    assert first.closed


def test_an_interruption_stops_all_boards() -> None:
    count = 0

    def deliver(_record: Record) -> None:
        nonlocal count
        count += 1
        if count == 7:
            raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        results({"a": FakeDevice(), "b": FakeDevice()}, deliver)
    assert count == 7 and threading.active_count() == before


def test_a_bug_on_a_board_is_no_lost_board() -> None:
    class Buggy(FakeDevice):
        def read(self, size: int = 1) -> bytes:
            if len(self.executed) > 20:
                raise ZeroDivisionError
            return super().read(size)

    with pytest.raises(ZeroDivisionError):
        results({"a": Buggy(), "b": FakeDevice()}, lambda _: None)


def test_a_probe_measures_a_switch_from_another_region() -> None:
    device = FakeDevice()
    records: list[Record] = []
    results({"a": device}, records.append)
    probe = records[0]
    assert isinstance(probe, Probe) and probe.stack_bytes == 300
    assert probe.layers == [
        {"instructions": 1, "cycles": 2},
        {"instructions": 3, "cycles": 4},
    ]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system assigns cores itself")
def test_emulators_side_by_side_take_one_core_each() -> None:
    before = os.sched_getaffinity(0)
    tell = [sys.executable, "-c", "import os; print(*os.sched_getaffinity(0))"]
    taken: list[str] = []
    for number in range(len(before)):
        with on_one_core(number):
            taken.append(subprocess.run(tell, capture_output=True, text=True, check=True).stdout)
        assert os.sched_getaffinity(0) == before
    assert sorted(int(core) for core in taken) == sorted(before)
