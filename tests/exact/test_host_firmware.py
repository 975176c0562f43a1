"""The firmware as a process: bulk inference, and no byte sequence that breaks it."""

import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tesla_host.build import BuildResult, build_firmware
from tesla_host.compilers import find_compiler
from tesla_host.link.frames import FrameDecoder, encode

FAKE_MODEL = Path(__file__).parent / "fake_model"
Build = Callable[[str], BuildResult]
INPUT, OUTPUT = 1500, 10


def batch(elf: Path, data: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = [str(elf), "batch", *arguments]
    return subprocess.run(command, input=data, capture_output=True, timeout=60, check=False)


def expected(data: bytes, dp: int, runs: int) -> tuple[bytes, bytes]:
    layer = bytes((value + dp) % 256 for value in data[: INPUT * dp // 100])
    folded = [sum(layer[j::OUTPUT]) % 256 for j in range(OUTPUT)]
    return layer, bytes([*folded[:-1], runs % 256])


@pytest.fixture(scope="module")
def inputs() -> list[bytes]:
    generator = random.Random(5)
    return [bytes([1]) + generator.randbytes(INPUT - 1) for _ in range(300)]


def test_batch_gives_every_output(fake_firmware: Build, inputs: list[bytes]) -> None:
    done = batch(fake_firmware("host").elf, b"".join(inputs), "50", "300")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"".join(expected(x, 50, i + 1)[1] for i, x in enumerate(inputs))


def test_batch_gives_every_layer(fake_firmware: Build, inputs: list[bytes]) -> None:
    done = batch(fake_firmware("host").elf, b"".join(inputs[:20]), "25", "20", "--layers")
    assert done.returncode == 0
    parts = []
    for i, x in enumerate(inputs[:20]):
        layer, output = expected(x, 25, i + 1)
        parts += [len(layer).to_bytes(4, "little"), layer]
        parts += [len(output).to_bytes(4, "little"), output, output]
    assert done.stdout == b"".join(parts)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("50",), 2, "usage"),
        (("50", "x"), 2, "usage"),
        (("50", "-1"), 2, "usage"),
        (("101", "1"), 2, "usage"),
        (("50", "1", "--lairs"), 2, "usage"),
        (("30", "1"), 1, "set_dp: TESLA_ERROR_REGION"),
        (("50", "2"), 1, "stdin ended inside input 2 of 2"),
    ],
)
def test_batch_refuses(
    fake_firmware: Build, arguments: tuple[str, ...], status: int, words: str
) -> None:
    done = batch(fake_firmware("host").elf, bytes(INPUT), *arguments)
    assert done.returncode == status and words in done.stderr.decode()


def test_batch_reports_a_failing_model(fake_firmware: Build) -> None:
    done = batch(fake_firmware("host").elf, b"\x61" + bytes(INPUT - 1), "50", "1")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"run: TESLA_ERROR_STATE" in done.stderr


@pytest.fixture(scope="module")
def sanitized(
    require_tool: Callable[[Callable[[], object]], object], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    compiler = require_tool(lambda: find_compiler("host"))
    if getattr(compiler, "name", "") == "zig":
        pytest.skip("zig's compiler brings no address sanitizer; install gcc or clang")
    flags = (
        "-Werror",
        "-g",
        "-DFAKE_NEVER_FAULTS",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
    )
    out = tmp_path_factory.mktemp("sanitized")
    return build_firmware(FAKE_MODEL, "host", out, extra_flags=flags).elf


def fuzzed(seed: int) -> bytes:
    """A stream of noise, damaged frames, and sound frames with arbitrary content."""
    generator = random.Random(seed)
    parts = [encode(bytes([2, 0, 0, 1, 0, 1, 0, 0, 0]))]
    sequence = 0
    for _ in range(400):
        sequence = (sequence + generator.choice([0, 1, 1, 1])) & 0xFFFF
        header = bytes([generator.choice([2, 2, 2, 2, 1])]) + sequence.to_bytes(2, "little")
        size = generator.choice([0, 1, 2, 4, 6, 8, generator.randrange(0, 530)])
        body = generator.choice([generator.randbytes(size), bytes(size), b"\xff" * size])
        payload = header + bytes([generator.randrange(0, 14)]) + body
        frame = bytearray(encode(payload))
        match generator.randrange(6):
            case 0:
                frame[generator.randrange(len(frame))] = generator.randrange(256)
            case 1:
                del frame[generator.randrange(len(frame)) :]
            case 2:
                frame += generator.randbytes(generator.randrange(50))
        parts.append(bytes(frame))
    return b"".join(parts)


@pytest.mark.parametrize("seed", range(12))
def test_fuzzed_bytes_break_nothing(sanitized: Path, seed: int) -> None:
    stream = fuzzed(seed)
    tail = encode(bytes([2, 0xED, 0xEE, 1, 0, 9, 9, 9, 9]))
    tail += encode(bytes([2, 0xEE, 0xEE, 9]) + b"alive")
    done = subprocess.run(
        [str(sanitized)], input=stream + tail, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    replies = FrameDecoder().feed(done.stdout)
    assert replies[-1] == bytes([2, 0xEE, 0xEE, 0x89, 0]) + b"alive"
    assert all(reply[0] == 2 and reply[3] & 0x80 for reply in replies)
