"""Data sets for training, calibration and evaluation.

In: a specification, `digits`, `idx:DIR` or `npz:DIR`. Out: a `DataSet` of two `Split`s, images
`[N, H, W, C]` or vectors `[N, features]`, uint8 or float32, with labels 0 to classes - 1.
Refuses, with `ConfigError`, files that are missing, damaged, too large to be meant, that do not
belong together, or whose labels leave a class without a training example. NumPy only; `digits`
needs scikit-learn.
"""

import gzip
import hashlib
import math
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from tesla_embed.errors import ConfigError, ToolchainError

MAX_BYTES = 2**32
"""No array may be larger than this: a small file that claims more is damaged or malicious."""

FORMS = "digits, idx:DIR or npz:DIR"
_DIGITS_SEED = 1797
_IDX_TYPE_UINT8 = 0x08
_IDX_PARTS = {"train": "train", "test": "t10k"}

Indices = slice | npt.NDArray[np.integer]


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Examples `x` `[N, H, W, C]` or `[N, features]` (uint8 or float32), labels `y` `[N]` int64."""

    x: npt.NDArray[np.generic]
    y: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        self.x.flags.writeable = False
        self.y.flags.writeable = False

    def __len__(self) -> int:
        return len(self.y)

    def floats(self, indices: Indices = slice(None)) -> npt.NDArray[np.float32]:
        """Examples as a network sees them, float32: uint8 divided by 255, floats as they are."""
        chosen = self.x[indices]
        if chosen.dtype == np.uint8:
            return chosen.astype(np.float32) / np.float32(255)
        return chosen.astype(np.float32)

    def fingerprint(self) -> str:
        """SHA-256 over examples and labels, in hexadecimal."""
        digest = hashlib.sha256(f"{self.x.dtype} {self.x.shape}".encode())
        digest.update(np.ascontiguousarray(self.x).data)
        digest.update(np.ascontiguousarray(self.y).data)
        return digest.hexdigest()

    def subset(self, indices: Indices) -> "Split":
        """A copy of some of the examples."""
        return Split(self.x[indices].copy(), self.y[indices].copy())


@dataclass(frozen=True, slots=True, eq=False)
class DataSet:
    """A pair of splits with the same example shape and `classes` classes.

    `name` is the specification with the folder's own name only, so that it may be published.
    """

    name: str
    train: Split
    test: Split
    classes: int

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example, `(H, W, C)` or `(features,)`."""
        return self.train.x.shape[1:]

    def fingerprint(self) -> str:
        """SHA-256 over all examples and labels, in hexadecimal."""
        both = self.train.fingerprint() + self.test.fingerprint()
        return hashlib.sha256(both.encode()).hexdigest()


def load_data(spec: str, *, train: bool = True) -> DataSet:
    """Load `digits`, `idx:DIR` (MNIST's four files, plain or .gz) or `npz:DIR` (train, test).

    Without `train`, the files of the train part are not looked at: that split is empty, and there
    are as many classes as the test labels need.

    Raises `ConfigError` for everything wrong with the specification or the files, and
    `ToolchainError` when `digits` is asked for without scikit-learn.
    """
    if spec == "digits":
        return _digits()
    kind, colon, folder = spec.partition(":")
    reader = {"idx": _read_idx_part, "npz": _read_npz_part}.get(kind)
    if reader is None or not colon or not folder:
        raise ConfigError(f"data set {spec!r} is not known; use {FORMS}")
    path = Path(folder)
    if not path.is_dir():
        raise ConfigError(f"data folder {path} is not a directory; use {FORMS}")
    where = f"{kind}:{path}"
    read = {part: reader(path, part) for part in (("train", "test") if train else ("test",))}
    for part, split in read.items():
        _check_split(f"{part} part of {where}", split)
    name, test = f"{kind}:{path.resolve().name}", read["test"]
    if not train:
        return DataSet(name, test.subset(slice(0)), test, _classes_of_test(where, test.y))
    return _paired(name, where, read["train"], test)


def spread(available: int, wanted: int) -> npt.NDArray[np.int64]:
    """Indices of `wanted` examples, evenly spread over all that are available."""
    return np.linspace(0, available - 1, min(available, wanted)).astype(np.int64)


def split_validation(train: Split, share: float, seed: int) -> tuple[Split, Split]:
    """Split off about `share` of every class for validation; the same seed, the same split.

    Returns `(rest, validation)`. Every class keeps at least one training example.
    """
    kept, held = _stratified(train.y, share, seed)
    if not len(held) or not len(kept):
        raise ConfigError(
            f"{len(train)} training examples are too few to hold {share:g} of each class back for "
            "validation; use more data or a larger share"
        )
    return train.subset(kept), train.subset(held)


