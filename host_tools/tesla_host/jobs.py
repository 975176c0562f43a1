"""What a profile has to measure, cut into jobs that any board can take.

In: a model's inputs and the regions to measure. Out: jobs, and, on a board, the records of one.
A job carries all that it needs and leaves nothing behind, so that it does not matter which board
does it, in which order, or whether another one began it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec

from tesla_host.link.client import LinkClient

Ticks = dict[str, int]
_MOST_SAMPLES = 64
"""Of one job: what is lost with a board is done again by another one."""
_FEWEST_SAMPLES = 4
_JOBS_PER_BOARD = 4
_PROBE_RUNS = 2
"""Inferences of `_probe` that a firmware measures; layers are timed without the marker."""


class Probe(msgspec.Struct, kw_only=True, frozen=True, tag="probe"):
    """What is measured once in a region.

    Ticks of selecting it, of the first inference after that, and of each layer; bytes of stack that
    were ever in use.
    """

    dp: int
    switch: Ticks
    first: Ticks
    layers: list[Ticks]
    stack_bytes: int


class Sample(msgspec.Struct, kw_only=True, frozen=True, tag="sample"):
    """What one sample gave in a region: ticks of each run, and the output."""

    dp: int
    index: int
    ticks: list[Ticks]
    output: bytes


Record = Probe | Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Samples to run in one region, `runs` times each; or its probe, which takes two inputs."""

    dp: int
    indices: tuple[int, ...]
    inputs: tuple[bytes, ...]
    runs: int = 1
    probe: bool = False

    def without(self, record: Record) -> "Job":
        """What is left of the job after its first record."""
        assert record.dp == self.dp
        return replace(self, indices=self.indices[1:], inputs=self.inputs[1:])


def plan_jobs(
    inputs: Sequence[bytes], dps: Iterable[int], runs: int, boards: int, done: Iterable[Record]
) -> list[Job]:
    """All that is still to be measured, in small enough pieces for so many boards."""
    have = {(r.dp, r.index if isinstance(r, Sample) else -1) for r in done}
    share = len(inputs) // (boards * _JOBS_PER_BOARD)
    each = _MOST_SAMPLES if boards == 1 else min(_MOST_SAMPLES, max(_FEWEST_SAMPLES, share))
    jobs: list[Job] = []
    for dp in dps:
        if (dp, -1) not in have:
            ends = (inputs[0], inputs[-1])
            jobs.append(Job(dp=dp, indices=(0,), inputs=ends, probe=True))
        left = [index for index in range(len(inputs)) if (dp, index) not in have]
        for start in range(0, len(left), each):
            part = tuple(left[start : start + each])
            jobs.append(Job(dp=dp, indices=part, inputs=tuple(inputs[i] for i in part), runs=runs))
    return jobs


def marked_runs(regions: Iterable[tuple[int, int]], runs: int) -> list[tuple[int, bool]]:
    """All inferences that one board measures, in order: the region, and whether it is a sample's.

    `regions` are DP percentages and how many samples each runs, `runs` times. What `_probe` runs
    comes first in each region and is no sample's. A board's marker rises as often.
    """
    found: list[tuple[int, bool]] = []
    for dp, samples in regions:
        found += [(dp, False)] * _PROBE_RUNS + [(dp, True)] * (samples * runs)
    return found


def count_marked(samples: Iterable[int], runs: int) -> int:
    """How many inferences `marked_runs` lists for regions with so many samples each."""
    return sum(_PROBE_RUNS + each * runs for each in samples)


def measure(client: LinkClient, job: Job) -> Iterator[Record]:
    """Do a job on a board; gives each record as soon as it is measured."""
    if job.probe:
        yield _probe(client, job)
        return
    client.set_dp(job.dp)
    stream = client.infer_many(job.inputs)
    for index, inference in zip(job.indices, stream, strict=True):
        ticks = [inference.ticks]
        if job.runs > 1:
            ticks += client.run(job.runs - 1)
        yield Sample(dp=job.dp, index=index, ticks=ticks, output=inference.output)


def _probe(client: LinkClient, job: Job) -> Probe:
    first_input, last_input = job.inputs
    others = [region.dp for region in client.hello().regions if region.dp != job.dp]
    if others:
        client.set_dp(others[0])
    switch = client.set_dp(job.dp)
    (first,) = client.infer_many([first_input])
    client.load_input(last_input)
    client.run()  # so that the stack has seen every way to run
    layers = list(client.layer_ticks())
    return Probe(
        dp=job.dp,
        switch=switch,
        first=first.ticks,
        layers=layers,
        stack_bytes=client.stack().used,
    )
