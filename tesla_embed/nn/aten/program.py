"""An exported program: made from a module, or read from a file that PyTorch wrote.

In: a module and an example, or the path of a `.pt2`. Out: a `torch.export.ExportedProgram`.
Refuses, with `ConfigError`, files that are missing, damaged or not trusted: PyTorch reads a `.pt2`
with pickle and evaluates expressions in it, so that opening one runs whatever code is in it.
"""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.export import ExportedProgram

from tesla_embed.errors import ConfigError, UnsupportedOp

MAX_FILE_BYTES = 2**30
SUFFIX = ".pt2"


def export_program(module: nn.Module, example: Tensor) -> ExportedProgram:
    """The program of a module in evaluation mode, for inputs like `example` `[B, …]`.

    The module's mode is as before afterwards. Raises `UnsupportedOp` when it cannot be exported.
    """
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with _quiet():
            return torch.export.export(module, (example,))
    except Exception as error:  # the module's own code runs here, and torch raises many kinds
        raise UnsupportedOp(
            f"{type(module).__name__} cannot be exported by torch.export ({_reason(error)}); its "
            "forward must take one tensor and not depend on the values of tensors"
        ) from error
    finally:
        for part, training in modes:
            part.training = training


def load_program(path: Path, *, trust: bool) -> ExportedProgram:
    """Read what `torch.export.save` wrote; only if you `trust` whoever made the file.

    Raises `ConfigError` without trust and for whatever PyTorch cannot read.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; check the path") from error
    if size > MAX_FILE_BYTES:
        raise ConfigError(
            f"{path}: is larger than {MAX_FILE_BYTES >> 20} MiB; no such network fits"
        )
    if not trust:
        raise ConfigError(
            f"{path}: opening a {SUFFIX} runs code that it may hold (PyTorch unpickles it); if you "
            "trust whoever made it, add --trust"
        )
    try:
        with _quiet():
            return torch.export.load(path)
    except Exception as error:  # zip, JSON, pickle and torch each raise their own
        raise ConfigError(
            f"{path}: PyTorch {torch.__version__} cannot read it ({_reason(error)}); write it with "
            "torch.export.save, by this version"
        ) from error


def functional(program: ExportedProgram) -> ExportedProgram:
    """The same without operations that change what they are given.

    What changes a tensor also changes all views of it, which only PyTorch keeps account of.
    """
    targets = [node.target for node in program.graph.nodes if node.op == "call_function"]
    if not any(isinstance(t, OpOverload) and t._schema.is_mutable for t in targets):
        return program
    try:
        with _quiet():
            changed: ExportedProgram = program.run_decompositions({})
            return changed
    except Exception as error:  # torch raises many kinds
        raise UnsupportedOp(
            f"the network changes tensors in place, and PyTorch cannot undo it ({_reason(error)}); "
            "use relu(x) and x + y instead of relu_(x) and x += y"
        ) from error


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without PyTorch's warnings about itself."""
    before = logging.root.manager.disable
    with warnings.catch_warnings(action="ignore"):
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)
