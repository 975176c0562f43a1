"""Finding compilers and targets, and what is said when there is none."""

import re
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from tesla_embed.errors import ConfigError, ToolchainError
from tesla_host import board, compilers
from tesla_host.compilers import TOOLCHAINS, Compiler, Toolchain, find_compiler
from tesla_host.targets import TARGETS, check_target, find_target, open_target, target_names
from tesla_host.toolchain import Unit, build_elf


@pytest.fixture(autouse=True)
def forget_compilers() -> Iterator[None]:
    find_compiler.cache_clear()
    yield
    find_compiler.cache_clear()


def test_no_zig_names_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilers, "find_spec", lambda name: None)
    with pytest.raises(ToolchainError, match=r"pip install 'tesla-embed\[zig\]'"):
        find_compiler("zig")


def test_no_host_compiler_names_both_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(compilers, "find_spec", lambda name: None)
    with pytest.raises(ToolchainError, match=r"install gcc or clang, or pip install"):
        find_compiler("host")


def test_zig_stands_in_for_a_host_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    zig = Compiler(name="zig", command=("zig", "cc"), version="zig 9")
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(compilers, "find_spec", lambda name: object())
    monkeypatch.setattr(compilers, "_find_zig", lambda: zig)
    assert find_compiler("host") is zig


def test_a_wrong_cc_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(ToolchainError, match="CC names no-such-compiler"):
        find_compiler("host")


def test_cc_is_obeyed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mine = tmp_path / "mycc"
    mine.write_text("#!/bin/sh\necho mycc 1.2\n")
    mine.chmod(0o755)
    monkeypatch.setenv("CC", str(mine))
    assert find_compiler("host").version == "mycc 1.2"


