"""Boards or emulators on several machines: the workers of a `dask.distributed` scheduler.

In: the address of a scheduler, and a target that each worker has (a port, `auto`, or one that is
built for). Out: records, as from a `Fleet`. Each worker process uses one board, for one job at a
time; a job of a worker that dies, or whose board is lost, goes to another one. Refuses, with
`DeviceError`, a scheduler that does not answer and jobs that no worker can do.

Workers run this package; whoever can reach the scheduler can have them run anything.
"""

import contextlib
import hashlib
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from tesla_embed.errors import DeviceError, TeslaEmbedError, ToolchainError
from tesla_host.fleet import Deliver
from tesla_host.isolated import separate_link
from tesla_host.jobs import Job, Record, measure
from tesla_host.link.client import ExpectedModel, LinkClient
from tesla_host.link.ports import is_connection
from tesla_host.link.replies import Hello
from tesla_host.targets import open_link

_CONNECT_S = 20
_RETRIES = 5
"""How often a job is tried again, on whatever worker is free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteBoard:
    """What each worker opens: a target, and the model that must answer there."""

    target: str
    name: str
    digest: bytes
    baud: int = 115_200


class Cluster:
    """The workers of a scheduler, each with a board. Does what a `Fleet` does."""

    def __init__(self, address: str, board: RemoteBoard, elf: bytes | None) -> None:
        """Connect. `elf` is the firmware for a target that is built for."""
        try:
            distributed: Any = import_module("distributed")
        except ImportError as error:
            raise ToolchainError("a cluster needs dask: pip install 'tesla-embed[dask]'") from error
        self._as_completed = distributed.as_completed
        self._board = board
        try:
            self._client: Any = distributed.Client(address, timeout=_CONNECT_S)
        except (OSError, ValueError) as error:  # TimeoutError is an OSError
            raise DeviceError(
                f"no dask scheduler answers at {address}: {error}; start `dask scheduler` there"
            ) from error
        try:
            self._elf = self._client.submit(bytes, elf or b"", pure=False)
            with _task_errors():
                self.hello: Hello = self._submit(_ask, None).result()
        except BaseException:
            self._client.close()
            raise

    def __len__(self) -> int:
        return max(1, len(self._client.scheduler_info(n_workers=-1)["workers"]))

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def run(self, jobs: Sequence[Job], deliver: Deliver) -> None:
        """Have all jobs done; the records of a job come together."""
        futures = [self._submit(_work, job) for job in jobs]
        try:
            with _task_errors():
                for _, records in self._as_completed(futures, with_results=True):
                    for record in records:
                        deliver(record)
        finally:
            self._client.cancel(futures)

    def _submit(self, task: Any, job: Job | None) -> Any:
        argument = (job, self.hello) if job is not None else None
        return self._client.submit(
            task, self._board, self._elf, argument, retries=_RETRIES, pure=False
        )


@contextlib.contextmanager
def _task_errors() -> Iterator[None]:
    """What dask raises for a task that failed everywhere, as ours."""
    try:
        yield
    except TeslaEmbedError:
        raise
    except Exception as error:
        raise DeviceError(
            f"the cluster could not do a job: {' '.join(str(error).split())}; see the log of its "
            "workers"
        ) from error


_lock = threading.Lock()  # one job at a time, however many threads a worker has
_open: dict[tuple[RemoteBoard, str], LinkClient] = {}
_folder: list[tempfile.TemporaryDirectory[str]] = []


def _ask(board: RemoteBoard, elf: bytes, _nothing: None) -> Hello:
    with _lock, _connected(board, elf) as client:
        return client.hello()


def _work(board: RemoteBoard, elf: bytes, task: tuple[Job, Hello]) -> list[Record]:
    job, hello = task
    with _lock, _connected(board, elf) as client:
        if client.hello() != hello:
            raise DeviceError("the workers' boards are not of one kind; measure them one by one")
        return list(measure(client, job))


@contextlib.contextmanager
def _connected(board: RemoteBoard, elf: bytes) -> Iterator[LinkClient]:
    """This worker's board, opened the first time and after it was lost."""
    key = (board, hashlib.sha256(elf).hexdigest())
    try:
        if key not in _open:
            _open[key] = _connect(board, elf, key[1])
        yield _open[key]
    except TeslaEmbedError as error:
        client = _open.pop(key, None)
        if client is not None:
            client.close()
        raise DeviceError(str(error)) from None  # which can travel


def _connect(board: RemoteBoard, elf: bytes, name: str) -> LinkClient:
    expected = ExpectedModel(name=board.name, digest=board.digest)
    if is_connection(board.target):
        return open_link(board.target, None, expected, baud=board.baud)
    if not _folder:
        _folder.append(tempfile.TemporaryDirectory(prefix="tesla-embed-"))
    path = Path(_folder[0].name) / name
    if not path.exists():  # it may be running
        path.write_bytes(elf)
        path.chmod(0o700)
    return separate_link(board.target, path, expected)
