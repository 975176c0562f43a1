"""The MLPerf Tiny firmware answers its text protocol, on the emulated board and as a process."""

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dialogue import (
    BOOT,
    HELP_LINES,
    READY,
    Reference,
    ask,
    hexadecimal,
    listen,
    without_laps,
)
from graphs import BENCHMARK_INPUTS, benchmark_model

from tesla_codegen.project import generate
from tesla_embed.errors import ConfigError
from tesla_embed.ir.graph import Model
from tesla_host.apps import LINK, MLPERF_TINY, choose_app
from tesla_host.build import build_firmware
from tesla_host.compilers import find_compiler
from tesla_host.link.pipes import Pipe
from tesla_host.targets import find_target, open_target

FAKE_MODEL = Path(__file__).parent / "fake_model"
SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")
Build = Callable[[str, str], Path]


@pytest.fixture(scope="module")
def models() -> dict[str, Model]:
    return {name: benchmark_model(name) for name in BENCHMARK_INPUTS}


@pytest.fixture(scope="module")
def build(
    models: dict[str, Model],
    tmp_path_factory: pytest.TempPathFactory,
    require_tool: Callable[..., object],
) -> Build:
    """The firmware of a benchmark for a target; the process is built with sanitizers."""
    built: dict[tuple[str, str], Path] = {}

    def firmware(name: str, target: str) -> Path:
        if (name, target) not in built:
            require_tool(lambda: find_compiler(find_target(target).compiler))
            folder = tmp_path_factory.mktemp(f"{name}-{target.replace(':', '-')}")
            generate(models[name], folder / "project")
            flags = ("-Werror", *(SANITIZE if target == "host" else ()))
            app = choose_app("mlperf-tiny", models[name])
            result = build_firmware(folder / "project", target, folder, app=app, extra_flags=flags)
            built[name, target] = result.elf
        return built[name, target]

    return firmware


