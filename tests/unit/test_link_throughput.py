"""How much of the line is used, on a simulated line that takes its time."""

from fake_device import INPUT, OUTPUT, FakeDevice

from tesla_host.link.client import LinkClient
from tesla_host.link.frames import FrameDecoder

BYTES_PER_S = 11_520
SAMPLES = 60


class TimedDevice(FakeDevice):
    """Bytes take their time on the line, the model takes `run_s`; `now` is the host's clock.

    The host's `write` returns at once, as that of an operating system with a buffer does.
    """

    def __init__(self, run_s: float, receive_bytes: int) -> None:
        super().__init__()
        self.receive_bytes = receive_bytes
        self.run_s = run_s
        self.now = 0.0
        self.sent_bytes = 0
        self._arrived = 0.0
        self._free = 0.0
        self._returned = 0.0
        self._frames = FrameDecoder()

    def write(self, data: bytes) -> int:
        self.sent_bytes += len(data)
        self._arrived = max(self._arrived, self.now)
        for byte in data:
            self._arrived += 1 / BYTES_PER_S
            for request in self._frames.feed(bytes([byte])):
                start = max(self._free, self._arrived)
                assert request[3] != 11 or self.receive_bytes or self._free <= self._arrived
                self._free = start + (self.run_s if request[3] == 11 else 0)
        before = len(self._out)
        super().write(data)
        if len(self._out) > before:
            at = max(self._free, self._returned)
            self._returned = at + (len(self._out) - before) / BYTES_PER_S
        return len(data)

    def read(self, size: int = 1) -> bytes:
        if self._out:
            self.now = max(self.now, self._returned)
        return super().read(size)


def measure(run_s: float, receive_bytes: int) -> tuple[float, float]:
    """Seconds for each sample, and bytes on the line for each byte of input."""
    device = TimedDevice(run_s, receive_bytes)
    client = LinkClient(device)
    client.hello()
    start, sent = device.now, device.sent_bytes
    samples = [bytes(i * k % 251 for i in range(INPUT)) for k in range(SAMPLES)]
    outputs = [inference.output for inference in client.infer_many(samples)]
    assert outputs == [data[::-1][:OUTPUT] for data in samples]
    assert client.events.reloads == client.events.repeats == 0
    return (device.now - start) / SAMPLES, (device.sent_bytes - sent) / SAMPLES / INPUT


def test_the_line_is_the_limit_while_the_model_is_fast() -> None:
    """256-byte bodies here: 17 bytes around 252 of input. Then come READ_OUTPUT's round trips."""
    seconds, overhead = measure(run_s=0.02, receive_bytes=4096)
    assert overhead < 1.15
    upload = INPUT / BYTES_PER_S
    outputs = 2 * (17 + 15 + OUTPUT / 2) / BYTES_PER_S
    assert seconds < 1.15 * upload + outputs + 0.02


def test_the_upload_hides_behind_a_slow_model() -> None:
    upload = INPUT / BYTES_PER_S
    ahead, _ = measure(run_s=2 * upload, receive_bytes=4096)
    behind, _ = measure(run_s=2 * upload, receive_bytes=0)
    outputs = 2 * (17 + 15 + OUTPUT / 2) / BYTES_PER_S
    assert ahead < 2 * upload + outputs + 0.02
    assert behind > 3 * upload + outputs
