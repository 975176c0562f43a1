"""Files and folders are replaced whole or not at all, and nothing is left lying about."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tesla_embed.atomic import replacing, replacing_folder, write_bytes, write_text
from tesla_embed.errors import ConfigError


class Interrupted(BaseException):
    """Stands for anything that ends a program, Control-C included."""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file"
    write_bytes(path, b"one")
    write_text(path, "zwölf\n")
    assert path.read_bytes() == "zwölf\n".encode()
    assert names(path.parent) == ["file"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, Interrupted])
def test_failure_leaves_the_previous_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")
    with pytest.raises(error), replacing(path) as temporary:
        temporary.write_bytes(b"half of the n")
        assert path.read_bytes() == b"old"
        raise error
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_failed_rename_leaves_the_previous_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def fail(*_: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(ConfigError, match=r"cannot write .*file: No space left on device"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_respects_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_bytes(tmp_path / "file", b"")
        with replacing_folder(tmp_path / "folder"):
            pass
    finally:
        os.umask(old)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o750


def test_file_or_folder_in_the_way(tmp_path: Path) -> None:
    write_bytes(tmp_path / "file", b"")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "x", tmp_path / "folder"):
        with pytest.raises(ConfigError, match=r"cannot write .*; choose "):
            write_bytes(path, b"x")
    with (
        pytest.raises(ConfigError, match="cannot write"),
        replacing_folder(tmp_path / "file" / "x"),
    ):
        pass
    assert names(tmp_path) == ["file", "folder"]


def test_devices_are_not_replaced() -> None:
    """Regression: as root, writing to /dev/null made a file of it."""
    with pytest.raises(ConfigError, match="it is a device"):
        write_bytes(Path("/dev/null"), b"x")
    assert Path("/dev/null").is_char_device()


def test_links_are_followed(tmp_path: Path) -> None:
    write_bytes(tmp_path / "file", b"old")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write_bytes(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"new"


def make_folder(path: Path, content: str) -> None:
    with replacing_folder(path) as fresh:
        (fresh / content).write_text(content)


def test_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b", "one")
    make_folder(tmp_path / "a" / "b", "two")
    assert names(tmp_path / "a") == ["b"]
    assert names(tmp_path / "a" / "b") == ["two"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, Interrupted])
def test_failure_leaves_the_previous_folder(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "folder"
    make_folder(path, "old")
    with pytest.raises(error), replacing_folder(path) as fresh:
        (fresh / "new").write_text("half")
        assert names(path) == ["old"]
        raise error
    assert names(path) == ["old"]
    assert names(tmp_path) == ["folder"]


@pytest.mark.parametrize("error", [OSError(16, "Device or resource busy"), Interrupted()])
def test_old_folder_returns_when_the_new_one_cannot_be_moved_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    path = tmp_path / "folder"
    make_folder(path, "old")
    rename = Path.rename

    def fail_for_the_new(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise error
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_for_the_new)
    with pytest.raises((ConfigError, Interrupted)):
        make_folder(path, "new")
    assert names(path) == ["old"]
    assert names(tmp_path) == ["folder"]


WRITER = """
import os, signal, sys
from pathlib import Path
from tesla_embed.atomic import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half of the n")
    print("writing", flush=True)
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_next_write_removes_what_a_killed_one_left_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.file"
    kept = [
        ".a.file.part", ".a.file.12345678.part~", ".a.file.1234567.part", ".axfile.12345678.part",
        ".b.file.12345678.part", "a.file.12345678.part", ".a.file.ABCDEFGH.part",
    ]  # fmt: skip
    for name in kept:
        (tmp_path / name).write_text("precious")
    (tmp_path / ".a.file.87654321.part").mkdir()
    (tmp_path / ".a.file.11111111.part").symlink_to(tmp_path / kept[0])
    kept += [".a.file.87654321.part", ".a.file.11111111.part"]
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert writer.stdout and writer.stdout.readline() == b"writing\n"
    left = sorted(set(names(tmp_path)) - set(kept))
    assert len(left) == 1, "one writer, one file"
    write_bytes(path, b"while the other one writes")
    assert names(tmp_path) == sorted([*kept, *left, "a.file"])
    writer.communicate()
    assert writer.returncode == -signal.SIGKILL
    write_bytes(tmp_path / "b", b"another name")
    assert left[0] in names(tmp_path)
    write_bytes(path, b"new")
    assert names(tmp_path) == sorted([*kept, "a.file", "b"])
    assert path.read_bytes() == b"new"


def test_writers_of_one_file_do_not_remove_each_others_work(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def write(content: bytes) -> None:
        try:
            for _ in range(100):
                write_bytes(tmp_path / "file", content)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(bytes([65 + i]) * 999,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert names(tmp_path) == ["file"] and len(set((tmp_path / "file").read_bytes())) == 1
