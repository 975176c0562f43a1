"""No file and no function grows beyond what CONTRIBUTING.md allows."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = ("tesla_embed", "codegen", "firmware_templates", "host_tools", "tests")
FUNCTION, LINES = 50, {".py": 500, ".c": 250, ".h": 250, ".j2": 120}


def sources(*suffixes: str) -> list[Path]:
    return [p for name in PYTHON for p in (ROOT / name).rglob("*") if p.suffix in suffixes]


@pytest.mark.parametrize("suffix", LINES)
def test_files(suffix: str) -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in sources(suffix)}
    assert lengths
    assert not {path: count for path, count in lengths.items() if count > LINES[suffix]}


def test_functions() -> None:
    nodes = [
        (path, node)
        for path in sources(".py")
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert nodes
    lengths = {
        f"{path}: {node.name}": 1 + (node.end_lineno or node.lineno) - node.lineno
        for path, node in nodes
    }
    assert not {name: count for name, count in lengths.items() if count > FUNCTION}
