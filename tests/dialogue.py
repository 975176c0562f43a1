"""MLPerf Tiny's dialogue, seen from the client and from the device, for tests.

`Reference` answers as the firmware has to, in Python: what it says is compared byte for byte, but
for the microseconds of laps, which `without_laps` blots out.
"""

import re
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from tesla_embed.ir.graph import Model
from tesla_embed.ir.interpret import interpret
from tesla_embed.ir.requantization import quantization, quantize_input
from tesla_embed.ir.store import digest
from tesla_host.link.pipes import Pipe

READY = "m-ready\r\n"
BOOT = "m-timestamp-mode-performance\r\nm-lap-us-0\r\nm-init-done\r\nm-ready\r\n"
HELP_LINES = 12
_COMMAND_MAX = 255


def ask(pipe: Pipe, commands: bytes, answers: int = 1) -> str:
    """Send `commands` and read until as many `m-ready` have come."""
    pipe.write(commands)
    return listen(pipe, answers)


def listen(pipe: Pipe, answers: int = 1) -> str:
    said = b""
    while said.count(READY.encode()) < answers:
        pipe.timeout = 20
        data = pipe.read(max(1, pipe.in_waiting))
        assert data, f"silence after {said[-300:]!r}"
        said += data
    return said.decode()


def without_laps(said: str) -> str:
    return re.sub(r"m-lap-us-\d+\r", "m-lap-us-0\r", said)


def hexadecimal(data: bytes, chunk: int = 64) -> bytes:
    """The commands that load `data`."""
    chunks = (data[at : at + chunk] for at in range(0, len(data), chunk))
    load = f"db load {len(data)}%".encode()
    return load + b"".join(b"db " + part.hex().encode() + b"%" for part in chunks)


def decimals(value: Fraction) -> str:
    """Three of them, ties to the even digit, as C's printf writes a double."""
    whole = round(abs(value) * 1000)
    return f"{'-' if value < 0 else ''}{whole // 1000}.{whole % 1000:03}"


class Reference:
    """A device of MLPerf Tiny around a model, computed by the integer interpreter."""

    def __init__(self, model: Model, benchmark: str, board: str) -> None:
        self.model, self.benchmark = model, benchmark
        self.name = f"m-name-dut-[tesla-embed {board} {digest(model)[:16]}]"
        self.region = self.computed_by = model.regions[-1]
        inputs = self.region.types[model.graph.input].size
        self.raw = bytearray(inputs * (4 if benchmark == "ad01" else 1))
        if benchmark in ("ic01", "vww01"):
            self.raw[:] = bytes([128]) * inputs
        self.expected = self.loaded = 0
        self.output: npt.NDArray[np.int8] | None = None

    def answer(self, stream: bytes) -> str:
        """What the device says to whole commands."""
        commands = stream.replace(b"\r", b"").replace(b"\n", b"").split(b"%")[:-1]
        return "".join("\r\n".join([*self._execute(c), READY]) for c in commands)

    def _execute(self, command: bytes) -> list[str]:
        if len(command) > _COMMAND_MAX:
            return ["e-[Command too long]"]
        printable = "".join(chr(byte) if 32 <= byte <= 126 else "?" for byte in command)
        words = [word for word in printable.split(" ") if word] or [""]
        known = ("help", "name", "profile", "timestamp", "db", "infer", "results", "dp")
        if words[0] not in known:
            return [f"e-[Unknown command: {words[0]}]"]
        found: list[str] = getattr(self, f"_{words[0]}")(words[1:])
        return found

    def _help(self, _: list[str]) -> list[str]:
        raise AssertionError("its text is compared elsewhere")

    def _name(self, _: list[str]) -> list[str]:
        return [self.name]

    def _profile(self, _: list[str]) -> list[str]:
        return ["m-profile-[ULPMark for tinyML Firmware V0.0.1]", f"m-model-[{self.benchmark}]"]

    def _timestamp(self, _: list[str]) -> list[str]:
        return ["m-lap-us-0"]

    def _db(self, words: list[str]) -> list[str]:
        word = words[0] if words else ""
        if word == "load":
            count = _number(words[1:2])
            if count is None or not 1 <= count <= len(self.raw):
                return [f"e-[db load takes 1 to {len(self.raw)} bytes]"]
            self.expected, self.loaded = count, 0
            return [f"m-[Expecting {count} bytes]"]
        if word == "print":
            return ["m-buffer-" + self.raw[: self.loaded].hex("-")]
        if not re.fullmatch(r"([0-9a-fA-F]{2})+", word, re.ASCII):
            return ["e-[db takes load, print or pairs of hexadecimal digits]"]
        data = bytes.fromhex(word)
        if len(data) > self.expected - self.loaded:
            return ["e-[More bytes than db load announced]"]
        self.raw[self.loaded : self.loaded + len(data)] = data
        self.loaded += len(data)
        return ["m-load-done"] if self.loaded == self.expected else []

    def _infer(self, words: list[str]) -> list[str]:
        count = _number(words[:1]) if words else 1
        warmup = _number(words[1:2]) if len(words) > 1 else 0
        if not count or warmup is None:
            return ["e-[infer takes the number of runs, at least 1, and of warm-ups]"]
        if self.loaded != self.expected:
            return ["e-[The input is not complete]"]
        self.computed_by = self.region
        self.output = interpret(self.model, self.region, self._input()[None])[0]
        lines = [f"m-warmup-start-{warmup}", "m-warmup-done", f"m-infer-start-{count}"]
        return [*lines, "m-lap-us-0", "m-lap-us-0", "m-infer-done", *self._results([])]

    def _results(self, _: list[str]) -> list[str]:
        if self.output is None:
            return ["e-[No results: infer first]"]
        q = quantization(self.computed_by.types[self.model.graph.output])
        scale = Fraction(float(np.float32(q.scale)))
        flat = self.output.reshape(-1).tolist()
        if self.benchmark != "ad01":
            real = ",".join(decimals(scale * (value - q.zero_point)) for value in flat)
            return [f"m-results-[{real}]"]
        total = 0.0
        for feature, value in zip(np.frombuffer(self.raw, "<f4").tolist(), flat, strict=True):
            difference = feature - float(scale) * (value - q.zero_point)
            total += difference * difference
        return [f"m-results-[{decimals(Fraction(total / len(flat)))}]"]

    def _dp(self, words: list[str]) -> list[str]:
        regions = {region.dp: region for region in self.model.regions}
        if not words:
            listed = ",".join(map(str, regions))
            return [f"m-dp-{self.region.dp}", f"m-dp-regions-[{listed}]"]
        percent = _number(words[:1])
        if percent not in regions:
            return [f"e-[No such operating region: {words[0]}]"]
        self.region = regions[percent]
        return [f"m-dp-{percent}"]

    def _input(self) -> npt.NDArray[np.int8]:
        type_ = self.region.types[self.model.graph.input]
        raw = np.frombuffer(self.raw, np.uint8)
        if self.benchmark == "ad01":
            return quantize_input(type_, raw.view("<f4")[None])[0]
        if self.benchmark == "kws01":
            return raw.view(np.int8).reshape(type_.shape)
        return (raw.astype(np.int16) - 128).astype(np.int8).reshape(type_.shape)


def _number(words: list[str]) -> int | None:
    if not words or not re.fullmatch(r"[0-9]+", words[0], re.ASCII):
        return None
    value = int(words[0])
    return value if value < 2**32 else None