def check_data(data: DataSet) -> None:
    """Raise `ConfigError` unless values are finite and labels from 0 to `data.classes` - 1.

    What `load_data` made is checked already; this is for data sets that were made in a program.
    """
    for part, split in (("training", data.train), ("test", data.test)):
        where = f"the {part} data of {data.name}"
        if split.x.shape[1:] != data.input_shape or len(split.x) != len(split.y):
            raise ConfigError(
                f"{where} have examples {split.x.shape} and labels {split.y.shape}, training "
                f"examples have shape {data.input_shape}; use data that belong together"
            )
        odd = np.flatnonzero(~np.isfinite(split.x.reshape(len(split), -1)).all(1))
        if len(odd):
            raise ConfigError(f"{where} hold NaN or infinity in example {odd[0]}; clean the data")
        wrong = np.flatnonzero((split.y < 0) | (split.y >= data.classes))
        if len(wrong):
            raise ConfigError(
                f"{where} have label {split.y[wrong[0]]} in example {wrong[0]}, outside 0 to "
                f"{data.classes - 1}; fix the labels or the number of classes"
            )


def check_classes(data: DataSet, training: Split) -> None:
    """Raise `ConfigError` if a class of `data` has no example in `training`, a part of it."""
    missing = np.setdiff1d(np.arange(data.classes), training.y)
    if len(missing):
        raise ConfigError(
            f"class {missing[0]} of {data.name} has no training example; add some, or number the "
            "classes that there are 0, 1, 2, ..."
        )