@pytest.fixture(params=["emulator", "host"])
def target(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_a_chip_in_qemu_takes_one_instruction_a_cycle(
    build: Build, models: dict[str, Model]
) -> None:
    """It knows no clock of its own there: laps follow from the row's, not from a MHz."""
    laps_of: dict[str, int] = {}
    rows = {name: find_target(name) for name in ("qemu:netduinoplus2", "qemu:mps2-an386")}
    for target, row in rows.items():
        pipe = open_target(target, build("kws01", target))
        try:
            assert without_laps(listen(pipe)) == BOOT
            reference = Reference(models["kws01"], "kws01", row.name)
            stream = hexadecimal(raw_input("kws01", 1)) + b"dp 20%infer 20 1%"
            said = ask(pipe, stream, stream.count(b"%"))
            assert without_laps(said) == reference.answer(stream)
        finally:
            pipe.close()
        first, second = laps(said)
        laps_of[target] = (second - first) * row.clock_hz // 10**6
    one, other = laps_of.values()  # the same core: the same instructions, but for the rounding
    assert one > 10_000 and abs(one / other - 1) < 0.01


@pytest.fixture
def start(build: Build, target: str) -> Iterator[Callable[[str], Pipe]]:
    pipes: list[Pipe] = []

    def open_firmware(name: str) -> Pipe:
        pipes.append(open_target(target, build(name, target)))
        assert without_laps(listen(pipes[-1])) == BOOT
        return pipes[-1]

    yield open_firmware
    for pipe in pipes:
        pipe.close()


Start = Callable[[str], Pipe]


def raw_input(name: str, seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    size = int(np.prod(BENCHMARK_INPUTS[name]))
    if name == "ad01":
        return (rng.normal(0, 3, size)).astype("<f4").tobytes()
    return rng.bytes(size)


@pytest.mark.parametrize("name", list(BENCHMARK_INPUTS))
def test_every_region_computes_what_the_interpreter_does(
    name: str, target: str, start: Start, models: dict[str, Model]
) -> None:
    pipe, reference = start(name), Reference(models[name], name, target)
    seen = set()
    for seed, dp in enumerate((100, 20, 60)):
        stream = hexadecimal(raw_input(name, seed), 120)
        stream += f"dp {dp}%infer 1 1%results%".encode()
        said = ask(pipe, stream, stream.count(b"%"))
        assert without_laps(said) == reference.answer(stream)
        seen.add(said[said.rindex("m-results") :])
    assert len(seen) == 3
    if name != "ad01":
        assert "-0." in "".join(seen)


def test_the_whole_dialogue(target: str, start: Start, models: dict[str, Model]) -> None:
    pipe, reference = start("kws01"), Reference(models["kws01"], "kws01", target)
    name = ask(pipe, b"name%")
    assert name == f"{reference.name}\r\nm-ready\r\n"
    assert ask(pipe, b"profile%") == (
        "m-profile-[ULPMark for tinyML Firmware V0.0.1]\r\nm-model-[kws01]\r\nm-ready\r\n"
    )
    assert ask(pipe, b"db load 4%") == "m-[Expecting 4 bytes]\r\nm-ready\r\n"
    assert ask(pipe, b"db 00fF%") == "m-ready\r\n"
    assert ask(pipe, b"db 8001%") == "m-load-done\r\nm-ready\r\n"
    assert ask(pipe, b"db print%") == "m-buffer-00-ff-80-01\r\nm-ready\r\n"
    assert ask(pipe, b"dp%") == "m-dp-100\r\nm-dp-regions-[20,60,100]\r\nm-ready\r\n"
    assert ask(pipe, b"dp 20%") == "m-dp-20\r\nm-ready\r\n"
    assert ask(pipe, b"dp 21%") == "e-[No such operating region: 21]\r\nm-ready\r\n"
    assert ask(pipe, b"what is%") == "e-[Unknown command: what]\r\nm-ready\r\n"
    help_ = ask(pipe, b"help%").split("\r\n")
    assert len(help_) == HELP_LINES + 1
    assert all(line.startswith("m-") for line in help_[:-1])
    assert all(any(f"[{verb}" in line for line in help_) for verb in ("db load", "infer", "dp"))


def laps(said: str) -> list[int]:
    return [int(line[9:]) for line in said.split("\r\n") if line.startswith("m-lap-us-")]


def test_laps_measure_the_runs_alone(target: str, start: Start) -> None:
    pipe = start("ic01")
    times = [laps(ask(pipe, f"infer {runs} 3%".encode())) for runs in (1, 2, 11)]
    assert all(len(pair) == 2 and pair[0] <= pair[1] for pair in times)
    one, two, eleven = (after - before for before, after in times)
    assert eleven > two > one
    if target == "emulator":  # cycles: every run the same, but for rounding to a microsecond
        assert abs((eleven - one) - 10 * (two - one)) <= 10 * 2
    first, second = laps(ask(pipe, b"timestamp%timestamp%", 2))
    assert times[-1][-1] <= first <= second


def test_reals_that_are_no_numbers_do_no_harm(
    target: str, start: Start, models: dict[str, Model]
) -> None:
    pipe, reference = start("ad01"), Reference(models["ad01"], "ad01", target)
    rng = np.random.default_rng(0)
    features = rng.normal(0, 1, 640).astype("<f4")
    for value, shown in ((np.nan, "nan"), (np.inf, "inf"), (3e38, str(2**64 - 1) + ".000")):
        features[::7] = value
        stream = hexadecimal(features.tobytes())
        ask(pipe, stream, stream.count(b"%"))
        assert f"m-results-[{shown}]" in ask(pipe, b"infer%")
    features[::7] = 2.0
    stream = hexadecimal(features.tobytes()) + b"infer%"
    assert without_laps(ask(pipe, stream, stream.count(b"%"))) == reference.answer(stream)


ODD = [
    b"%",
    b"  %",
    b"\r\nname\r\n%",
    b"na\nme%",
    b"NAME%",
    b"names%",
    b"nam%",
    b"name extra words%",
    b"\x00name%",
    b"\xff\x01\x7f%",
    b"db%",
    b"db load%",
    b"db load 0%",
    b"db load 491%",
    b"db load 490x%",
    b"db load -1%",
    b"db load 4294967786%",
    b"db load 99999999999999999999999999%",
    b"db 0%",
    b"db 0g%",
    b"db 00 11%",
    b"db print now%",
    b"db load 2%db 000000%db 00%infer%db 0%db 00%infer%",
    b"db load 2%timestamp%db 01%name%db print%profile%db 02%db print%db 03%",
    b"infer 0%",
    b"infer -1%",
    b"infer 1 x%",
    b"infer 4294967296%",
    b"infer  2   1%",
    b"results%",
    b"dp 0%",
    b"dp 256%",
    b"dp 276%",
    b"dp x%",
    b"dp 4294967316%",
    b"q" * 255 + b"%",
    b"q" * 256 + b"%",
    b"q" * 100_000 + b"%name%",
    b"db load 130%db " + b"ab" * 126 + b"%db " + b"ab" * 127 + b"%db print%",
]


def test_odd_commands(target: str, start: Start, models: dict[str, Model]) -> None:
    pipe, reference = start("kws01"), Reference(models["kws01"], "kws01", target)
    for command in ODD:
        said = ask(pipe, command, command.count(b"%"))
        assert without_laps(said) == reference.answer(command), command


def test_commands_cut_and_mixed_at_random(
    target: str, start: Start, models: dict[str, Model]
) -> None:
    rng = random.Random(5)
    pipe, reference = start("kws01"), Reference(models["kws01"], "kws01", target)
    good = [b"name%", b"timestamp%", b"db load 6%", b"db 010203%", b"db 0a0B%", b"dp 60%", b"dp%"]
    good += [b"db print%", b"results%", b"infer 1 1%", b"profile%", b"db ff%"]
    for _ in range(60 if target == "emulator" else 600):
        stream = bytearray(b"".join(rng.choices(good, k=rng.randint(1, 8))))
        for _ in range(rng.randint(0, 6)):
            at = rng.randrange(len(stream) + 1)
            match rng.randrange(4):
                case 0:
                    del stream[at : at + rng.randint(1, 4)]
                case 1:
                    stream[at:at] = rng.randbytes(rng.randint(1, 3))
                case 2:
                    stream[at:at] = rng.choice(good)[: rng.randint(1, 6)]
                case _:
                    stream[at:at] = rng.choice([b"%", b" ", b"\n", b"db ", b"z" * 300])
        stream += b"%"
        said = ask(pipe, bytes(stream), stream.count(b"%"))
        assert without_laps(said) == reference.answer(bytes(stream)), bytes(stream)


def test_the_benchmark_follows_from_the_inputs(models: dict[str, Model]) -> None:
    for name, model in models.items():
        assert choose_app("mlperf-tiny", model).macros[0].endswith(name.upper())
    assert choose_app("link", models["ad01"]) is LINK
    forced = choose_app("mlperf-tiny", models["kws01"], "vww01")
    assert forced.macros == ("TESLA_MLPERF_BENCHMARK=TESLA_MLPERF_VWW01",)


@pytest.mark.parametrize(
    ("app", "model", "benchmark", "says"),
    [
        ("mlperf", "kws01", None, "there are link and mlperf-tiny"),
        ("link", "kws01", "kws01", "is for --app mlperf-tiny"),
        ("mlperf-tiny", "kws01", "kws02", "there are kws01, ic01"),
        ("mlperf-tiny", "kws01", "ad01", "640 inputs with as many outputs"),
    ],
)
def test_what_does_not_fit_is_refused(
    models: dict[str, Model], app: str, model: str, benchmark: str | None, says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        choose_app(app, models[model], benchmark)


def test_a_model_of_another_size_is_never_run(
    target: str, tmp_path: Path, require_tool: Callable[..., object]
) -> None:
    require_tool(lambda: find_compiler(find_target(target).compiler))
    app = replace(MLPERF_TINY, macros=("TESLA_MLPERF_BENCHMARK=TESLA_MLPERF_AD01",))
    flags = ("-Werror", *(SANITIZE if target == "host" else ()))
    elf = build_firmware(FAKE_MODEL, target, tmp_path, app=app, extra_flags=flags).elf
    pipe = open_target(target, elf)
    try:
        refused = "e-[TESLA_ERROR_STATE]\r\n"
        assert without_laps(listen(pipe)) == BOOT.replace("m-init", f"{refused}m-init")
        assert ask(pipe, b"infer%") == f"{refused}{READY}"
        assert ask(pipe, b"results%") == f"e-[No results: infer first]\r\n{READY}"
    finally:
        pipe.close()


def test_a_failing_model_is_said_to_fail(
    target: str, tmp_path: Path, require_tool: Callable[..., object]
) -> None:
    require_tool(lambda: find_compiler(find_target(target).compiler))
    app = choose_app("mlperf-tiny", benchmark_model("kws01"))
    elf = build_firmware(FAKE_MODEL, target, tmp_path, app=app, extra_flags=("-Werror",)).elf
    pipe = open_target(target, elf)
    try:
        listen(pipe)
        assert "m-results-[" in ask(pipe, b"infer 2%")
        failing = ask(pipe, b"db load 1%db 61%infer 2 0%results%", 4)
        assert "e-[TESLA_ERROR_STATE]\r\nm-ready\r\ne-[No results: infer first]" in failing
        assert failing.endswith(READY)
        assert "m-infer-done" in ask(pipe, b"db load 1%db 00%infer%", 3)
    finally:
        pipe.close()
