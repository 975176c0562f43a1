"""Generated projects: complete, deterministic, and never on top of somebody's files."""

import dataclasses
import re
from importlib.resources import files
from pathlib import Path

import pytest
from graphs import RICH, float_model, quantized_model

from tesla_codegen.lower import RESERVED, lower
from tesla_codegen.project import MARKER, generate, render
from tesla_embed import __version__
from tesla_embed.errors import CodegenError, ConfigError, GraphError
from tesla_embed.ir.graph import Graph, Model, Region
from tesla_embed.ir.ops import Reshape, Weighted
from tesla_embed.ir.store import digest
from tesla_embed.ir.types import Quantization, Tensor, TensorType


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_output_is_deterministic_and_independent_of_the_place(tmp_path: Path) -> None:
    first = generate(quantized_model(RICH), tmp_path / "one")
    second = generate(quantized_model(RICH), tmp_path / "deep" / "er" / "two")
    assert first == second
    assert contents(tmp_path / "one") == contents(tmp_path / "deep" / "er" / "two")
    assert contents(tmp_path / "one") == {k: v.encode() for k, v in render(first).items()}


def test_output_tells_version_and_digest_but_no_place_time_or_user(tmp_path: Path) -> None:
    model = quantized_model(RICH)
    generate(model, tmp_path / "out")
    found = contents(tmp_path / "out")
    own = {
        name: text for name, text in found.items() if "tesla/" not in name and "kernels" not in name
    }
    assert len(own) == 9
    for name, content in found.items():
        text = content.decode("ascii")
        assert str(tmp_path) not in text
        assert not re.search(r"(?i)[^a-z]/(home|tmp|usr|root|work)/|[a-z]:\\", text), name
        assert not re.search(r"\b20\d\d-\d\d|\b\d\d:\d\d:\d\d\b", text), name
        assert "\r" not in text
        assert text.endswith("\n")
        assert not re.search(r"[ \t]+$", text, re.M), name
    for name, content in own.items():
        if name != MARKER:
            assert digest(model).encode() in content
            assert f"tesla-embed {__version__}".encode() in content


def test_project_is_complete(tmp_path: Path) -> None:
    model = dataclasses.replace(quantized_model(RICH), name="abc")
    project = generate(model, tmp_path)
    found = set(contents(tmp_path))
    kernels = {f"src/kernels/{kernel}.c" for kernel in project.kernels}
    static = {
        f"include/tesla/{e.name}" for e in (files("tesla_firmware") / "include/tesla").iterdir()
    }
    assert found == kernels | static | {
        ".tesla-embed",
        "CMakeLists.txt",
        "README.md",
        "firmware/app_model.c",
        "include/tesla_abc.h",
        "src/tesla_abc.c",
        "src/tesla_abc_quantize.c",
        "src/tesla_abc_regions.h",
        "src/tesla_abc_weights.h",
    }


def test_replaces_a_generated_folder_as_a_whole(tmp_path: Path) -> None:
    generate(dataclasses.replace(quantized_model(1), name="old"), tmp_path / "out")
    generate(quantized_model(RICH), tmp_path / "out")
    generate(quantized_model(RICH), tmp_path / "fresh")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fresh", "out"]


def test_takes_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    generate(quantized_model(RICH), tmp_path / "out")
    assert (tmp_path / "out" / MARKER).exists()


def test_refuses_a_folder_with_foreign_files(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(CodegenError, match=r"holds thesis\.tex, which was not generated"):
        generate(quantized_model(RICH), tmp_path)
    assert contents(tmp_path) == {"thesis.tex": b"years of work"}


def test_keeps_what_a_user_put_into_a_generated_folder(tmp_path: Path) -> None:
    """Regression: generating again removed it."""
    generate(quantized_model(RICH), tmp_path / "out")
    (tmp_path / "out" / "src" / "mine.c").write_text("years of work")
    with pytest.raises(CodegenError, match=r"holds src/mine\.c, which was not generated"):
        generate(quantized_model(RICH), tmp_path / "out")
    assert (tmp_path / "out" / "src" / "mine.c").read_text() == "years of work"


def test_refuses_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x")
    with pytest.raises(CodegenError, match="out is a file"):
        generate(quantized_model(RICH), tmp_path / "out")
    with pytest.raises((CodegenError, ConfigError), match="cannot write"):
        generate(quantized_model(RICH), tmp_path / "out" / "below")
    assert (tmp_path / "out").read_text() == "x"


def test_refuses_float_models(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="quantise"):
        generate(float_model(RICH), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_refuses_a_model_that_only_reshapes() -> None:
    q = Quantization(scale=1.0, zero_point=0)
    types = tuple(
        TensorType(shape=shape, channels=2, quantization=q) for shape in ((2, 1, 2), (4,))
    )
    tensors = tuple(Tensor(name=n, type=t) for n, t in zip("xy", types, strict=True))
    graph = Graph(
        tensors=tensors, ops=(Reshape(name="r", inputs=(0,), output=1),), input=0, output=1
    )
    region = Region(dp=100, types=types, tables=(None,))
    with pytest.raises(GraphError, match="computes nothing"):
        lower(Model(name="m", graph=graph, regions=(region,)))


@pytest.mark.parametrize("name", ["status", "app", "window", "Conv2d", "LAYERS", "stack"])
def test_refuses_names_that_the_static_c_uses(name: str) -> None:
    with pytest.raises(CodegenError, match=f"a model cannot be called {name}"):
        lower(dataclasses.replace(quantized_model(RICH), name=name))


def test_reserved_names_cover_the_static_c() -> None:
    """Whoever adds a header, a public type or a public function extends the list."""
    root = files("tesla_firmware")
    public = [*(root / "include/tesla").iterdir(), root / "app/tesla_app.h"]
    public += [entry for entry in (root / "board").iterdir() if entry.name.endswith(".h")]
    taken = {entry.name.removeprefix("tesla_").removesuffix(".h") for entry in public}
    for header in public:
        taken |= set(re.findall(r"\btesla_([a-z0-9_]+)_t\b", header.read_text(encoding="utf-8")))
    suffixes = "init|set_dp|run|set_callback|quantize_input|dequantize_output|digest|regions"
    for folder in ("app", "board", "kernels"):
        for source in (e for e in (root / folder).iterdir() if e.name.endswith((".c", ".h"))):
            text = source.read_text(encoding="utf-8")
            taken |= set(re.findall(rf"\btesla_([a-z0-9_]+?)_(?:{suffixes})\b", text))
    assert taken <= RESERVED


def test_refuses_a_layer_that_is_called_like_the_library() -> None:
    model = quantized_model(RICH)
    index = next(i for i, op in enumerate(model.graph.ops) if isinstance(op, Weighted))
    ops = list(model.graph.ops)
    ops[index] = dataclasses.replace(ops[index], name="tesla_net")
    graph = dataclasses.replace(model.graph, ops=tuple(ops))
    with pytest.raises(CodegenError, match="tesla_net: the library itself has that name"):
        lower(dataclasses.replace(model, graph=graph))


def test_static_sources_are_ascii() -> None:
    """They are copied byte for byte, whatever the encoding of the machine."""
    root = files("tesla_firmware")
    for folder in ("kernels", "include/tesla"):
        for entry in (root / folder).iterdir():
            assert entry.read_bytes().isascii(), entry.name
