"""The memory functions of the start-up code of RISC-V, on ranges that overlap in every way."""

import ctypes
from pathlib import Path

import pytest
from conftest import require
from graphs import STRICT, compile_c

import tesla_firmware
from tesla_host.compilers import find_compiler

SOURCE = Path(tesla_firmware.__file__).parent / "boards" / "riscv" / "memory.c"
NAMES = ("memcpy", "memmove", "memset", "memcmp")
BYTES = 24


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The functions under names of their own, for this machine."""
    folder = tmp_path_factory.mktemp("memory")
    compiler = require(lambda: find_compiler("host"))
    names = [f"-D{name}=board_{name}" for name in NAMES]
    flags = (*STRICT, "-O2", "-ffreestanding", "-fPIC", "-shared", *names)
    compile_c([*compiler.command, *flags, str(SOURCE), "-o", "memory.so"], folder)
    return ctypes.CDLL(str(folder / "memory.so"))


@pytest.mark.parametrize("name", ["memmove", "memcpy"])
def test_every_pair_of_ranges(library: ctypes.CDLL, name: str) -> None:
    """Every start and size; those of memcpy are apart, those of memmove overlap as they like."""
    before = bytes(range(1, BYTES + 1))
    for source in range(BYTES):
        for target in range(BYTES):
            most = BYTES - max(source, target)
            for size in range((most if name == "memmove" else min(most, abs(source - target))) + 1):
                memory = ctypes.create_string_buffer(before, BYTES)
                at = ctypes.addressof(memory)
                copy = getattr(library, f"board_{name}")
                copy(*map(ctypes.c_void_p, (at + target, at + source)), ctypes.c_size_t(size))
                expected = bytearray(before)
                expected[target : target + size] = before[source : source + size]
                assert memory.raw == bytes(expected), (source, target, size)


def test_memset_and_memcmp(library: ctypes.CDLL) -> None:
    for start in range(5):
        for size in range(BYTES - start + 1):
            memory = ctypes.create_string_buffer(BYTES)
            at = ctypes.c_void_p(ctypes.addressof(memory) + start)
            library.board_memset(at, 0x1A5, ctypes.c_size_t(size))
            assert memory.raw == bytes(start) + b"\xa5" * size + bytes(BYTES - start - size)
    for other, sign in ((b"abd\x80", -1), (b"abc\x80", 0), (b"abb\x80", 1), (b"abc\x7f", 1)):
        found = library.board_memcmp(b"abc\x80", other, ctypes.c_size_t(4))
        assert (found > 0) - (found < 0) == sign
