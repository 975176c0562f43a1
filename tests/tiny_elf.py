"""A firmware's ELF written by hand: some bytes at an address, and the digest of a model in them."""

import struct
from pathlib import Path

DIGEST = bytes(range(100, 132))
_TEXT_AT = 0x100


def write_elf(
    path: Path, address: int, data: bytes, symbols: tuple[str, ...] = ("tesla_net_digest",)
) -> Path:
    """An ELF for Arm: `data` at `address`, and symbols, each of which is its first 32 bytes."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name in symbols)
    table = bytes(16)
    for name in symbols:
        at = names.index(b"\0" + name.encode() + b"\0") + 1
        table += struct.pack("<IIIBBH", at, address, 32, 0x11, 0, 1)
    sections = b"\0.text\0.symtab\0.strtab\0"
    offsets = [_TEXT_AT]
    for part in (data, table, names):
        offsets.append(offsets[-1] + len(part))
    text = (1, 1, 6, address, offsets[0], len(data), 0, 0, 4, 0)
    rows = [
        bytes(40),
        struct.pack("<10I", *text),
        struct.pack("<10I", 7, 2, 0, 0, offsets[1], len(table), 3, 1, 4, 16),
        struct.pack("<10I", 15, 3, 0, 0, offsets[2], len(names), 0, 0, 1, 0),
        struct.pack("<10I", 15, 3, 0, 0, offsets[3], len(sections), 0, 0, 1, 0),
    ]
    end = offsets[3] + len(sections)
    head = b"\x7fELF\x01\x01\x01" + bytes(9)
    head += struct.pack("<HHIIIIIHHHHHH", 2, 40, 1, address, 52, end, 0, 52, 32, 1, 40, 5, 4)
    head += struct.pack("<8I", 1, _TEXT_AT, address, address, len(data), len(data), 5, 4)
    body = data + table + names + sections + b"".join(rows)
    path.write_bytes(head.ljust(_TEXT_AT, b"\0") + body)
    return path
