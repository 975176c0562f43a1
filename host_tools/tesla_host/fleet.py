"""Several boards that share the work.

In: boards to connect to, and jobs. Out: the records of all jobs, in the order in which they come.
When a board is lost, what it had not delivered goes to the others. Refuses boards that are not of
one kind, and raises `DeviceError` when the last one is lost.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from tesla_embed.errors import DeviceError
from tesla_host.jobs import Job, Record, measure
from tesla_host.link.client import LinkClient
from tesla_host.link.replies import Hello
from tesla_host.link.session import Events

_POLL_S = 0.1

Deliver = Callable[[Record], None]


@dataclass(frozen=True, slots=True)
class Station:
    """A board: its name for messages, and the way to it."""

    name: str
    connect: Callable[[], LinkClient]


class Fleet:
    """Connected boards, all of one kind; `hello` is what they say, `lost` why one is gone."""

    def __init__(self, stations: Sequence[Station]) -> None:
        """Connect to all. Raises `DeviceError` when one does not answer, or is of another kind."""
        self.lost: dict[str, str] = {}
        self._clients: list[tuple[str, LinkClient]] = []
        try:
            self._connect(stations)
            self.hello = self._common_hello()
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self._clients)

    @property
    def events(self) -> Events:
        """What went wrong on all lines together and was mended."""
        return sum((client.events for _, client in self._clients), Events())

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        for _, client in self._clients:
            client.close()

    def run(self, jobs: Sequence[Job], deliver: Deliver) -> None:
        """Have all jobs done; `deliver` is called in the caller's thread."""
        if len(self._clients) == 1:  # an emulator must stay in its thread
            _, client = self._clients[0]
            for job in jobs:
                for record in measure(client, job):
                    deliver(record)
            return
        _Crew(self._clients, jobs, self.lost).run(deliver)

    def _connect(self, stations: Sequence[Station]) -> None:
        """Have all stations start at once: an emulator takes longer to start than some samples."""
        if len(stations) == 1:  # in this thread: see `run`
            self._clients.append((stations[0].name, stations[0].connect()))
            return
        futures: list[Future[LinkClient]] = []
        try:
            with ThreadPoolExecutor(len(stations)) as pool:
                futures += [pool.submit(station.connect) for station in stations]
        finally:  # whatever came of it, those that are connected will be closed
            for station, future in zip(stations, futures, strict=False):
                if future.exception() is None:
                    self._clients.append((station.name, future.result()))
        for future in futures:
            future.result()  # raises why the first of them did not

    def _common_hello(self) -> Hello:
        (name, first), *others = self._clients
        for other_name, other in others:
            if other.hello() != first.hello():
                raise DeviceError(
                    f"{name} ({first.hello().board}, firmware {first.hello().firmware_version}) "
                    f"and {other_name} ({other.hello().board}, firmware "
                    f"{other.hello().firmware_version}) are no boards of one kind; measure them "
                    "one by one"
                )
        return first.hello()


class _Crew:
    """One thread for each board, and the jobs that are left."""

    def __init__(
        self, clients: Sequence[tuple[str, LinkClient]], jobs: Sequence[Job], lost: dict[str, str]
    ) -> None:
        self._todo = deque(jobs)
        self._busy = 0
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._records: queue.Queue[Record] = queue.Queue()
        self._lost = lost
        self._crash: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._serve, args=entry, name=entry[0], daemon=True)
            for entry in clients
            if entry[0] not in lost
        ]

    def run(self, deliver: Deliver) -> None:
        for thread in self._threads:
            thread.start()
        try:
            while any(thread.is_alive() for thread in self._threads) or not self._records.empty():
                try:
                    record = self._records.get(timeout=_POLL_S)
                except queue.Empty:
                    continue
                deliver(record)
        finally:
            self._stop.set()
            with self._changed:
                self._changed.notify_all()
            for thread in self._threads:
                thread.join()
        if self._crash is not None:
            raise self._crash
        if self._todo:
            reasons = "; ".join(f"{name}: {why}" for name, why in self._lost.items())
            raise DeviceError(f"all {len(self._lost)} boards are lost ({reasons})")

    def _serve(self, name: str, client: LinkClient) -> None:
        while (job := self._take()) is not None:
            left: Job | None = job
            try:
                for record in measure(client, job):
                    self._records.put(record)
                    left = job = job.without(record)
                    if self._stop.is_set():
                        return
                left = None
            except DeviceError as error:
                self._lost[name] = str(error)
                return
            except BaseException as error:
                self._crash = error
                self._stop.set()
                return
            finally:
                self._put_back(left)

    def _take(self) -> Job | None:
        """The next job; waits while another board may still give one back."""
        with self._changed:
            while not self._todo and self._busy and not self._stop.is_set():
                self._changed.wait()
            if not self._todo or self._stop.is_set():
                return None
            self._busy += 1
            return self._todo.popleft()

    def _put_back(self, left: Job | None) -> None:
        with self._changed:
            self._busy -= 1
            if left is not None and left.indices:
                self._todo.appendleft(left)
            self._changed.notify_all()
