"""Data sets: the three sources, and every way their files can be wrong."""

import contextlib
import gzip
import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tesla_embed import data
from tesla_embed.data import Split, load_data, split_validation
from tesla_embed.errors import ConfigError

RNG = np.random.default_rng(0)


def idx_bytes(array: np.ndarray) -> bytes:
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_idx(folder: Path, mark: str = "-", end: str = "", n: int = 12) -> dict[str, np.ndarray]:
    arrays = {}
    for stem, count in (("train", n), ("t10k", 4)):
        images = RNG.integers(0, 256, (count, 3, 2), dtype=np.uint8)
        labels = (np.arange(count) % 3).astype(np.uint8)
        for name, array in (
            (f"{stem}-images{mark}idx3", images),
            (f"{stem}-labels{mark}idx1", labels),
        ):
            content = idx_bytes(array)
            path = folder / f"{name}-ubyte{end}"
            path.write_bytes(gzip.compress(content) if end else content)
            arrays[f"{stem}{array.ndim}"] = array
    return arrays


def write_npz(folder: Path, **changes: np.ndarray) -> None:
    x = RNG.integers(0, 256, (9, 4, 4, 2), dtype=np.uint8)
    y = np.arange(9) % 3
    for part in ("train", "test"):
        arrays = {"x": x, "y": y}
        arrays |= {k.split("_")[1]: v for k, v in changes.items() if k.startswith(part)}
        np.savez(folder / f"{part}.npz", **arrays)


