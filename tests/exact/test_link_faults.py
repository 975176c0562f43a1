"""The link against the native firmware over a line that loses, flips, doubles and delays bytes."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from faulty import FaultyPipe, Rates

from tesla_host.build import BuildResult, build_firmware
from tesla_host.compilers import find_compiler
from tesla_host.link.client import ExpectedModel, LinkClient
from tesla_host.link.pipes import ProcessPipe

FAKE_MODEL = Path(__file__).parent / "fake_model"
INPUT, OUTPUT = 1500, 10
DIGEST = bytes([0xFA, 0xCE, *range(3, 11)]) + bytes(22)
REGIONS = (25, 50, 100)
COMMANDS = 10_000
SEEDS = range(4)

Build = Callable[[str], BuildResult]


def layer(data: bytes, dp: int) -> bytes:
    return bytes((value + dp) % 256 for value in data[: INPUT * dp // 100])


def network(data: bytes, dp: int, runs: int) -> bytes:
    folded = [sum(layer(data, dp)[j::OUTPUT]) % 256 for j in range(OUTPUT)]
    return bytes([*folded[:-1], runs % 256])


def sample(generator: random.Random) -> bytes:
    return bytes([generator.randrange(90)]) + generator.randbytes(INPUT - 1)


def connect(elf: Path, seed: int, rates: Rates) -> tuple[LinkClient, FaultyPipe]:
    pipe = FaultyPipe(lambda: ProcessPipe([str(elf)]), seed, rates)
    expected = ExpectedModel(name="fake", digest=DIGEST)
    client = LinkClient(
        pipe, expected, timeout_s=0.008, run_timeout_s=0.008, retries=60, baud=10_000_000
    )
    return client, pipe


class Twin:
    """What the firmware must do if each command is executed once, in order."""

    def __init__(self, client: LinkClient, generator: random.Random) -> None:
        self.client, self.generator = client, generator
        self.input, self.output, self.dp = bytes(INPUT), bytes(OUTPUT), 100
        self.runs = 0

    def run(self, count: int = 1) -> None:
        self.runs += count
        self.output = network(self.input, self.dp, self.runs)

    def step(self) -> None:
        draw, client = self.generator, self.client
        match draw.choice(
            ["dp", "load", "run", "read", "slice", "layers", "stack", "echo", "infer"]
        ):
            case "dp":
                self.dp = draw.choice(REGIONS)
                client.set_dp(self.dp)
            case "load":
                at = draw.randrange(1, INPUT)
                data = draw.randbytes(draw.randrange(1, 30))[: INPUT - at]
                self.input = self.input[:at] + data + self.input[at + len(data) :]
                client.load_input(data, at)
            case "run":
                count = draw.randrange(1, 4)
                self.run(count)
                assert len(client.run(count)) == count
            case "read":
                assert client.read_output() == self.output
            case "slice":
                self.run()
                at, size = draw.randrange(INPUT), draw.randrange(1, 40)
                expected = layer(self.input, self.dp)[at : at + size]
                assert client.layer_slice(0, at, size).data == expected
            case "layers":
                self.run()
                assert len(client.layer_ticks()) == 2
            case "stack":
                assert client.stack().size == 0
            case "echo":
                client.echo(draw.randbytes(draw.randrange(60)))
            case "infer" if draw.random() < 0.2:
                self.input = sample(draw)
                self.run()
                assert client.infer(self.input) == self.output


@pytest.mark.parametrize("seed", SEEDS)
def test_every_command_is_executed_once(fake_firmware: Build, seed: int) -> None:
    """The firmware counts its runs: a run more or less, ever, and the counts differ."""
    rates = Rates(drop=4e-4, flip=4e-4, double=4e-4, delay=4e-4)
    client, pipe = connect(fake_firmware("host").elf, seed, rates)
    twin = Twin(client, random.Random(seed))
    for _ in range(COMMANDS // len(SEEDS)):
        twin.step()
    assert client.read_output() == twin.output
    assert min(pipe.faults[kind] for kind in ("drop", "flip", "double", "delay")) > 10
    assert client.events.repeats > 100 and client.events.resets == 0
    client.close()


@pytest.mark.parametrize("sound", [False, True])
def test_a_thousand_inferences_survive_fifty_resets(fake_firmware: Build, sound: bool) -> None:
    noise = {} if sound else {"drop": 2e-5, "flip": 2e-5, "double": 2e-5, "delay": 2e-5}
    client, pipe = connect(fake_firmware("host").elf, 7, Rates(reset=4e-5, **noise))
    generator = random.Random(3)
    inputs = [sample(generator) for _ in range(1000)]
    client.set_dp(25)
    for done, (data, inference) in enumerate(
        zip(inputs, client.infer_many(inputs), strict=True), start=1
    ):
        assert inference.output[:-1] == network(data, 25, 0)[:-1], done
    assert pipe.faults["reset"] >= 50 and client.events.resets >= 45
    client.close()


def test_after_a_reset_everything_is_as_before(fake_firmware: Build) -> None:
    """Whatever is asked next: input, region and output of the last run have come back."""
    elf = fake_firmware("host").elf
    generator = random.Random(5)
    for ask in range(5):
        client, pipe = connect(elf, ask, Rates())
        ran, loaded = sample(generator), sample(generator)
        client.set_dp(50)
        client.infer(ran)
        client.set_dp(25)
        client.load_input(loaded)
        pipe.reset()
        match ask:
            case 0:
                assert client.read_output()[:-1] == network(ran, 50, 0)[:-1]
            case 1:
                client.run()
                assert client.read_output()[:-1] == network(loaded, 25, 0)[:-1]
            case 2:
                assert client.layer_dump(0) == layer(loaded, 25)
            case 3:
                client.load_input(b"\x07\x08", 3)
                client.run()
                changed = loaded[:3] + b"\x07\x08" + loaded[5:]
                assert client.read_output()[:-1] == network(changed, 25, 0)[:-1]
            case 4:
                client.set_dp(100)
                client.run()
                assert client.read_output()[:-1] == network(loaded, 100, 0)[:-1]
        assert client.events.resets == 1
        client.close()


@pytest.mark.parametrize("receive_bytes", [0, 100, 600, 1200, 5000])
def test_a_stream_whatever_the_board_can_receive(
    receive_bytes: int, tmp_path: Path, require_tool: Callable[..., object]
) -> None:
    require_tool(lambda: find_compiler("host"))
    flags = (
        "-Werror",
        "-UTESLA_BOARD_RECEIVE_BYTES",
        f"-DTESLA_BOARD_RECEIVE_BYTES={receive_bytes}u",
    )
    elf = build_firmware(FAKE_MODEL, "host", tmp_path, extra_flags=flags).elf
    client, _ = connect(elf, 1, Rates(reset=4e-5, drop=2e-5, flip=2e-5))
    assert client.hello().receive_bytes == receive_bytes
    generator = random.Random(9)
    inputs = [sample(generator) for _ in range(100)]
    client.set_dp(50)
    for data, inference in zip(inputs, client.infer_many(inputs), strict=True):
        assert inference.output[:-1] == network(data, 50, 0)[:-1]
    assert client.layer_dump(0) == layer(inputs[-1], 50)
    client.close()


def test_an_abandoned_stream_leaves_its_last_input(fake_firmware: Build) -> None:
    client, _ = connect(fake_firmware("host").elf, 1, Rates())
    inputs = [sample(random.Random(i)) for i in range(3)]
    stream = client.infer_many(inputs)
    next(stream)
    assert client.layer_dump(0) == layer(inputs[0], 100)
    next(stream)
    client.run()
    assert client.read_output()[:-1] == network(inputs[1], 100, 0)[:-1]
    client.close()
