"""The seal of an RP2040's second boot stage: its ROM runs it only when the CRC is right.

In: a linked ELF, perhaps with a section `.boot2`. Out: that ELF with the CRC in the section's last
four bytes. Refuses a stage of another length than 256 bytes (`ToolchainError`).
"""

from pathlib import Path

from elftools.elf.elffile import ELFFile

from tesla_embed.atomic import write_bytes
from tesla_embed.errors import ToolchainError

SECTION = ".boot2"
STAGE_BYTES = 256
_CRC_BYTES = 4
_POLYNOMIAL = 0x04C1_1DB7


def seal(elf: Path) -> None:
    """Write the CRC into the boot stage of `elf`; nothing where it has none."""
    with elf.open("rb") as stream:
        section = ELFFile(stream).get_section_by_name(SECTION)
        if section is None:
            return
        start, size = int(section["sh_offset"]), int(section["sh_size"])
    if size != STAGE_BYTES:
        raise ToolchainError(f"{elf}: {SECTION} has {size} bytes, not {STAGE_BYTES}")
    content = bytearray(elf.read_bytes())
    end = start + STAGE_BYTES - _CRC_BYTES
    content[end : end + _CRC_BYTES] = crc32(bytes(content[start:end])).to_bytes(4, "little")
    write_bytes(elf, bytes(content))


def crc32(data: bytes) -> int:
    """The CRC of the RP2040's ROM (data sheet, "Flash Second Stage"): CRC-32/MPEG-2."""
    crc = 0xFFFF_FFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ _POLYNOMIAL if crc >> 31 else crc << 1) & 0xFFFF_FFFF
    return crc
