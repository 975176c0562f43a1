"""The boot loader in the ROM of an STM32F446, on a pseudo-terminal: ST's application note AN3155.

It knows the commands that a programmer needs to erase, write, read back and start, checks every
checksum, and only writes what is erased. With `damage`, each write leaves one wrong bit behind.
"""

import os
import pty
import select
import threading
import tty
from functools import reduce

ACK, NACK = b"\x79", b"\x1f"
BASE = 0x0800_0000
_SYNC, _CHIP, _VERSION = 0x7F, 0x0421, 0x31
_COMMANDS = bytes([0x00, 0x01, 0x02, 0x11, 0x21, 0x31, 0x44])
_SECTOR_BYTES = [16 << 10] * 4 + [64 << 10] + [128 << 10] * 3


def checksum(data: bytes) -> int:
    return reduce(lambda a, b: a ^ b, data)


class BootRom:
    """Answers until `close`; `flash` is what was written, `started` where a program was begun."""

    def __init__(self, damage: bool = False) -> None:
        self.flash = bytearray(os.urandom(sum(_SECTOR_BYTES)))
        self.started: int | None = None
        self.heard = 0
        self._damage = damage
        self._master, slave = pty.openpty()
        tty.setraw(slave)
        self.port = os.ttyname(slave)
        self._slave = slave
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        os.close(self._master)
        os.close(self._slave)

    def _take(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            if self._closing.is_set():
                raise EOFError
            if select.select([self._master], [], [], 0.05)[0]:
                data += os.read(self._master, count - len(data))
        self.heard += count
        return data

    def _say(self, data: bytes) -> None:
        os.write(self._master, data)

    def _serve(self) -> None:
        try:
            while True:
                first = self._take(1)[0]
                if first == _SYNC:
                    self._say(ACK)
                elif self._take(1)[0] != first ^ 0xFF or first not in _COMMANDS:
                    self._say(NACK)
                else:
                    self._say(ACK)
                    self._execute(first)
        except EOFError:
            return

    def _execute(self, command: int) -> None:
        match command:
            case 0x00:
                self._say(bytes([len(_COMMANDS), _VERSION]) + _COMMANDS + ACK)
            case 0x01:
                self._say(bytes([_VERSION, 0, 0]) + ACK)
            case 0x02:
                self._say(b"\x01" + _CHIP.to_bytes(2, "big") + ACK)
            case 0x44:
                self._erase()
            case _:
                address = self._address()
                if address is not None:
                    self._at(command, address)

    def _at(self, command: int, address: int) -> None:
        at = address - BASE
        if command == 0x21:
            self.started = address  # before the answer, after which nobody waits
        self._say(ACK)
        if command == 0x21:
            return
        if command == 0x11:
            count = self._take(2)
            if count[0] ^ count[1] != 0xFF:
                self._say(NACK)
                return
            self._say(ACK + bytes(self.flash[at : at + count[0] + 1]))
        else:
            size = self._take(1)
            data = self._take(size[0] + 2)
            erased = bytes(self.flash[at : at + len(data) - 1]) == b"\xff" * (len(data) - 1)
            if checksum(size + data) != 0 or address % 4 or not (erased or self._damage):
                self._say(NACK)
                return
            self.flash[at : at + len(data) - 1] = data[:-1]
            if self._damage:
                self.flash[at] ^= 0x40
            self._say(ACK)

    def _address(self) -> int | None:
        data = self._take(5)
        address = int.from_bytes(data[:4], "big")
        if checksum(data) != 0 or not BASE <= address < BASE + len(self.flash):
            self._say(NACK)
            return None
        return address

    def _erase(self) -> None:
        count = self._take(2)
        number = int.from_bytes(count, "big")
        everything = number >= 0xFFF0
        listed = b"" if everything else self._take(2 * (number + 1))
        if checksum(count + listed + self._take(1)) != 0:
            self._say(NACK)
            return
        pages = [int.from_bytes(listed[i : i + 2], "big") for i in range(0, len(listed), 2)]
        for page in range(len(_SECTOR_BYTES)) if everything else pages:
            at, size = sum(_SECTOR_BYTES[:page]), _SECTOR_BYTES[page]
            self.flash[at : at + size] = b"\xff" * size
        self._say(ACK)
