"""Emulated boards in processes of their own, one of which is killed in the middle."""

import importlib
import os
import random
import signal
from collections.abc import Callable
from functools import partial

from conftest import require

from tesla_host.build import BuildResult
from tesla_host.fleet import Fleet, Station
from tesla_host.isolated import separate_link
from tesla_host.jobs import Probe, Record, Sample, plan_jobs
from tesla_host.link.client import LinkClient

INPUT, OUTPUT = 1500, 10
Build = Callable[[str], BuildResult]


def network(data: bytes, dp: int) -> bytes:
    layer = bytes((value + dp) % 256 for value in data[: INPUT * dp // 100])
    return bytes(sum(layer[j::OUTPUT]) % 256 for j in range(OUTPUT - 1))


def test_a_killed_emulator_loses_nothing(fake_firmware: Build) -> None:
    require(lambda: importlib.import_module("unicorn"))
    elf = fake_firmware("emulator").elf
    draw = random.Random(4)
    inputs = [bytes([1]) + draw.randbytes(INPUT - 1) for _ in range(40)]
    pids: dict[str, int] = {}

    def connect(name: str) -> LinkClient:
        client = separate_link("emulator", elf)
        pids[name] = client._session._pipe._process.pid  # type: ignore[attr-defined]
        return client

    records: list[Record] = []

    def deliver(record: Record) -> None:
        records.append(record)
        if len(records) == 10:
            os.kill(pids["0"], signal.SIGKILL)

    with Fleet([Station(name, partial(connect, name)) for name in "012"]) as fleet:
        fleet.run(plan_jobs(inputs, [25, 100], 1, len(fleet), []), deliver)
        assert list(fleet.lost) == ["0"] and "ended with status -9" in fleet.lost["0"]
    keys = [(r.dp, r.index if isinstance(r, Sample) else -1) for r in records]
    assert sorted(keys) == [(dp, i) for dp in (25, 100) for i in range(-1, len(inputs))]
    costs: dict[int, set[int]] = {25: set(), 100: set()}
    for record in records:
        if isinstance(record, Sample):
            assert record.output[:-1] == network(inputs[record.index], record.dp)
            costs[record.dp].add(record.ticks[0]["instructions"])
        else:
            assert isinstance(record, Probe) and record.stack_bytes > 0
    assert all(len(counts) == 1 for counts in costs.values())
