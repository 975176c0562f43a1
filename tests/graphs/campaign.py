"""Compare very many random graphs on every implementation, and say how it went.

    OMP_NUM_THREADS=1 python tests/graphs/campaign.py --count 20000 --seed 0 --out campaign.json

After every batch the summary is written to `--out`; the same command goes on where it stopped. To
share the work, give each process a `--first` and an `--out` of its own. The exit code is 1 if
anything differs; the summary then names graph, region, layer and element, and
`graphs.compare.random_model` makes the graph of a number again.
"""

import argparse
import dataclasses
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from graphs.compare import IMPLEMENTATIONS, Outcome, Tally, compare_batch
from tesla_embed import __version__
from tesla_embed.atomic import write_bytes
from tesla_host.compilers import find_compiler

SCHEMA = "tesla-embed/exactness-campaign/1"
_APART = 1_000_000
"""Between the graphs of two seeds; those of the test suite have smaller numbers."""


def begin(options: argparse.Namespace) -> dict[str, Any]:
    """The summary so far: that of an interrupted campaign, or an empty one."""
    settings = {
        "seed": options.seed,
        "first": options.first,
        "count": options.count,
        "samples": options.samples,
    }
    if options.out is not None and options.out.exists():
        found: dict[str, Any] = json.loads(options.out.read_text())
        if found["schema"] != SCHEMA or found["settings"] != settings:
            sys.exit(f"{options.out} is of another campaign; choose another --out")
        return found
    return {
        "schema": SCHEMA,
        "settings": settings,
        "done": 0,
        "seconds": 0.0,
        "outcome": dataclasses.asdict(Outcome()),
        "tools": _tools(),
    }


def outcome_of(summary: dict[str, Any]) -> Outcome:
    """What a summary says, to be added to."""
    fields = dict(summary["outcome"])
    compared = {name: Tally(**fields["compared"][name]) for name in IMPLEMENTATIONS}
    return Outcome(**{**fields, "compared": compared})


def _tools() -> dict[str, str]:
    import ai_edge_litert
    import unicorn

    return {
        "tesla-embed": __version__,
        "host C": find_compiler("host").version,
        "emulated C": find_compiler("zig").version,
        "Unicorn": str(unicorn.__version__),
        "LiteRT": str(ai_edge_litert.__version__),
        "Python": platform.python_version(),
        "machine": platform.machine(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--count", type=int, default=1000, help="graphs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first graph")
    parser.add_argument("--batch", type=int, default=200, help="graphs in one program")
    parser.add_argument("--samples", type=int, default=5, help="inputs for every region")
    parser.add_argument("--out", type=Path, help="where the summary goes, and is found again")
    options = parser.parse_args()
    summary = begin(options)
    outcome, compiler = outcome_of(summary), find_compiler("host").command
    while summary["done"] < options.count:
        started = time.monotonic()
        size = min(options.batch, options.count - summary["done"])
        first = (options.seed + 1) * _APART + options.first + summary["done"]
        compare_batch(range(first, first + size), compiler, options.samples, outcome)
        summary["done"] += size
        summary["seconds"] = round(summary["seconds"] + time.monotonic() - started, 1)
        summary["outcome"] = dataclasses.asdict(outcome)
        if options.out is not None:
            write_bytes(options.out, (json.dumps(summary, indent=2) + "\n").encode())
        print(f"{summary['done']} graphs, {len(outcome.differences)} differences", file=sys.stderr)
    print(json.dumps(summary, indent=2))
    return 1 if outcome.differences else 0


if __name__ == "__main__":
    sys.exit(main())
