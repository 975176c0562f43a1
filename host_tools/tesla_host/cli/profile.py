"""The verb `profile` behind its options: boards, measurements, result, comparison.

In: what the user asked for. Out: whether something is not as it should be. Raises what measuring
raises; what was measured until then is in the file of results.
"""

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tesla_codegen.kernels.variant import Optimize
from tesla_embed.data import load_data
from tesla_embed.errors import ConfigError, DeviceError
from tesla_embed.ir.graph import Model
from tesla_embed.ir.store import load_model
from tesla_host.cli.options import build_folder, parse_dp_list
from tesla_host.cli.terminal import print_profile, print_regressions, progress
from tesla_host.cli.verb import check_json, json_file, present
from tesla_host.cluster import Cluster, RemoteBoard
from tesla_host.fleet import Fleet
from tesla_host.profiler import Crew, load_samples, profile_bench
from tesla_host.regression import (
    check_comparable,
    missing_regions,
    parse_share,
    regressions,
    remarks,
)
from tesla_host.results import Profile, read_profile
from tesla_host.stations import expected_model, resolve_ports, stations_of
from tesla_host.targets import check_runs
from tesla_host.workbench import Workbench, set_up


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The options of `profile`, as typed."""

    model: Path
    data: str
    target: str
    toolchain: str | None
    optimize: Optimize
    ports: tuple[str, ...]
    boards: int
    dask: str | None
    baud: int
    samples: int | None
    device_samples: int
    runs: int
    regions: str | None
    json: Path | None
    results: Path | None
    compare: Path | None
    fail_above: str | None
    build_dir: Path | None


def run_profile(request: Request) -> bool:
    """Profile and print; True when an output was wrong, or something got worse than allowed."""
    _check(request)
    allowed = 0.0 if request.fail_above is None else parse_share(request.fail_above)
    old = None if request.compare is None else read_profile(request.compare)
    model = load_model(request.model)
    profile = _measure(request, model, old)
    worse = [] if old is None else regressions(old, profile, allowed)

    def show() -> None:
        print_profile(profile)
        if old is not None:
            missing = missing_regions(old, profile)
            print_regressions(worse, allowed, missing, remarks(old, profile))

    document: object = profile
    if old is not None:
        compared = {
            "worse": worse,
            "missing_regions": missing_regions(old, profile),
            "remarks": remarks(old, profile),
        }
        document = msgspec.to_builtins(profile) | compared
    present(request.json, document, show)
    partial = _partial(request)
    if request.results is None and partial is not None:
        partial.unlink(missing_ok=True)
    wrong = not all(region.bit_exact for region in profile.regions)
    return wrong or (bool(worse) and request.fail_above is not None)


def _check(request: Request) -> None:
    """Refuse options that exclude each other before anything is built."""
    check_json(request.json, request.model, request.compare, request.results)
    if request.fail_above is not None and request.compare is None:
        raise ConfigError("--fail-above says how much worse than --compare OLD.json; give both")
    if request.ports and request.boards > 1:
        raise ConfigError("--boards counts boards of a target; with --port, name each board")
    if request.dask is not None and (len(request.ports) > 1 or request.boards > 1):
        raise ConfigError("with --dask each worker has one board: give at most one --port")
    if request.dask is None and not request.ports:
        check_runs(request.target)


def _measure(request: Request, model: Model, old: Profile | None) -> Profile:
    """Measure what can be compared with `old`; keeps what an interruption leaves where the same
    command finds it again."""
    chosen = model.regions
    if request.regions is not None:
        chosen = tuple(model.region(dp) for dp in parse_dp_list(request.regions))
    dps = [region.dp for region in chosen]
    if old is not None and not request.ports:
        check_comparable(old, request.target, dps)
    data = load_data(request.data, train=False)
    samples = load_samples(model, data, request.samples)
    results = request.results or _partial(request)
    with progress("profiling") as observer, build_folder(request.build_dir) as folder:
        observer("looking for boards" if request.ports else "building", 0.0)
        targets = _targets(request, model)
        target = ", ".join(targets) or request.target
        if old is not None:
            check_comparable(old, target, dps)
        bench = set_up(model, target, folder, request.toolchain, request.optimize)
        with _crew(request, bench, targets) as crew, _kept(results):
            profile = profile_bench(
                bench,
                data,
                samples,
                request.device_samples,
                chosen,
                observer,
                crew=crew,
                results=results,
                runs=request.runs,
            )
    if isinstance(crew, Fleet):
        _tell_trouble(crew)
    return profile


def _partial(request: Request) -> Path | None:
    """Where what an interruption leaves is kept beside the file of --json."""
    file = json_file(request.json)
    return None if file is None else file.with_name(f"{file.name}.partial")


def _tell_trouble(fleet: Fleet) -> None:
    """What a user should know of lines and boards though the result is right."""
    for name, why in fleet.lost.items():
        print(f"lost {name}: {why}; others did its work", file=sys.stderr)
    if str(fleet.events):
        print(f"mended on the line: {fleet.events}", file=sys.stderr)


def _targets(request: Request, model: Model) -> list[str]:
    """Connections to use; with a cluster, what its workers are to open."""
    if request.dask is not None and request.ports:
        from tesla_host.link.ports import connection

        return [connection(port) for port in request.ports]
    return resolve_ports(model, request.ports, request.baud)


@contextlib.contextmanager
def _crew(request: Request, bench: Workbench, targets: list[str]) -> Iterator[Crew]:
    if request.dask is None:
        with Fleet(stations_of(bench, targets, request.boards, request.baud)) as fleet:
            yield fleet
        return
    expected = expected_model(bench.model)
    board = RemoteBoard(
        target=bench.target, name=expected.name, digest=expected.digest, baud=request.baud
    )
    elf = bench.device.elf.read_bytes() if bench.device else None
    with Cluster(request.dask, board, elf) as cluster:
        yield cluster


@contextlib.contextmanager
def _kept(results: Path | None) -> Iterator[None]:
    """Say, where boards are lost, that nothing measured is."""
    try:
        yield
    except DeviceError as error:
        if results is None:
            raise
        raise DeviceError(
            f"{error}; what was measured is kept in {results}: the same command continues it"
        ) from error