def fails(spec: str, *words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_data(spec)
    for word in words:
        assert word in str(caught.value)


def test_where_only_test_samples_are_used_the_train_part_is_not_judged(tmp_path: Path) -> None:
    write_npz(tmp_path, train_y=np.zeros(9, int))
    fails(f"npz:{tmp_path}", "one class only")
    loaded = load_data(f"npz:{tmp_path}", train=False)
    assert (len(loaded.train), len(loaded.test), loaded.classes) == (0, 9, 3)
    assert loaded.input_shape == (4, 4, 2) and loaded.name == f"npz:{tmp_path.name}"
    (tmp_path / "train.npz").unlink()
    assert load_data(f"npz:{tmp_path}", train=False).test.fingerprint() == loaded.test.fingerprint()
    write_npz(tmp_path, test_y=np.arange(9) - 1)
    with pytest.raises(ConfigError, match="has label -1; labels count from 0"):
        load_data(f"npz:{tmp_path}", train=False)


def test_messages_name_the_whole_path_and_the_sample(tmp_path: Path) -> None:
    write_npz(tmp_path, train_y=np.zeros(9, int))
    fails(f"npz:{tmp_path}", f"train part of npz:{tmp_path} has one class only")
    x = np.zeros((9, 4, 4, 2), np.float32)
    x[5, 1, 1, 0] = x[7, 0, 0, 0] = np.nan
    write_npz(tmp_path, test_x=x, train_x=np.zeros_like(x))
    fails(f"npz:{tmp_path}", str(tmp_path / "test.npz"), "first in sample 5;")
    for shape in ((), (0, 4)):
        write_npz(tmp_path, test_x=np.full(shape, np.nan, np.float32))
        fails(f"npz:{tmp_path}", "npz:" if shape else "first in sample 0;")


def test_digits_split_is_fixed_and_stratified() -> None:
    first, again = load_data("digits"), load_data("digits")
    assert first.fingerprint() == again.fingerprint()
    assert len(first.train) + len(first.test) == 1797
    assert 0.19 < len(first.test) / 1797 < 0.21
    assert first.input_shape == (8, 8, 1)
    assert first.train.x.dtype == np.uint8 and first.train.x.max() == 255
    assert np.bincount(first.test.y, minlength=10).min() >= 30


@pytest.mark.parametrize("mark", ["-", "."])
@pytest.mark.parametrize("end", ["", ".gz"])
def test_idx_reads_all_names(tmp_path: Path, mark: str, end: str) -> None:
    arrays = write_idx(tmp_path, mark, end)
    loaded = load_data(f"idx:{tmp_path}")
    assert loaded.classes == 3 and loaded.input_shape == (3, 2, 1)
    assert np.array_equal(loaded.train.x[..., 0], arrays["train3"])
    assert np.array_equal(loaded.test.y, arrays["t10k1"])
    assert loaded.name == f"idx:{tmp_path.name}", "a name must not tell where the data lie"


def test_floats_divides_bytes_and_passes_floats() -> None:
    split = Split(np.array([[0, 51, 255]], np.uint8), np.array([0]))
    assert np.allclose(split.floats(), [[0, 0.2, 1]])
    assert split.floats(np.array([0])).dtype == np.float32
    values = RNG.normal(size=(3, 2)).astype(np.float32)
    assert np.array_equal(Split(values, np.arange(3)).floats(slice(1, 3)), values[1:])


@pytest.mark.parametrize("spec", ["", "cifar", "idx", "idx:", "npz:", "zip:/tmp", "digits:x"])
def test_unknown_specification(spec: str) -> None:
    fails(spec, "digits, idx:DIR or npz:DIR")


def test_missing_folder_and_files(tmp_path: Path) -> None:
    fails(f"idx:{tmp_path / 'no'}", "not a directory")
    fails(f"idx:{tmp_path}", "train-images-idx3-ubyte.gz")
    fails(f"npz:{tmp_path}", "train.npz")


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("keep", [0, 3, 4, 10, 16, 20, -1])
def test_truncated_idx(tmp_path: Path, end: str, keep: int) -> None:
    write_idx(tmp_path, end=end)
    path = tmp_path / f"train-images-idx3-ubyte{end}"
    path.write_bytes(path.read_bytes()[:keep])
    fails(f"idx:{tmp_path}", str(path), "download it again")


def test_idx_with_trailing_bytes_wrong_magic_or_wrong_counts(tmp_path: Path) -> None:
    write_idx(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte"
    good = path.read_bytes()
    path.write_bytes(good + b"x")
    fails(f"idx:{tmp_path}", "holds more")
    path.write_bytes(b"\x00\x00\x0d" + good[3:])
    fails(f"idx:{tmp_path}", "00000d03")
    path.write_bytes(idx_bytes(np.zeros((11, 3, 2))))
    fails(f"idx:{tmp_path}", "11 examples but 12 labels")
    path.write_bytes(idx_bytes(np.zeros((12, 0, 2))))
    fails(f"idx:{tmp_path}", "empty")
    path.write_bytes(idx_bytes(np.zeros((12, 5, 5))))
    fails(f"idx:{tmp_path}", "belong together")


@pytest.mark.parametrize("end", ["", ".gz"])
def test_idx_bomb_is_refused_unread(tmp_path: Path, end: str) -> None:
    write_idx(tmp_path, end=end)
    content = bytes((0, 0, 8, 3)) + struct.pack(">3I", 2**32 - 1, 2**32 - 1, 2**32 - 1)
    path = tmp_path / f"train-images-idx3-ubyte{end}"
    path.write_bytes(gzip.compress(content) if end else content)
    fails(f"idx:{tmp_path}", "claims")


def test_gz_that_is_no_gzip(tmp_path: Path) -> None:
    write_idx(tmp_path, end=".gz")
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(b"not gzip at all")
    fails(f"idx:{tmp_path}", "t10k-labels")


def test_idx_labels_out_of_order(tmp_path: Path) -> None:
    write_idx(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(np.array([0, 1, 2, 7])))
    fails(f"idx:{tmp_path}", "label 7 outside 0 to 2")
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.arange(12) % 3 + 1))
    fails(f"idx:{tmp_path}", "number the classes 0, 1, 2")
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(12)))
    fails(f"idx:{tmp_path}", "one class only")


def test_npz_images_and_vectors(tmp_path: Path) -> None:
    write_npz(tmp_path)
    assert load_data(f"npz:{tmp_path}").input_shape == (4, 4, 2)
    vectors = RNG.normal(size=(9, 5))
    write_npz(tmp_path, train_x=vectors, test_x=vectors)
    loaded = load_data(f"npz:{tmp_path}")
    assert loaded.input_shape == (5,) and loaded.train.x.dtype == np.float32


