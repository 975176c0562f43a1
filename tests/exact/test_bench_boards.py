"""The matrix of boards: every row that this machine emulates runs both networks, bit for bit."""

import json
from pathlib import Path

import msgspec
import pytest
from conftest import require, tools_of
from shell import call

from tesla_embed.errors import ConfigError
from tesla_embed.ir.ops import Add, DepthwiseConv2D
from tesla_host.bench.board_models import DPS, SMALLER, board_model
from tesla_host.bench.boards import BoardRow, Matrix, choose_boards, measure_board
from tesla_host.bench.boards_readme import as_readme
from tesla_host.bench.boards_table import as_markdown
from tesla_host.catalogue import TARGETS
from tesla_host.targets import find_target

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "boards"
WRITTEN = msgspec.json.decode((RESULTS / "boards.json").read_bytes(), type=Matrix)
EMULATED = [row.runs_as for row in TARGETS if row.core is not None and row.runs_as]


@pytest.mark.parametrize("toolchain", ["zig", "gcc"])
@pytest.mark.parametrize("board", EMULATED)
def test_every_emulated_board(board: str, toolchain: str, tmp_path: Path) -> None:
    require(lambda: tools_of(board, toolchain))
    rows = measure_board(find_target(board), toolchain, tmp_path, inputs=1)
    assert all(row.model in (name, SMALLER[name]) for name, row in zip(SMALLER, rows, strict=True))
    for row in rows:
        assert row.bit_exact
        assert row.flash_bytes is not None and row.ram_bytes is not None
        counts = [cost.instructions for cost in row.regions]
        assert [cost.dp for cost in row.regions] == list(DPS)
        found = [count for count in counts if count is not None]
        assert len(found) == len(DPS) and 0 < found[0] < found[1] < found[2]
        written = [old.regions for old in WRITTEN.rows if _same(old, row)]
        assert written in ([], [row.regions])  # `make bench` writes it anew


def _same(old: BoardRow, new: BoardRow) -> bool:
    """Whether a row of the results is of the same network, board and compiler."""
    return all(
        getattr(old, name) == getattr(new, name)
        for name in ("target", "toolchain", "compiler", "model")
    )


def test_the_results_are_of_this_catalogue() -> None:
    """All boards by all compilers, and pages that say what the numbers do."""
    rows = {row.target for row in WRITTEN.rows}
    assert rows == {row.name for row in TARGETS if row.core is not None}
    assert {row.toolchain for row in WRITTEN.rows} == {"zig", "gcc", "clang"}
    assert (RESULTS / "boards.md").read_text() == as_markdown(WRITTEN)
    assert (RESULTS / "README.md").read_text() == as_readme(WRITTEN)


def test_the_networks_are_what_they_are_called() -> None:
    mlp, cnn = board_model("mlp"), board_model("cnn")
    assert [t.type.size for t in mlp.graph.tensors] == [784, 100, 100, 10]
    kinds = [type(op) for op in cnn.graph.ops]
    assert kinds.count(Add) == 1 and kinds.count(DepthwiseConv2D) == 2
    for name, smaller in SMALLER.items():
        sizes = [sum(t.type.size for t in board_model(n).graph.tensors) for n in (name, smaller)]
        assert sizes[1] < sizes[0]


def test_the_verb_writes_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A board that a network does not fit, and one that nothing emulates."""
    for board in ("qemu:stm32vldiscovery", "nucleo-f446re"):
        require(lambda board=board: tools_of(board, "gcc"))  # type: ignore[misc]
    options = ("--only", "stm32vldiscovery,nucleo-f446re", "--toolchain", "gcc", "--inputs", 1)
    assert call("bench", "boards", *options, "--out", tmp_path / "out") == 0
    assert "4 builds: 2 bit-exact in every region, 0 wrong, 2 compiled" in capsys.readouterr().out
    document = json.loads((tmp_path / "out" / "boards.json").read_text())
    assert document["schema"] == "tesla-embed/bench-boards/1"
    rows = {(row["target"], row["model"]): row for row in document["rows"]}
    small = rows["stm32vldiscovery", "cnn-small"]
    assert small["bit_exact"] and "bytes of RAM too many" in small["note"]
    compiled = rows["nucleo-f446re", "cnn"]
    assert (compiled["bit_exact"], compiled["regions"], compiled["runs_as"]) == (None, [], None)
    text = (tmp_path / "out" / "boards.md").read_text()
    assert "| `qemu:stm32vldiscovery` | Cortex-M3 | gcc | `cnn-small` |" in text
    assert "- gcc: cnn: the firmware does not fit stm32vldiscovery" in text
    assert "arm-none-eabi-gcc" in text
    page = (tmp_path / "out" / "README.md").read_text()
    assert "Of 4 builds, 2 ran, of which 2 were bit-exact" in page
    (line,) = (line for line in page.splitlines() if line.startswith("| Cortex-M3 |"))
    (mlp,) = (row for row in document["rows"] if row["model"] == "mlp" and row["regions"])
    assert line == f"| Cortex-M3 | portable | {mlp['regions'][-1]['instructions']:,} |"


def test_what_the_verb_refuses() -> None:
    with pytest.raises(ConfigError, match="'moon' is no board of the matrix; there are emulator,"):
        choose_boards("emulator, moon")
    assert call("bench", "boards", "--only", "emulator", "--toolchain", "icc") == 2
    with pytest.raises(ConfigError, match="'emulator,' has an empty name; write emulator"):
        choose_boards("emulator,")
