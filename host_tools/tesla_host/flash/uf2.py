"""UF2 files: blocks of 512 bytes that a boot loader's drive takes in any order.

In: segments of an ELF and the number of the chip's family. Out: the bytes of the file. Each block
carries 256 bytes for one page of flash; bytes of a page that no segment holds are as after erasing.
"""

import struct
from collections.abc import Sequence

from tesla_host.elf import Segment

PAGE_BYTES = 256
_MAGIC_START = (0x0A32_4655, 0x9E5D_5157)
_MAGIC_END = 0x0AB1_6F30
_HAS_FAMILY = 0x2000
_DATA_BYTES = 476


def encode_uf2(segments: Sequence[Segment], family: int) -> bytes:
    """The file: its blocks are numbered from 0, ascending by address."""
    pages: dict[int, bytearray] = {}
    for segment in segments:
        for offset, byte in enumerate(segment.data):
            address = segment.address + offset
            page = pages.setdefault(address - address % PAGE_BYTES, bytearray(b"\xff" * PAGE_BYTES))
            page[address % PAGE_BYTES] = byte
    blocks = (
        struct.pack(
            f"<8I{_DATA_BYTES}sI",
            *_MAGIC_START,
            _HAS_FAMILY,
            address,
            PAGE_BYTES,
            number,
            len(pages),
            family,
            bytes(page),
            _MAGIC_END,
        )
        for number, (address, page) in enumerate(sorted(pages.items()))
    )
    return b"".join(blocks)