NAN = np.full((9, 5), np.nan, np.float32)
BAD_ARRAYS = [
    ({"train_x": np.array([object()] * 9, dtype=object)}, "Python objects"),
    ({"train_y": np.array([object()] * 9, dtype=object)}, "Python objects"),
    ({"train_x": NAN, "test_x": NAN}, "no finite float32"),
    ({"train_x": np.full((9, 5), 1e300)}, "no finite float32"),
    ({"train_x": np.zeros((9, 5), np.int64)}, "use uint8 or float32"),
    ({"train_x": np.zeros((9, 5), np.complex64)}, "use uint8 or float32"),
    ({"train_y": np.zeros(9)}, "integer labels"),
    ({"train_y": np.zeros((9, 1), int)}, "one label per example"),
    ({"train_y": np.full(9, 2**64 - 1, np.uint64)}, "count from 0"),
    ({"train_y": np.arange(9) - 1}, "number the classes"),
    ({"test_y": np.arange(9)}, "outside 0 to 2"),
    ({"test_y": -np.ones(9, int)}, "outside 0 to 2"),
    ({"train_y": np.arange(8) % 3}, "9 examples but 8 labels"),
    ({"train_x": np.zeros((0, 5), np.uint8), "train_y": np.zeros(0, int)}, "empty"),
    ({"train_x": np.zeros((9, 4, 4), np.uint8)}, "[N, H, W, C]"),
    ({"train_x": np.uint8(3)}, "()"),
    ({"test_x": np.zeros((9, 4, 4, 1), np.uint8)}, "belong together"),
    ({"test_x": np.zeros((9, 4, 4, 2), np.float32)}, "belong together"),
]


@pytest.mark.parametrize(("changes", "word"), BAD_ARRAYS)
def test_bad_npz_arrays(tmp_path: Path, changes: dict[str, np.ndarray], word: str) -> None:
    write_npz(tmp_path, **changes)
    fails(f"npz:{tmp_path}", word)


def test_npz_without_an_array_or_no_zip(tmp_path: Path) -> None:
    write_npz(tmp_path)
    np.savez(tmp_path / "train.npz", x=np.zeros((9, 5)))
    fails(f"npz:{tmp_path}", "no array y")
    (tmp_path / "train.npz").write_bytes(b"PK nonsense")
    fails(f"npz:{tmp_path}", "numpy.savez")


def npy_header(shape: str) -> bytes:
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


@pytest.mark.parametrize("shape", ["(99999999999,)", "(-1,)", "(2, 3)", "'x'", "(" * 300])
def test_npz_whose_header_lies(tmp_path: Path, shape: str) -> None:
    write_npz(tmp_path)
    with zipfile.ZipFile(tmp_path / "train.npz", "w") as archive:
        archive.writestr("x.npy", npy_header(shape) + bytes(5))
        archive.writestr("y.npy", npy_header("(5,)") + bytes(5))
    fails(f"npz:{tmp_path}", "train.npz")


def test_npz_bomb_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "MAX_BYTES", 10_000)
    write_npz(tmp_path)
    zeros = np.zeros((20_000, 1), np.uint8)
    np.savez_compressed(tmp_path / "train.npz", x=zeros, y=zeros[:, 0])
    fails(f"npz:{tmp_path}", "the limit is 10000")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 10**6), value=st.integers(0, 255), cut=st.integers(0, 10**6))
def test_damaged_npz_never_leaks_another_error(
    tmp_path: Path, position: int, value: int, cut: int
) -> None:
    write_npz(tmp_path)
    buffer = io.BytesIO()
    np.savez(buffer, x=np.zeros((9, 4, 4, 2), np.uint8), y=np.arange(9) % 3)
    content = bytearray(buffer.getvalue())
    content[position % len(content)] = value
    (tmp_path / "train.npz").write_bytes(content if cut % 2 else content[: cut % len(content)])
    with contextlib.suppress(ConfigError):
        load_data(f"npz:{tmp_path}")


def test_validation_split_is_deterministic_stratified_and_disjoint() -> None:
    train = load_data("digits").train
    marked = Split(np.arange(len(train.y), dtype=np.float32)[:, None], train.y.copy())
    rest, held = split_validation(marked, 0.1, seed=3)
    again = split_validation(marked, 0.1, seed=3)[1]
    other = split_validation(marked, 0.1, seed=4)[1]
    assert np.array_equal(held.x, again.x) and not np.array_equal(held.x, other.x)
    assert sorted([*rest.x[:, 0], *held.x[:, 0]]) == list(range(len(train.y)))
    assert np.ptp(np.bincount(held.y)) <= 2


def test_validation_split_of_too_few_examples() -> None:
    with pytest.raises(ConfigError, match="too few"):
        split_validation(Split(np.zeros((2, 1), np.float32), np.array([0, 1])), 0.1, 0)
