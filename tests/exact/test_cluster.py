"""Boards on a cluster: two workers on loopback, one of which is killed."""

import importlib
import json
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import require
from shell import call

from tesla_embed.errors import DeviceError, ToolchainError
from tesla_host.build import BuildResult
from tesla_host.cluster import Cluster, RemoteBoard
from tesla_host.jobs import Record, Sample, plan_jobs

INPUT, OUTPUT = 1500, 10
DIGEST = bytes([0xFA, 0xCE, *range(3, 11)]) + bytes(22)
DPS = [25, 50, 100]

Build = Callable[[str], BuildResult]


def distributed() -> Any:
    def find() -> Any:
        try:
            return importlib.import_module("distributed")
        except ImportError as error:
            raise ToolchainError("dask is not installed; pip install '.[dask]'") from error

    return require(find)


@pytest.fixture(scope="module")
def workers() -> Iterator[Any]:
    """A scheduler and two workers, each a process with one thread."""
    with distributed().LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=None,
        silence_logs=50,
    ) as cluster:
        yield cluster


def board(target: str = "host", digest: bytes = DIGEST) -> RemoteBoard:
    return RemoteBoard(target=target, name="fake", digest=digest)


def sample(seed: int) -> bytes:
    draw = random.Random(seed)
    return bytes([draw.randrange(90)]) + draw.randbytes(INPUT - 1)


def network(data: bytes, dp: int) -> bytes:
    layer = bytes((value + dp) % 256 for value in data[: INPUT * dp // 100])
    return bytes(sum(layer[j::OUTPUT]) % 256 for j in range(OUTPUT - 1))


def check(records: list[Record], inputs: list[bytes]) -> None:
    keys = [(r.dp, r.index if isinstance(r, Sample) else -1) for r in records]
    assert sorted(keys) == [(dp, i) for dp in DPS for i in range(-1, len(inputs))]
    for record in records:
        if isinstance(record, Sample):
            assert record.output[:-1] == network(inputs[record.index], record.dp)


@pytest.mark.parametrize("target", ["host", "emulator"])
def test_two_workers_share_the_work(workers: Any, fake_firmware: Build, target: str) -> None:
    elf = fake_firmware(target).elf.read_bytes()
    inputs = [sample(i) for i in range(40)]
    records: list[Record] = []
    with Cluster(workers.scheduler_address, board(target), elf) as cluster:
        assert len(cluster) == 2 and cluster.hello.model == "fake"
        cluster.run(plan_jobs(inputs, DPS, 1, len(cluster), []), records.append)
    check(records, inputs)


def test_a_killed_worker_loses_nothing(workers: Any, fake_firmware: Build) -> None:
    elf = fake_firmware("host").elf.read_bytes()
    inputs = [sample(i) for i in range(400)]
    records: list[Record] = []
    victim = next(iter(workers.workers.values())).pid
    killed = threading.Event()

    def deliver(record: Record) -> None:
        records.append(record)
        if len(records) > 60 and not killed.is_set():
            os.kill(victim, signal.SIGKILL)
            killed.set()

    with Cluster(workers.scheduler_address, board(), elf) as cluster:
        cluster.run(plan_jobs(inputs, DPS, 1, 12, []), deliver)
    assert killed.is_set()
    check(records, inputs)


def test_another_model_on_the_workers_is_refused(workers: Any, fake_firmware: Build) -> None:
    elf = fake_firmware("host").elf.read_bytes()
    with pytest.raises(DeviceError, match=r"runs fake \(face.*not fake \(aaaa"):
        Cluster(workers.scheduler_address, board(digest=b"\xaa" * 32), elf)


def test_a_missing_scheduler_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    distributed()
    monkeypatch.setattr("tesla_host.cluster._CONNECT_S", 1)
    with pytest.raises(DeviceError, match=r"no dask scheduler answers at tcp://127.0.0.1:1") as e:
        Cluster("tcp://127.0.0.1:1", board(), b"")
    assert "\n" not in str(e.value)


def test_profile_on_a_cluster_is_the_same(workers: Any, tmp_path: Path) -> None:
    """The whole command, on emulators of the workers, against one in this process."""
    require(lambda: importlib.import_module("unicorn"))
    arguments = ["--set", "max_epochs=1", "--device-samples", "1", "--regions", "50,100"]
    assert call("demo", "--recipe", "digits-mlp", "--out", tmp_path, *arguments) == 0
    common = [tmp_path / "model.safetensors", "--data", "digits", "--device-samples", "20"]
    common += ["--build-dir", tmp_path / "build"]
    one, many = tmp_path / "one.json", tmp_path / "many.json"
    assert call("profile", *common, "--json", one) == 0
    assert call("profile", *common, "--dask", workers.scheduler_address, "--json", many) == 0
    alone, shared = (json.loads(path.read_text()) for path in (one, many))
    assert alone.pop("throughput")["samples"] == shared.pop("throughput")["samples"] == 40
    assert alone == shared
