"""The programs in the documentation run as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tesla_embed.ir.store import load_model

DOCS = Path(__file__).parents[2] / "docs"


def test_the_program_with_an_ordinary_module(tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", (DOCS / "networks.md").read_text(), re.DOTALL)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True)
    model = load_model(tmp_path / "digits_own.safetensors")
    found = {answers.dp: answers.accuracy(360) for answers in model.provenance.float_answers}
    assert list(found) == [25, 50, 75, 100]
    assert min(found.values()) > 0.9
