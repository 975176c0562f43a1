"""The programs in the documentation run as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

from shell import call

from tesla_embed.ir.store import digest, load_model

DOCS = Path(__file__).parents[2] / "docs"


def run_program(document: str, folder: Path) -> None:
    """The one Python program of a document, in `folder`."""
    (program,) = re.findall(r"```python\n(.*?)```", (DOCS / document).read_text(), re.DOTALL)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", program], cwd=folder, env=environment, check=True)


def test_the_program_that_imports_a_module(tmp_path: Path) -> None:
    """The file that it writes gives the command line the same model."""
    run_program("importing.md", tmp_path)
    made, again = tmp_path / "digits_net.safetensors", tmp_path / "again.safetensors"
    arguments = ("--data", "digits", "--trust", "--out", again)
    assert call("import", tmp_path / "digits_net.pt2", *arguments) == 0
    assert digest(load_model(made)) == digest(load_model(again))


def test_the_program_with_an_ordinary_module(tmp_path: Path) -> None:
    run_program("networks.md", tmp_path)
    model = load_model(tmp_path / "digits_own.safetensors")
    found = {answers.dp: answers.accuracy(360) for answers in model.provenance.float_answers}
    assert list(found) == [25, 50, 75, 100]
    assert min(found.values()) > 0.9
