"""The JSON that `profile` and `verify` write and that reports and scripts read.

Accuracies are fractions 0 to 1; a value that was not or cannot be measured is `null`.
Field names are a promise to users' scripts: add, never rename.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec

from tesla_embed.atomic import write_bytes
from tesla_embed.errors import ConfigError

PROFILE_SCHEMA = "tesla-embed/profile/1"
VERIFY_SCHEMA = "tesla-embed/verify/1"

Count = Annotated[int, msgspec.Meta(ge=0)]
Number = TypeVar("Number", int, float)


class Tool(msgspec.Struct, kw_only=True):
    """What measured: versions of this tool and of the compiler."""

    version: str
    compiler: str
    host_compiler: str


class ModelInfo(msgspec.Struct, kw_only=True):
    """What was measured, and how it was made."""

    name: str
    digest: str
    weights_bytes: int | None
    input_shape: list[int]
    output_shape: list[int]
    recipe: str
    algorithm: str
    profile: str
    seed: int | None
    data: str


class TargetInfo(msgspec.Struct, kw_only=True):
    """What it was measured on. `clock_hz` turns cycles into microseconds."""

    name: str
    cpu: str
    clock_hz: int
    status: str


class ArenaBuffer(msgspec.Struct, kw_only=True):
    """One buffer in the arena; alive from step `first` to step `last`, both included.

    It holds an activation, or is `scratch` memory. `over` names the inputs that it overwrites while
    it is made, if any.
    """

    name: str
    offset: int
    bytes: int
    first: int
    last: int
    scratch: bool = False
    over: str = ""


class Memory(msgspec.Struct, kw_only=True):
    """Bytes. `flash_bytes` and `ram_bytes` are the whole firmware's, stack apart; `null` for a
    board that was connected and not built for, and for the host.

    `ram_bytes` contains the arena; `stack_bytes` is the high-water mark that was measured, of the
    whole firmware; `library_stack_bytes` is what a run of the library takes at most, without the
    callback, by the compiler's own account. `ram_high_water_bytes` is the most RAM that was ever in
    use: variables and stack together.
    `region_table_bytes` and `buffers` are those of the library that ran. Of a board that was
    connected they are derived from what it says of itself; where that leaves them open they are
    `null` and empty, as are `weights_bytes`, `arena_bound_bytes` and the regions' peaks, and
    `unknown` says why. `region_table_bytes` is the part of the flash that the operating regions
    cost. No arena can be smaller than `arena_bound_bytes`; `steps` names the layers by which
    buffers live.
    """

    flash_bytes: int | None
    ram_bytes: int | None
    arena_bytes: int
    stack_bytes: int | None
    region_table_bytes: int | None
    buffers: list[ArenaBuffer] = []
    arena_bound_bytes: int | None = None
    steps: list[str] = []
    library_stack_bytes: int | None = None
    ram_high_water_bytes: int | None = None
    unknown: str | None = None


class Spread(msgspec.Struct, kw_only=True):
    """Smallest, middle and largest of several runs; `p95`: 95 % of them were no larger."""

    min: int
    median: int
    max: int
    p95: int | None = None


class Latency(msgspec.Struct, kw_only=True):
    """Microseconds of several runs, by the device's own clock; `p95` as in `Spread`."""

    min: float
    median: float
    p95: float
    max: float


def p95(values: Iterable[Number]) -> Number:
    """The smallest of the values, of which there is one at least, that 95 % do not exceed."""
    ordered = sorted(values)
    return ordered[-(-95 * len(ordered) // 100) - 1]


class LayerCost(msgspec.Struct, kw_only=True):
    """One layer in one region. `instructions` is null where the target cannot count them."""

    name: str
    op: str
    macs: int
    instructions: int | None
    cycles_estimate: int | None = None
    latency_us: float | None = None


class RegionResult(msgspec.Struct, kw_only=True):
    """One operating region.

    `accuracy` is over all `samples` by the bit-identical host build; `device_samples` of them also
    went through the link, and `agreement` is the share of those whose output was identical.
    `accuracy_float` is the float network's over the same samples, `null` on data that `quantize`
    did not see.
    `device_accuracy` is over those samples, as the device answered. `latency_us` is the median of
    `latency`. `switch_...` is what selecting this region cost, `first_...` the first inference
    after that, which may find caches and flash cold; `arena_peak_bytes` the most of the arena that
    it uses at a time.
    """

    dp: int
    macs: int
    macs_fraction: float
    samples: int
    accuracy: float
    accuracy_float: float | None
    accuracy_float_samples: int
    device_samples: Count
    agreement: float
    bit_exact: bool
    instructions: Spread | None
    cycles_estimate: int | None
    latency_us: float | None
    switch_instructions: int | None
    layers: list[LayerCost]
    arena_peak_bytes: int | None = None
    device_accuracy: float | None = None
    latency: Latency | None = None
    switch_us: float | None = None
    first_instructions: int | None = None
    first_us: float | None = None


class Throughput(msgspec.Struct, kw_only=True):
    """How fast all boards together took samples through the link, by this computer's clock.

    `samples` came back in `seconds`, counted once for each region and however often they ran; what
    an interrupted run had left is not among them. The seconds are those from the first job to the
    last, with the links and with what is measured once in a region, but without building and
    starting.
    """

    boards: int
    samples: int
    seconds: float
    samples_per_second: float


class Profile(msgspec.Struct, kw_only=True):
    """What `tesla-embed profile` measures; what went through the link ran `runs` times each.

    `throughput` alone is not the same each time where the target counts instructions; it is `null`
    where no sample was left to measure.
    """

    schema: str = PROFILE_SCHEMA
    tool: Tool
    model: ModelInfo
    target: TargetInfo
    data: str
    memory: Memory
    regions: list[RegionResult]
    runs: Annotated[int, msgspec.Meta(ge=1)] = 1
    throughput: Throughput | None = None


class Divergence(msgspec.Struct, kw_only=True):
    """The first place where two implementations differ."""

    sample: int
    layer: str
    index: int
    expected: int
    found: int


class Check(msgspec.Struct, kw_only=True):
    """One region, one implementation, compared with the integer interpreter."""

    dp: int
    against: str
    samples: int
    mismatches: int
    first: Divergence | None = None


class Verification(msgspec.Struct, kw_only=True):
    """What `tesla-embed verify` finds."""

    schema: str = VERIFY_SCHEMA
    bit_exact: bool
    checks: list[Check]


def write_json(path: Path, result: msgspec.Struct) -> None:
    """Write a result, indented, in one step."""
    write_bytes(path, msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")


def read_profile(path: Path) -> Profile:
    """Read a profile. Raises `ConfigError` that names the file and the field at fault."""
    try:
        profile = msgspec.json.decode(path.read_bytes(), type=Profile)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; check the path") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: no profile of ours ({error}); make it with `profile`"
        ) from error
    if profile.schema != PROFILE_SCHEMA:
        raise ConfigError(f"{path}: schema {profile.schema!r}, not {PROFILE_SCHEMA!r}")
    return profile
