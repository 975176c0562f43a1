"""Write files so that a reader sees the old content or the new one, never a part.

In: a destination and its content. Out: the file or folder, whole. Refuses, with `ConfigError`,
places that cannot be written.

A process that is killed while it writes leaves a hidden `.NAME.????????.part` behind. Writers hold
a lock on theirs, which the system gives back when they end, however they end; `write_bytes` removes
those of the same name that nobody holds. Where the system has no such locks they stay.
"""

import contextlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tesla_embed.errors import ConfigError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`, on error it goes.

    A symbolic link is followed. Raises `ConfigError` when the place cannot be written, or holds
    something that is no file.
    """
    path = path.resolve()
    check_writable(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = _claim(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        temporary.chmod(0o666 & ~_umask())
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)
        os.close(handle)


def check_writable(path: Path, *inputs: Path | None) -> None:
    """Raise `ConfigError` if `path` cannot become a file: worth asking before long work.

    Devices and pipes are refused too: replacing them would break what they stand for. So is a file
    that is one of the `inputs`: it would be lost.
    """
    if any(given is not None and _same(path, given) for given in inputs):
        raise ConfigError(f"cannot write {path}: it is the input; choose another name")
    if path.exists() and not path.is_file():
        kind = "folder" if path.is_dir() else "device"
        raise ConfigError(f"cannot write {path}: it is a {kind}; choose the name of a file")
    parent = next(parent for parent in path.absolute().parents if parent.exists())
    if not parent.is_dir():
        raise ConfigError(f"cannot write {path}: {parent} is a file; choose another place")
    if not os.access(parent, os.W_OK):
        raise ConfigError(f"cannot write {path}: {parent} is read-only; choose another place")
    try:  # what the system allows by its own account, it may refuse all the same
        handle, name = tempfile.mkstemp(dir=parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
        Path(name).unlink(missing_ok=True)  # a writer may have swept it away
    except OSError as error:
        raise _unwritable(path, error) from error


def _same(path: Path, given: Path) -> bool:
    return path.exists() and given.exists() and path.samefile(given)


def remove_file(path: Path) -> None:
    """Remove a file that may be there. Raises `ConfigError` when it cannot be removed."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it replaces `path`, on error it goes.

    Raises `ConfigError` when it cannot be created or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        workplace = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        fresh, old = workplace / "new", workplace / "old"
        fresh.mkdir()
        yield fresh
        try:
            if path.exists():
                path.rename(old)
            fresh.rename(path)
        except BaseException:
            if old.exists() and not path.exists():
                old.rename(path)
            raise
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        shutil.rmtree(workplace, ignore_errors=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` in one step, and remove what killed writes of it left there."""
    _sweep(path.resolve())
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write `content` to `path` in UTF-8 with Unix line ends, in one step."""
    write_bytes(path, content.encode())


def _claim(path: Path) -> tuple[int, Path]:
    """Create an empty file beside `path`; it counts as in use until the handle is closed."""
    while True:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        _lock(handle, wait=True)
        if os.fstat(handle).st_nlink:
            return handle, Path(name)
        os.close(handle)  # swept away before it was locked


def _sweep(path: Path) -> None:
    """Remove files that `_claim` created for `path` and whose processes are gone."""
    ours = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}\.part")
    with contextlib.suppress(OSError):
        for entry in [entry for entry in path.parent.iterdir() if ours.fullmatch(entry.name)]:
            _remove_unused(entry)


def _remove_unused(path: Path) -> None:
    """Remove a file that nobody writes; a link, a folder or a file of somebody else stays."""
    if path.is_symlink() or not path.is_file():
        return
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDWR)
        try:
            if _lock(handle, wait=False):
                path.unlink()
        finally:
            os.close(handle)


def _lock(handle: int, *, wait: bool) -> bool:
    """Whether this process is now the only one to hold the open file `handle`."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # held, or a file system without locks
        return False
    return True


def _unwritable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"cannot write {path}: {error.strerror}; choose another place")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
