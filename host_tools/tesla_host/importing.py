"""Import a network from whatever it is stored in."""

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tesla_codegen.lower import RESERVED
from tesla_embed.data import DataSet, load_data
from tesla_embed.errors import ConfigError, TeslaEmbedError, ToolchainError
from tesla_embed.ir.graph import FloatAnswers, Model
from tesla_embed.ir.interpret_float import interpret_float
from tesla_embed.ir.verify import IDENTIFIER
from tesla_embed.tflite.importer import (
    holds_integers,
    import_file,
    import_tflite,
    model_name,
    provenance,
)
from tesla_embed.tflite.keras import convert, is_keras

EXPORTED = ".pt2"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """How to read a file: `data` (a specification) and how many examples calibrate floats.

    The model keeps which of the first `check` test examples the floats get right. With
    `data_is_for_check` data are welcome beside a file of integers, which needs none. `trust`
    lets PyTorch open a .pt2, which runs code that is in it. `channels_last` says that the
    program in it takes images `[B, height, width, channels]`.
    """

    name: str | None = None
    data: str | None = None
    samples: int = 1000
    check: int = 0
    trust: bool = False
    channels_last: bool = False
    data_is_for_check: bool = False


def import_network(path: Path, options: ImportOptions) -> Model:
    """The model of a file, of one region.

    An int8 `.tflite` as it is; one of float32, a Keras network or a program of torch.export
    quantised on examples.
    Raises `ConfigError` without data where they are needed, and what reading and converting raise.
    """
    exported, name = path.suffix.lower() == EXPORTED, _name(path, options.name)
    if not exported and (options.trust or options.channels_last):
        flag = "--trust" if options.trust else "--channels-last"
        raise ConfigError(f"{flag} is for a {EXPORTED}; leave it out for {path.name}")
    if not exported and not is_keras(path):
        if options.data is None or (options.data_is_for_check and holds_integers(path)):
            return import_file(path, name).model
        return _floats(path, name, options)
    if exported:
        return _exported(path, name, options)
    examples = _data(path, options).train.floats(slice(0, options.samples))
    model = import_tflite(convert(path, examples), name).model
    return dataclasses.replace(model, provenance=provenance(path))


def _exported(path: Path, name: str, options: ImportOptions) -> Model:
    try:
        from tesla_embed.nn.aten import float_model, load_program
    except ImportError as error:
        raise ToolchainError(
            f"reading a {EXPORTED} needs PyTorch; run: pip install 'tesla-embed[train]'"
        ) from error
    program = load_program(path, trust=options.trust)
    data = _data(path, options)
    with _of(path):
        plain = float_model(program, name, channels_last=options.channels_last, source=path.name)
        return _quantized(plain, data, options)


def _name(path: Path, chosen: str | None) -> str:
    """The name that was chosen, or one that is like the file's. Raises `ConfigError`."""
    if chosen is None:
        derived = model_name(path.name)
        return f"{derived}_net" if derived in RESERVED else derived
    if IDENTIFIER.fullmatch(chosen) is None:
        raise ConfigError(
            f"--name {chosen!r} is no C identifier; give a letter and then up to 62 letters, "
            "digits or underscores"
        )
    if chosen.lower() in RESERVED:
        raise ConfigError(
            f"--name {chosen} is a name that the C library uses; give another, as {chosen}_net"
        )
    return chosen


def _floats(path: Path, name: str, options: ImportOptions) -> Model:
    """A `.tflite` of float32, in integers."""
    plain = import_file(path, name, floats=True).model
    data = _data(path, options)
    with _of(path):
        return _quantized(plain, data, options)


def _quantized(plain: Model, data: DataSet, options: ImportOptions) -> Model:
    """The integers of a float model, and how good its floats are."""
    try:
        from tesla_embed.quant import QuantizeOptions, quantize_floats
    except ImportError as error:
        raise ToolchainError(
            "quantising needs PyTorch; run: pip install 'tesla-embed[train]'"
        ) from error
    model = quantize_floats(
        plain,
        data.train.floats(slice(0, options.samples)),
        QuantizeOptions(samples=options.samples),
        input_range=_input_range(data),
    )
    if not options.check:
        return model
    known = dataclasses.replace(
        model.provenance,
        float_answers=(_answers(plain, data, options.check),),
        test_fingerprint=data.test.fingerprint(),
    )
    return dataclasses.replace(model, provenance=known)


def _answers(plain: Model, data: DataSet, count: int) -> FloatAnswers:
    """Which of the first test examples a float model of one region classifies rightly."""
    (region,) = plain.regions
    x = data.test.floats(slice(0, count))
    shaped = x.reshape(len(x), *plain.graph.tensors[plain.graph.input].type.shape)
    classes = interpret_float(plain, region, shaped).reshape(len(x), -1).argmax(axis=1)
    return FloatAnswers.of(region.dp, classes == data.test.y[: len(x)])


@contextlib.contextmanager
def _of(path: Path) -> Iterator[None]:
    """Errors that name the file."""
    try:
        yield
    except TeslaEmbedError as error:
        raise type(error)(f"{path}: {error}") from error


def _input_range(data: DataSet) -> tuple[float, float] | None:
    """What images of bytes become."""
    return (0.0, 1.0) if data.train.x.dtype == np.uint8 else None


def _data(path: Path, options: ImportOptions) -> DataSet:
    if options.data is None:
        raise ConfigError(f"{path}: is to be quantised; give data to calibrate on with --data")
    return load_data(options.data)
