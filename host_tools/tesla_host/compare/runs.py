"""Carries out the runs of a comparison, several at a time, each in a process of its own.

In: runs, a data set and a folder. Out: one `RunResult` per run, kept as `result.json` in its
sub-folder. Finished runs are skipped and begun ones continue, whatever ended them. When one fails,
the others go on.
"""

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

import msgspec

from tesla_embed.data import DataSet, load_data
from tesla_embed.errors import TeslaEmbedError, ToolchainError
from tesla_embed.train.recipe import Recipe, recipe_bytes
from tesla_host.compare.plan import Run
from tesla_host.compare.results import RunResult, read_run, write_json

RESULT_NAME = "result.json"

Observer = Callable[[str, float], None]


@dataclass(slots=True)
class _Worker:
    """A run in progress; `fraction` of it is done."""

    run: Run
    process: SpawnProcess
    fraction: float = 0.0


def carry_out(
    runs: Sequence[Run], data: str, folder: Path, dps: Sequence[int], jobs: int, observer: Observer
) -> tuple[dict[Run, RunResult], dict[Run, TeslaEmbedError]]:
    """Train and evaluate all `runs` on the data set `data` at every one of `dps` (percent).

    At most `jobs` processes work at once; `observer` gets a status and the share done. Returns the
    results, and the errors of runs that have none. On Ctrl-C the processes are stopped.
    """
    fingerprint = load_data(data).fingerprint()
    results = {run: _finished(run, fingerprint, folder, dps) for run in runs}
    waiting = [run for run, result in results.items() if result is None]
    active: dict[Connection, _Worker] = {}
    failed: dict[Run, TeslaEmbedError] = {}
    try:
        while waiting or active:
            while waiting and len(active) < jobs:
                connection, worker = _start(waiting.pop(0), data, folder, dps)
                active[connection] = worker
            for ready in wait(list(active)):
                assert isinstance(ready, Connection)
                _receive(ready, active, failed)
            done = len(runs) - len(waiting) - len(active)
            share = sum(worker.fraction for worker in active.values())
            status = ", ".join(worker.run.folder for worker in active.values())
            observer(f"{done} of {len(runs)} runs done; {status}", (done + share) / len(runs))
    finally:
        for worker in active.values():
            worker.process.terminate()
            worker.process.join()
    found = {run: _finished(run, fingerprint, folder, dps) for run in runs if run not in failed}
    for run, result in found.items():
        if result is None:
            failed[run] = ToolchainError(f"run {run.folder} left no result")
    return {run: result for run, result in found.items() if result is not None}, failed


def _finished(run: Run, fingerprint: str, folder: Path, dps: Sequence[int]) -> RunResult | None:
    """The result of a run if it is there, and of the same recipe, data and percentages."""
    found = read_run(folder / run.folder / RESULT_NAME)
    if found is None or found.data != fingerprint:
        return None
    try:
        recipe = msgspec.json.decode(found.recipe, type=Recipe)
    except msgspec.DecodeError:
        return None
    whole = list(found.accuracy) == list(found.macs) == list(dps)
    sound = all(0.0 <= value <= 1.0 for value in found.accuracy.values())
    return found if recipe == run.recipe and whole and sound else None


def _start(run: Run, data: str, folder: Path, dps: Sequence[int]) -> tuple[Connection, _Worker]:
    """Begin a run. A fresh interpreter: forking would copy the locks of running threads."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(
        target=_work, args=(there, run, data, folder / run.folder, tuple(dps)), daemon=True
    )
    process.start()
    there.close()
    return here, _Worker(run, process)


def _receive(
    connection: Connection,
    active: dict[Connection, _Worker],
    failed: dict[Run, TeslaEmbedError],
) -> None:
    """Take a message of a run: its progress, its error, or the end of its process."""
    worker = active[connection]
    try:
        message: float | TeslaEmbedError = connection.recv()
    except EOFError:
        del active[connection]
        worker.process.join()
        if worker.process.exitcode and worker.run not in failed:
            failed[worker.run] = ToolchainError(
                f"run {worker.run.folder} ended with exit code {worker.process.exitcode}; start "
                "the comparison again to continue, with fewer --jobs if memory is short"
            )
        return
    if isinstance(message, TeslaEmbedError):
        failed[worker.run] = type(message)(f"run {worker.run.folder}: {message}")
        return
    worker.fraction = message


def _work(connection: Connection, run: Run, data: str, folder: Path, dps: Sequence[int]) -> None:
    """One run, in its own process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent decides
    try:
        _train_and_evaluate(connection, run, load_data(data), folder, dps)
    except TeslaEmbedError as error:
        connection.send(error)
    except BrokenPipeError:
        return  # the parent is gone; the last checkpoint stays


def _train_and_evaluate(
    connection: Connection, run: Run, data: DataSet, folder: Path, dps: Sequence[int]
) -> None:
    from tesla_embed.train.evaluate import evaluate
    from tesla_embed.train.loop import train

    trained = train(run.recipe, data, folder, lambda event: connection.send(event.fraction))
    measured = evaluate(trained.network, data.test, dps)
    result = RunResult(
        recipe=recipe_bytes(run.recipe).decode(),
        data=data.fingerprint(),
        epochs=trained.epochs,
        accuracy=measured.accuracy,
        macs=measured.macs,
        full_macs=measured.full_macs,
    )
    write_json(folder / RESULT_NAME, result)
