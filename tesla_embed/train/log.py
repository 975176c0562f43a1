"""What training tells about every epoch: a CSV file, and TensorBoard where it is wanted.

In: epochs. Out: `training.csv`, one row an epoch, whole lines only. A run that continues takes out
the rows of epochs that it will do again. Refuses, with `ToolchainError`, TensorBoard where it is
not installed, and with `ConfigError` a file that cannot be written.
"""

import csv
import io
from pathlib import Path
from typing import Any

from tesla_embed import atomic
from tesla_embed.errors import ConfigError, ToolchainError

LOG_NAME = "training.csv"
COLUMNS = (
    "epochs", "stage", "epoch", "learning_rate", "loss", "objective", "accuracy", "improved",
    "seconds",
)  # fmt: skip
"""Epochs in all; the stage's name and its epoch; training loss; the same sum on the validation
split; its accuracy; whether it was the best of the stage; how long the epoch took."""


class TrainingLog:
    """Rows of `training.csv` in `folder`, and the same numbers for TensorBoard if asked for.

    `done` is the number of epochs that count already.
    """

    def __init__(self, folder: Path, done: int, tensorboard: bool = False) -> None:
        self.path = folder / LOG_NAME
        self.board = _board(folder, done) if tensorboard else None
        if self.path.exists() or done:
            self._keep(done)

    def add(self, row: dict[str, object]) -> None:
        """Append a row; the keys are `COLUMNS`."""
        text = "" if self.path.exists() else ",".join(COLUMNS) + "\n"
        line = io.StringIO()
        csv.DictWriter(line, COLUMNS, lineterminator="\n").writerow(row)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(text + line.getvalue())
        except OSError as error:
            raise ConfigError(f"cannot write {self.path}: {error}; choose another place") from error
        if self.board is not None:
            for name in ("learning_rate", "loss", "objective", "accuracy"):
                self.board.add_scalar(name, float(str(row[name])), row["epochs"])

    def close(self) -> None:
        """Write out what TensorBoard holds back."""
        if self.board is not None:
            self.board.close()

    def _keep(self, done: int) -> None:
        """Drop the rows of epochs after `done`, and a last line that was cut short."""
        try:
            text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot read {self.path}: {error}; delete it") from error
        lines = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
        kept = [line for line in lines[1:] if _number(line) <= done]
        atomic.write_text(self.path, "".join([",".join(COLUMNS) + "\n", *kept]))


def _number(line: str) -> float:
    head = line.partition(",")[0]
    return int(head) if head.isdecimal() else float("inf")


def _board(folder: Path, done: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ToolchainError("this needs TensorBoard; run: pip install tensorboard") from error
    return SummaryWriter(str(folder / "tensorboard"), purge_step=done + 1)
