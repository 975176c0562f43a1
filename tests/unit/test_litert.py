"""LiteRT is found under any of its names, and what it says becomes an error of ours."""

import importlib.machinery
import sys
from types import ModuleType
from typing import Any

import pytest

from tesla_embed.errors import GraphError, ToolchainError
from tesla_embed.tflite.builder import Builder
from tesla_host.litert import reference_interpreter

NAMES = (
    "ai_edge_litert.interpreter",
    "tflite_runtime.interpreter",
    "tensorflow.lite.python.interpreter",
)


class Fake:
    """Remembers how it was made."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.allocated = False

    def allocate_tensors(self) -> None:
        if self.options["model_content"] == b"broken":
            raise RuntimeError("Node number 3 failed to prepare.\nmore")
        self.allocated = True


@pytest.fixture(autouse=True)
def _none_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setitem(sys.modules, name.split(".", 1)[0], None)
        monkeypatch.setitem(sys.modules, name, None)


def install(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    module: Any = ModuleType(name)
    module.Interpreter = Fake
    module.OpResolverType = ModuleType("OpResolverType")
    module.OpResolverType.BUILTIN_REF = f"reference kernels of {name}"
    parts = name.split(".")
    for length in range(1, len(parts)):
        package = ModuleType(".".join(parts[:length]))
        package.__path__ = []
        monkeypatch.setitem(sys.modules, package.__name__, package)
    monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.parametrize("name", NAMES)
def test_any_name_will_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, name)
    found = reference_interpreter(b"content")
    assert found.allocated
    assert found.options["model_content"] == b"content"
    assert found.options["experimental_op_resolver_type"] == f"reference kernels of {name}"


def test_without_any(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ToolchainError, match="LiteRT is not installed; run: pip install"):
        reference_interpreter(b"content")


SCHEMAS = ("ai_edge_litert.schema_py_generated", "tensorflow.lite.python.schema_py_generated")


@pytest.mark.parametrize("name", SCHEMAS)
def test_files_are_written_with_either_schema(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for other in SCHEMAS:
        monkeypatch.setitem(sys.modules, other, None)
    install(monkeypatch, name)
    module: Any = sys.modules[name]
    module.BufferT = lambda: "the empty buffer"
    monkeypatch.setitem(sys.modules, "flatbuffers", ModuleType("flatbuffers"))
    assert Builder(1).buffers == ["the empty buffer"]


def test_what_writing_files_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flatbuffers", ModuleType("flatbuffers"))
    for name in SCHEMAS:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ToolchainError, match="needs LiteRT or TensorFlow; run: pip install"):
        Builder(1)
    package = ModuleType("tflite_runtime")
    package.__spec__ = importlib.machinery.ModuleSpec("tflite_runtime", None)
    monkeypatch.setitem(sys.modules, "tflite_runtime", package)
    with pytest.raises(ToolchainError, match="tflite_runtime runs such files and cannot write"):
        Builder(1)
    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    with pytest.raises(ToolchainError, match="needs flatbuffers"):
        Builder(1)


def test_a_file_that_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, NAMES[1])
    with pytest.raises(GraphError, match=r"LiteRT refuses the file: Node number 3 .*prepare\.$"):
        reference_interpreter(b"broken")
