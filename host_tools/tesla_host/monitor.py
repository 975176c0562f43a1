"""Watch a board infer: one inference after the other, region by region, for as long as one looks.

In: a way to open a board, its model's inputs and, where they are known, their classes. Out: what
each region has shown so far, and news: the board is lost, it is back. Refuses, with what the link
raises, a firmware of another model. Whoever calls `step` for a lost board has it opened again.
"""

import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from tesla_embed.errors import DeviceError, WrongFirmware
from tesla_host.link.client import Inference, LinkClient
from tesla_host.link.replies import Hello
from tesla_host.results import p95

MONITOR_SCHEMA = "tesla-embed/monitor/1"
_WINDOW = 1000
"""Runs of a region that median and p95 are of: the latest."""


class Reading(msgspec.Struct, kw_only=True, frozen=True, tag_field="event", tag="reading"):
    """What a region has shown so far, after `runs` inferences.

    Microseconds by the device's own clock and instructions of the latest runs; `null` where the
    device has no such counter. `accuracy` is that of all runs, `per_second` counts inferences with
    their way through the link, by this computer's clock.
    """

    dp: int
    runs: int
    last_us: float | None
    median_us: float | None
    p95_us: float | None
    instructions: int | None
    accuracy: float | None
    per_second: float | None
    schema: str = MONITOR_SCHEMA


class Lost(msgspec.Struct, kw_only=True, frozen=True, tag_field="event", tag="lost"):
    """The board does not answer, or is gone."""

    reason: str
    schema: str = MONITOR_SCHEMA


class Back(msgspec.Struct, kw_only=True, frozen=True, tag_field="event", tag="back"):
    """A lost board answers again."""

    board: str
    schema: str = MONITOR_SCHEMA


News = Lost | Back


@dataclass(slots=True)
class _History:
    """The runs of one region."""

    runs: int = 0
    right: int = 0
    us: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOW))
    instructions: deque[int] = field(default_factory=lambda: deque(maxlen=_WINDOW))
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOW))


class Monitor:
    """A board under observation. `dp` is the region that the next `step` runs in."""

    def __init__(
        self,
        connect: Callable[[], LinkClient],
        inputs: Sequence[bytes],
        classes: Sequence[int] | None,
        dps: Sequence[int],
    ) -> None:
        """Connect. Raises what the link raises; `inputs` go round, `dps` begin with the first."""
        self._connect = connect
        self._inputs, self._classes = inputs, classes
        self._histories = {dp: _History() for dp in dps}
        self._next = 0
        self._selected: int | None = None
        self.dp = dps[0]
        self._client: LinkClient | None
        self.hello: Hello
        self._client, self.hello = self._greet()

    def close(self) -> None:
        """Close the connection; harmless when repeated."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def move(self, by: int) -> None:
        """Go on to the region `by` places further, round and round."""
        dps = list(self._histories)
        self.dp = dps[(dps.index(self.dp) + by) % len(dps)]

    def step(self) -> News | None:
        """One inference in the present region, or one attempt to find a lost board.

        `None` after an inference. Raises `WrongFirmware` when another board comes back.
        """
        try:
            if self._client is None:
                return self._reopen()
            self._infer(self._client)
        except WrongFirmware:
            raise
        except DeviceError as error:
            self.close()
            return Lost(reason=str(error))
        return None

    def reading(self, dp: int) -> Reading:
        """What a region has shown so far."""
        history = self._histories[dp]
        spent = sum(history.seconds)
        return Reading(
            dp=dp,
            runs=history.runs,
            last_us=history.us[-1] if history.us else None,
            median_us=statistics.median(history.us) if history.us else None,
            p95_us=p95(history.us) if history.us else None,
            instructions=round(statistics.median(history.instructions))
            if history.instructions
            else None,
            accuracy=history.right / history.runs if self._classes and history.runs else None,
            per_second=len(history.seconds) / spent if spent else None,
        )

    def readings(self) -> list[Reading]:
        """All regions, in the order of their numbers."""
        return [self.reading(dp) for dp in self._histories]

    def _reopen(self) -> Back:
        self._client, self.hello = self._greet()
        self._selected = None
        return Back(board=self.hello.board)

    def _greet(self) -> tuple[LinkClient, Hello]:
        """A connection, and what is at its end; closed again where that is refused."""
        client = self._connect()
        try:
            return client, client.hello()
        except BaseException:
            client.close()
            raise

    def _infer(self, client: LinkClient) -> None:
        if self._selected != self.dp:
            client.set_dp(self.dp)
            self._selected = self.dp
        index = self._next
        started = time.monotonic()
        (inference,) = client.infer_many([self._inputs[index]])
        seconds = time.monotonic() - started
        self._next = (index + 1) % len(self._inputs)
        self._note(index, inference, seconds)

    def _note(self, index: int, inference: Inference, seconds: float) -> None:
        history = self._histories[self.dp]
        history.runs += 1
        history.seconds.append(seconds)
        us = self.hello.clock_us(inference.ticks)
        if us is not None:
            history.us.append(us)
        if "instructions" in inference.ticks:
            history.instructions.append(inference.ticks["instructions"])
        if self._classes is not None:
            guess = int(np.frombuffer(inference.output, np.int8).argmax())
            history.right += guess == self._classes[index]
