"""Everything that one call of `bench` measures: items, targets and compilers, one after another.

In: what to measure and how. Out: rows, in a fixed order, the same every time. Refuses what
`measure` refuses, before anything is built.
"""

import itertools
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tesla_codegen.kernels.variant import Isa, Optimize
from tesla_host.bench.cases import Case
from tesla_host.bench.cmsis_nn import Checkout, measure_peer
from tesla_host.bench.measure import Choice, check_choice, measure_case, measure_network
from tesla_host.bench.networks import Benchmark, benchmark_model
from tesla_host.bench.peers import Peer, find_peer
from tesla_host.bench.rows import Row
from tesla_host.targets import find_target

Observer = Callable[[str, float], None]
Item = TypeVar("Item", Case, Benchmark)


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """Targets and compilers, every one with every other; no compiler is each target's usual one."""

    targets: Sequence[str]
    toolchains: Sequence[str] = ()
    isa: Isa | None = None
    optimize: Optimize = Optimize.BALANCED
    portable: bool = True

    def choices(self) -> list[Choice]:
        """What to build for, in order. Raises `ConfigError` if one of them cannot be."""
        found = [
            Choice(
                target=target,
                toolchain=toolchain,
                isa=self.isa,
                optimize=self.optimize,
                portable=self.portable,
            )
            for target, toolchain in itertools.product(self.targets, self.toolchains or (None,))
        ]
        for choice in found:
            check_choice(choice)
        return found


def measure_kernels(
    campaign: Campaign,
    cases: Sequence[Case],
    observer: Observer,
    *,
    dense: int | None = None,
    checkout: Checkout | None = None,
) -> list[Row]:
    """Rows of all cases; `dense` as in `measure_case`.

    With a `checkout`, the peer is what it takes in the same emulator, else what was published.
    """
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="tesla-embed-") as name:
        for choice, case, folder in _jobs(campaign, cases, observer):
            peers = _peers(choice, checkout, Path(name))
            rows += measure_case(case, choice, folder, peers, dense=dense)
    return rows


def _peers(
    choice: Choice, checkout: Checkout | None, folder: Path
) -> Callable[[Case, int], Peer | None]:
    """What finds the peer of a case; all that a compiler builds for a target share a folder."""
    target, toolchain = find_target(choice.target), choice.toolchain
    if checkout is None:
        return lambda case, dp: find_peer(case.name, target.cpu, dp)
    place = folder / f"{target.name}-{toolchain}".replace(":", "-")
    return lambda case, dp: measure_peer(checkout, case, dp, choice.target, toolchain, place)


def measure_networks(
    campaign: Campaign,
    benches: Sequence[Benchmark],
    files: Mapping[str, Path],
    observer: Observer,
) -> list[Row]:
    """Rows of all networks; `files` as in `benchmark_model`."""
    models = {bench.name: benchmark_model(bench, files) for bench in benches}
    rows: list[Row] = []
    for choice, bench, folder in _jobs(campaign, benches, observer):
        rows += measure_network(bench, models[bench.name], choice, folder)
    return rows


def _jobs(
    campaign: Campaign, items: Sequence[Item], observer: Observer
) -> Iterator[tuple[Choice, Item, Path]]:
    """Each item on each target, with a folder of its own to build in."""
    pairs = list(itertools.product(campaign.choices(), items))
    for number, (choice, item) in enumerate(pairs):
        observer(f"{item.name} on {choice.target}", number / len(pairs))
        with tempfile.TemporaryDirectory(prefix="tesla-embed-") as name:
            yield choice, item, Path(name)