def _stratified(
    y: npt.NDArray[np.int64], share: float, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Indices `(kept, held)`, both ascending, with `share` of every class held."""
    rng = np.random.default_rng(seed)
    held = []
    for label in np.unique(y):
        members = rng.permutation(np.flatnonzero(y == label))
        held.append(members[: min(round(len(members) * share), len(members) - 1)])
    chosen = np.zeros(len(y), dtype=bool)
    chosen[np.concatenate(held)] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _digits() -> DataSet:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ToolchainError(
            'the digits data need scikit-learn; run pip install "tesla-embed[train]"'
        ) from error
    bunch = load_digits()
    x = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    whole = Split(x, bunch.target.astype(np.int64))
    kept, held = _stratified(whole.y, 0.2, _DIGITS_SEED)
    return _paired("digits", "digits", whole.subset(kept), whole.subset(held))


def _read_idx_part(folder: Path, part: str) -> Split:
    stem = _IDX_PARTS[part]
    x = _read_idx(_find(folder, f"{stem}-images", 3), 3)
    y = _read_idx(_find(folder, f"{stem}-labels", 1), 1)
    return Split(x[..., np.newaxis], y.astype(np.int64))


def _find(folder: Path, stem: str, dimensions: int) -> Path:
    tail = f"idx{dimensions}-ubyte"
    names = [f"{stem}{mark}{tail}{end}" for end in ("", ".gz") for mark in ("-", ".")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise ConfigError(f"{folder} holds none of {', '.join(names)}; put the file there")


def _read_idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """An unsigned-byte array in the IDX format: magic, big-endian sizes, then the elements."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return _parse_idx(file, path, dimensions)
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigError(f"{path} cannot be read ({error}); download it again") from error


def _parse_idx(
    file: IO[bytes] | gzip.GzipFile, path: Path, dimensions: int
) -> npt.NDArray[np.uint8]:
    header = file.read(4 + 4 * dimensions)
    magic = bytes((0, 0, _IDX_TYPE_UINT8, dimensions))
    if header[:4] != magic:
        raise ConfigError(
            f"{path} begins with {header[:4].hex() or 'nothing'}, not {magic.hex()}: it is no IDX "
            f"file of unsigned bytes with {dimensions} dimensions; download it again"
        )
    if len(header) < 4 + 4 * dimensions:
        raise ConfigError(f"{path} ends inside its header; download it again")
    shape = tuple(int(size) for size in np.frombuffer(header, dtype=">u4", offset=4))
    count = math.prod(shape)
    _check_bytes(path, count)
    content = file.read(count)
    if len(content) != count or file.read(1):
        found = f"{len(content)} bytes" if len(content) < count else "more"
        raise ConfigError(
            f"{path} promises {count} bytes of data and holds {found}; download it again"
        )
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def _read_npz_part(folder: Path, part: str) -> Split:
    path = folder / f"{part}.npz"
    if not path.is_file():
        raise ConfigError(f"{folder} holds no {part}.npz; write one with arrays x and y")
    try:
        with zipfile.ZipFile(path) as archive:
            x = _read_member(archive, path, "x")
            y = _read_member(archive, path, "y")
    except ConfigError:
        raise
    except Exception as error:  # the zip, zlib and npy readers fail in a dozen ways
        raise ConfigError(
            f"{path} cannot be read ({type(error).__name__}: {error}); write it again with "
            "numpy.savez(path, x=x, y=y)"
        ) from error
    return Split(_checked_examples(path, x), _checked_labels(path, y))


def _read_member(archive: zipfile.ZipFile, path: Path, name: str) -> npt.NDArray[np.generic]:
    """One array of an .npz, its size checked before anything of that size is allocated."""
    member = f"{name}.npy"
    if member not in archive.namelist():
        raise ConfigError(f"{path} holds no array {name}; write it with numpy.savez(x=x, y=y)")
    stored = archive.getinfo(member).file_size
    _check_bytes(path, stored)
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        reader = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if reader is None:
            raise ConfigError(f"array {name} of {path} has an unknown format version {version}")
        shape, _, dtype = reader(file)
        if dtype.hasobject:
            raise ConfigError(f"array {name} of {path} holds Python objects; write plain numbers")
        if math.prod(shape) * dtype.itemsize != stored - file.tell():
            raise ConfigError(f"array {name} of {path} does not have the size it states")
    with archive.open(member) as file:
        array: npt.NDArray[np.generic] = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _check_bytes(path: Path, count: int) -> None:
    if count > MAX_BYTES:
        raise ConfigError(f"{path} claims {count} bytes, the limit is {MAX_BYTES}; is it damaged?")


def _checked_examples(path: Path, x: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    if x.dtype == np.uint8:
        return x
    if not np.issubdtype(x.dtype, np.floating):
        raise ConfigError(f"x of {path} is {x.dtype}; use uint8 or float32")
    with np.errstate(over="ignore"):
        floats = x.astype(np.float32)
    odd = np.flatnonzero(~np.isfinite(floats).all(axis=tuple(range(1, x.ndim))))
    if len(odd):
        raise ConfigError(
            f"x of {path} has values that are no finite float32, first in sample {odd[0]}; clean "
            "the data"
        )
    return floats


def _checked_labels(path: Path, y: npt.NDArray[np.generic]) -> npt.NDArray[np.int64]:
    if not np.issubdtype(y.dtype, np.integer):
        raise ConfigError(f"y of {path} is {y.dtype}; use integer labels")
    if y.ndim != 1:
        raise ConfigError(f"y of {path} has shape {y.shape}; use one label per example, [N]")
    if y.size and y.max() > np.iinfo(np.int64).max:
        raise ConfigError(f"y of {path} has label {y.max()}; labels count from 0")
    return y.astype(np.int64)


def _check_split(where: str, split: Split) -> None:
    """Check that a split is whole."""
    if split.x.ndim not in (2, 4):
        raise ConfigError(
            f"{where}: x has shape {split.x.shape}; use [N, H, W, C] or [N, features]"
        )
    if len(split.x) != len(split.y):
        raise ConfigError(
            f"{where}: {len(split.x)} examples but {len(split.y)} labels; use matching files"
        )
    if not split.x.size:
        raise ConfigError(f"{where} is empty, x has shape {split.x.shape}; use other files")


def _paired(name: str, where: str, train: Split, test: Split) -> DataSet:
    """Check that two splits belong together; `where` is what the user gave."""
    if train.x.shape[1:] != test.x.shape[1:] or train.x.dtype != test.x.dtype:
        raise ConfigError(
            f"{where}: train examples are {train.x.dtype} {train.x.shape[1:]}, test examples "
            f"{test.x.dtype} {test.x.shape[1:]}; use files that belong together"
        )
    return DataSet(name, train, test, _class_count(where, train.y, test.y))


def _classes_of_test(where: str, test: npt.NDArray[np.int64]) -> int:
    if test.min() < 0:
        raise ConfigError(f"test part of {where} has label {test.min()}; labels count from 0")
    return int(test.max()) + 1


def _class_count(where: str, train: npt.NDArray[np.int64], test: npt.NDArray[np.int64]) -> int:
    present: Sequence[int] = np.unique(train).tolist()
    if present != list(range(len(present))):
        raise ConfigError(
            f"train part of {where} has labels {present[0]} to {present[-1]} with gaps or not from "
            "0; number the classes 0, 1, 2, ... and give each a training example"
        )
    if len(present) < 2:
        raise ConfigError(f"train part of {where} has one class only; there is nothing to learn")
    wrong = test[(test < 0) | (test >= len(present))]
    if len(wrong):
        raise ConfigError(
            f"test part of {where} has label {wrong[0]} outside 0 to {len(present) - 1}; fix y"
        )
    return len(present)
