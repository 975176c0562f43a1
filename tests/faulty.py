"""A line that damages what passes through it, and a peer that is reset; both from a seed."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from tesla_host.link.pipes import Pipe


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Probabilities for each byte, in both directions, and of a reset for each byte sent."""

    drop: float = 0.0
    flip: float = 0.0
    double: float = 0.0
    delay: float = 0.0
    reset: float = 0.0


class FaultyPipe:
    """A `Pipe` around another one. `open_` starts the peer; a reset starts it anew, unannounced."""

    def __init__(self, open_: Callable[[], Pipe], seed: int, rates: Rates) -> None:
        self.timeout: float | None = 1.0
        self.faults = dict.fromkeys(("drop", "flip", "double", "delay", "reset"), 0)
        self.rates = rates
        self._open = open_
        self._random = random.Random(seed)
        self._peer = open_()
        self._received = bytearray()
        self._held = bytearray()  # on the way to the peer, and late

    @property
    def in_waiting(self) -> int:
        return len(self._received)

    def write(self, data: bytes) -> int:
        self._release()
        at = 0
        if self._hits("reset", len(data)):
            at = self._random.randrange(len(data) + 1)
            self._send(data[:at])
            if self._random.random() < 0.5:  # the peer may get as far as answering
                self._peer.timeout = 0.001
                self._received += self._damage(self._peer.read(self._random.randrange(1, 60)))
            self.reset()
        self._send(data[at:])
        return len(data)

    def reset(self) -> None:
        """Start the peer anew; what it has not received yet reaches the new one."""
        self._peer.close()
        self._peer = self._open()

    def read(self, size: int = 1) -> bytes:
        self._release()
        if not self._received:
            self._peer.timeout = self.timeout
            arrived = self._peer.read(1)
            arrived += self._peer.read(self._peer.in_waiting)
            self._received += self._damage(arrived)
        data = bytes(self._received[:size])
        del self._received[:size]
        return data

    def reset_input_buffer(self) -> None:
        self._received.clear()

    def close(self) -> None:
        self._peer.close()

    def _send(self, data: bytes) -> None:
        damaged = self._damage(data)
        if damaged and self._hits("delay", len(damaged)):
            at = self._random.randrange(len(damaged))
            self._held += damaged[at:]
            damaged = damaged[:at]
        self._peer.write(damaged)

    def _release(self) -> None:
        if self._held:
            time.sleep(self._random.random() * 0.008)
            self._peer.write(bytes(self._held))
            self._held.clear()

    def _damage(self, data: bytes) -> bytes:
        out = bytearray()
        rates = self.rates
        for byte in data:
            draw = self._random.random()
            if draw < rates.drop:
                self.faults["drop"] += 1
            elif draw < rates.drop + rates.flip:
                self.faults["flip"] += 1
                out.append(byte ^ (1 << self._random.randrange(8)))
            elif draw < rates.drop + rates.flip + rates.double:
                self.faults["double"] += 1
                out += bytes([byte, byte])
            else:
                out.append(byte)
        return bytes(out)

    def _hits(self, kind: str, count: int) -> bool:
        probability = 1 - (1 - getattr(self.rates, kind)) ** count
        hit = self._random.random() < probability
        self.faults[kind] += hit
        return hit