@pytest.mark.parametrize("wanted", TOOLCHAINS, ids=lambda known: f"{known.kind}-{known.name}")
def test_a_missing_toolchain_names_its_install_command(
    wanted: Toolchain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(compilers, "find_spec", lambda name: None)
    with pytest.raises(ToolchainError, match=re.escape(wanted.install)):
        find_compiler(wanted.kind, wanted.architecture)


def _pretend(folder: Path, name: str) -> Path:
    program = folder / name
    program.write_text(f"#!/bin/sh\necho {name} 7\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize("architecture", sorted(compilers.GNU))
def test_clang_is_linked_by_the_gnu_toolchain(
    architecture: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    clang, gnu = (_pretend(tmp_path, name) for name in ("clang", compilers.GNU[architecture]))
    found = find_compiler("clang", architecture)
    assert (found.command, found.linker) == ((str(clang),), (str(gnu),))
    assert found.version == f"clang 7, linked by {gnu.name} 7"
    gnu.unlink()
    find_compiler.cache_clear()
    monkeypatch.setenv("PATH", f"{tmp_path}:/nowhere")
    with pytest.raises(ToolchainError, match=f"clang needs {gnu.name} to link.*apt install"):
        find_compiler("clang", architecture)


def test_a_compiler_that_does_not_start_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mine = tmp_path / "mycc"
    mine.write_text("#!/bin/sh\nexit 3\n")
    mine.chmod(0o755)
    monkeypatch.setenv("CC", str(mine))
    with pytest.raises(ToolchainError, match="mycc does not start"):
        find_compiler("host")


def _fake_compiler(tmp_path: Path, body: str) -> Compiler:
    script = tmp_path / "cc.py"
    script.write_text(body)
    return Compiler(name="fake", command=(sys.executable, str(script)), version="fake 1")


def test_only_what_changed_is_compiled(tmp_path: Path) -> None:
    log = tmp_path / "log"
    compiler = _fake_compiler(
        tmp_path,
        "import sys\nfrom pathlib import Path\n"
        f"open({str(log)!r}, 'a').write(' '.join(sys.argv[1:3]) + '\\n')\n"
        "Path(sys.argv[sys.argv.index('-o') + 1]).write_text('object')\n",
    )
    include = tmp_path / "include"
    include.mkdir()
    (include / "a.h").write_text("1")
    units = []
    for name in ("one.c", "two.c"):
        (tmp_path / name).write_text(name)
        units.append(Unit(source=tmp_path / name, flags=("-O2",)))

    def compiled() -> int:
        log.write_text("")
        build_elf(compiler, units, [], [include], tmp_path / "objects", tmp_path / "out.elf")
        return sum(line.startswith("-c") for line in log.read_text().splitlines())

    assert compiled() == 2
    assert compiled() == 0
    (tmp_path / "one.c").write_text("changed")
    assert compiled() == 1
    (include / "a.h").write_text("2")
    assert compiled() == 2
    units[1] = Unit(source=units[1].source, flags=("-O3",))
    assert compiled() == 1


def test_the_first_errors_are_shown(tmp_path: Path) -> None:
    compiler = _fake_compiler(
        tmp_path,
        "import sys\n"
        "for i in range(40): print(f'x.c:{i}: error: wrong {i}', file=sys.stderr)\n"
        "raise SystemExit(1)\n",
    )
    source = tmp_path / "x.c"
    source.write_text("")
    with pytest.raises(ToolchainError, match=r"fake 1 failed: x.c:0: error: wrong 0") as caught:
        build_elf(
            compiler, [Unit(source=source, flags=())], [], [], tmp_path / "o", tmp_path / "e.elf"
        )
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "e.elf").exists()
    assert list((tmp_path / "o").iterdir()) == []


def test_unknown_targets_say_what_exists() -> None:
    with pytest.raises(ConfigError, match=r"'moon'; `tesla-embed targets` lists .* serial:PORT"):
        open_target("moon", Path("fw.elf"))
    with pytest.raises(ConfigError, match=r"'picco'; do you mean pico or pico2\? `tesla-embed"):
        open_target("picco", Path("fw.elf"))


def test_a_target_needs_its_firmware() -> None:
    with pytest.raises(ConfigError, match="target emulator needs a firmware"):
        open_target("emulator")


def test_a_board_is_no_emulator() -> None:
    assert find_target("qemu:netduinoplus2") is find_target("netduinoplus2")
    check_target("qemu:netduinoplus2")
    with pytest.raises(ConfigError, match=r"serial:PORT, or give qemu:netduinoplus2"):
        open_target("netduinoplus2", Path("fw.elf"))
    with pytest.raises(ConfigError, match=r"pico is a board: .* its port, serial:PORT$"):
        check_target("pico")
    with pytest.raises(ConfigError, match=r"unknown target 'qemu:pico'"):
        check_target("qemu:pico")


def test_the_catalogue_is_consistent() -> None:
    assert len(set(target_names())) == len(target_names()) >= len(TARGETS)
    for target in TARGETS:
        assert find_target(target.name) is target
        assert len(target.name) <= 24 and len(target.cpu) <= 16  # in a HELLO
        expected = "native" if target.core is None else "emulated"
        assert target.status == (expected if target.runs_as else "compile-tested")
        assert target.status in {"emulated", "compile-tested", "hardware-verified", "native"}
        assert (target.core is None) == (target.flash is None) == (target.ram is None)
        if target.core is not None:
            assert set(target.toolchains) == set(target.core.flags)
        if target.qemu:
            # Exact counting needs several ticks of the timer for each instruction, or just one.
            per_tick = target.qemu.instructions_per_tick
            assert per_tick < Fraction(1, 3) or per_tick == 1


def test_every_number_of_a_row_reaches_the_c_side() -> None:
    for target in TARGETS:
        text = board.header(target)
        assert f'#define TESLA_TARGET_NAME "{target.name}"' in text
        for name, value in target.constants:
            assert f"#define TESLA_TARGET_{name} 0x{value:x}u\n" in text
        if target.core is not None:
            assert target.flash is not None and target.ram is not None
            script = board.memory_map(target)
            for number in (target.flash.origin, target.ram.origin):
                assert f"ORIGIN = 0x{number:08x}" in script
            for number in (target.flash.bytes, target.ram.bytes):
                assert f"LENGTH = 0x{number:x}" in script
            assert f"tesla_stack_bytes = 0x{target.stack_bytes:x};" in script
