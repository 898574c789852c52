"""The metrics of a run: one line of JSON per step, and the same for TensorBoard if it is installed.

The line of a step holds step, loss, lr, grad_norm (before clipping), targets, seconds, and the metrics of the loss,
such as reward and kl (`course_lib.tune.ppo.policy_metrics`). What `validate` returns has lines of its own.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from course_lib.files import write_text

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

MetricsLine = dict[str, float]  # the numbers of a step, or those of `validate` after it, by name; "step" is one of them


class Metrics:
    """A log of metrics: metrics.jsonl in the folder of a run, and the folder tensorboard beside it.

    Both continue from `step`. If the run was killed after its last checkpoint, some steps are done again, and their old
    lines are dropped first. TensorBoard's file is then rewritten from the lines that are left, since a kill loses its
    last two minutes.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.file = folder / "metrics.jsonl"
        kept = [line for line in read_metrics(self.file) if line["step"] < step]
        write_text(self.file, "".join(json.dumps(line) + "\n" for line in kept))
        self.stream = self.file.open("a", encoding="utf-8", buffering=1)  # a line is on disk once it is written
        self.board = _board(folder / "tensorboard")
        for line in kept:
            self._show(line)

    def write(self, step: int, **numbers: float) -> None:
        """Append the metrics of a step."""
        line: MetricsLine = {"step": step, **numbers}
        self.stream.write(json.dumps(line) + "\n")
        self._show(line)

    def _show(self, line: MetricsLine) -> None:
        if self.board:
            for name, value in line.items():
                if name != "step":
                    self.board.add_scalar(name, value, int(line["step"]))

    def close(self) -> None:
        """Close the files."""
        self.stream.close()
        if self.board:
            self.board.close()


def read_metrics(file: Path) -> list[MetricsLine]:
    """Read the lines of a metrics.jsonl, leaving out damaged ones, such as a last line that was cut off."""
    if not file.exists():
        return []
    lines = []
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return lines


def _board(folder: Path) -> SummaryWriter | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:  # tensorboard is not installed
        return None
    shutil.rmtree(folder, ignore_errors=True)
    return SummaryWriter(str(folder))
