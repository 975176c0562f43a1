"""Fuzz what the firmware's applications receive, with AddressSanitizer and UBSan.

    python tests/fuzz/firmware.py --seconds 600
    python tests/fuzz/firmware.py --app mlperf-tiny --seconds 600

Uses clang's libFuzzer where clang has it, else a loop of seeded random inputs with the C compiler
at hand (`--engine loop --count N --seed S` makes the same ones each time). The exit code is 1 on a
finding; libFuzzer's input that led to it is kept in `--keep`.
"""

import argparse
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "firmware_templates" / "tesla_firmware"
MODEL = ROOT / "tests" / "exact" / "fake_model"
_SANITIZERS = "address,undefined"
_LOOP_COUNT = 20_000
"""Inputs of one round of the loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Harness:
    """What is fuzzed: the file with the harness, and macros; `mlperf` is its benchmark, if any."""

    source: str
    macros: tuple[str, ...]
    mlperf: bool = False


_TEXT = ("FAKE_TIRES=50", "TESLA_MLPERF_BENCHMARK=TESLA_MLPERF_")
HARNESSES = {
    "link": Harness(source="link_fuzz.c", macros=("TESLA_BOARD_RECEIVE_BYTES=4096u",)),
    "mlperf-tiny": Harness(
        source="mlperf_fuzz.c", macros=(_TEXT[0], f"{_TEXT[1]}IC01"), mlperf=True
    ),
    "mlperf-tiny:ad01": Harness(
        source="mlperf_fuzz.c",
        macros=(_TEXT[0], f"{_TEXT[1]}AD01", "FAKE_INPUT=640", "FAKE_OUTPUT=640"),
        mlperf=True,
    ),
}


def compile_fuzzer(compiler: str, harness: Harness, folder: Path, *, libfuzzer: bool) -> Path:
    """Build a harness; raises `subprocess.CalledProcessError`."""
    sanitizers = f"-fsanitize={'fuzzer,' if libfuzzer else ''}{_SANITIZERS}"
    apps = ("app", "app_mlperf") if harness.mlperf else ("app",)
    app = [path for name in apps for path in (STATIC / name).glob("*.c") if path.name != "main.c"]
    here = ROOT / "tests" / "fuzz"
    sources = [here / harness.source, here / "fuzz.c", *sorted(app)]
    sources += [MODEL / "src" / "fake_layers.c", MODEL / "firmware" / "app_model.c"]
    includes = [STATIC / name for name in ("include", "board", *apps)] + [MODEL / "include", here]
    macros = ("FAKE_NEVER_FAULTS", *harness.macros, *(() if libfuzzer else ("TESLA_FUZZ_LOOP",)))
    includes.append(folder)
    (folder / "tesla_target.h").write_text("#define TESLA_TARGET_CLOCK_HZ 0u\n")
    target = folder / "fuzz"
    subprocess.run(
        [
            *(compiler, "-std=c99", "-O1", "-g", sanitizers, "-fno-sanitize-recover=all"),
            *("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Wmissing-prototypes"),
            "-Werror",
            *(f"-D{macro}" for macro in macros),
            *(f"-I{path}" for path in includes),
            *map(str, sources),
            *("-o", str(target)),
        ],
        check=True,
        capture_output=True,
    )
    return target


def seeds(harness: Harness) -> Iterator[bytes]:
    """Inputs that reach every command; of the link, each in a session."""
    if harness.mlperf:
        yield b"\0name%profile%timestamp%help%dp%dp 25%infer 3 2%results%nonsense%"
        yield b"\0db load 4%db 00ff%db 7f80%db print%infer%"
        return
    bodies = {
        2: b"\x32",
        3: bytes(4) + b"input",
        4: b"\x02\0",
        5: bytes(4) + b"\x0a\0",
        6: b"\0\0",
        7: b"\0\0" + bytes(4) + b"\x40\0",
        8: b"",
        9: b"echo",
        10: bytes(4) + b"fed",
        11: struct.pack("<II", zlib.crc32(bytes(1500)), 0),
    }
    for command, body in bodies.items():
        payload = bytes([2, 0, 0, command]) + body
        payload += bytes(-len(payload) % 3)
        hello, request = bytes([4, 0]), bytes([3, len(payload) // 3]) + payload
        yield b"\1" + hello + request + request


def libfuzzer_works(harness: Harness, folder: Path) -> bool:
    """Whether there is a clang that can link libFuzzer."""
    if shutil.which("clang") is None:
        return False
    try:
        compile_fuzzer("clang", harness, folder, libfuzzer=True)
    except subprocess.CalledProcessError:
        return False
    return True


def run_libfuzzer(harness: Harness, folder: Path, keep: Path, seconds: int) -> int:
    """Returns the exit code of libFuzzer, which prints what it does."""
    corpus = folder / "corpus"
    corpus.mkdir()
    keep.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(harness)):
        (corpus / str(number)).write_bytes(seed)
    command = [str(folder / "fuzz"), f"-max_total_time={seconds}", "-max_len=4096"]
    command += ["-print_final_stats=1", "-verbosity=0", f"-artifact_prefix={keep}/", str(corpus)]
    return subprocess.run(command, check=False).returncode


def run_loop(folder: Path, seconds: int, count: int | None, seed: int) -> int:
    """Rounds of the loop until the time is up, or one of `count` inputs; returns its exit code."""
    deadline = time.monotonic() + seconds
    while True:
        command = [str(folder / "fuzz"), str(count or _LOOP_COUNT), str(seed)]
        done = subprocess.run(command, check=False)
        if done.returncode != 0:
            print(f"finding: seed {seed}")
            return 1
        if count is not None or time.monotonic() > deadline:
            return 0
        seed += 1


def main() -> int:
    """Parse the command line, build, run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--app", choices=HARNESSES, default="link")
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--engine", choices=("auto", "libfuzzer", "loop"), default="auto")
    parser.add_argument("--count", type=int, help="loop: one round of so many inputs")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz-firmware"))
    options = parser.parse_args()
    harness = HARNESSES[options.app]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.engine != "loop" and libfuzzer_works(harness, folder):
            return 1 if run_libfuzzer(harness, folder, options.keep, options.seconds) else 0
        if options.engine == "libfuzzer":
            print("no clang with libFuzzer; install clang and its compiler-rt")
            return 3
        compiler = next((name for name in ("clang", "gcc", "cc") if shutil.which(name)), None)
        if compiler is None:
            print("no C compiler; install gcc or clang")
            return 3
        try:
            compile_fuzzer(compiler, harness, folder, libfuzzer=False)
        except subprocess.CalledProcessError as error:
            print(error.stderr.decode(errors="replace"))
            return 3
        return run_loop(folder, options.seconds, options.count, options.seed)


if __name__ == "__main__":
    sys.exit(main())
