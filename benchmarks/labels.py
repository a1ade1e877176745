"""`python -m benchmarks.labels` tells what labels are worth to each task of `finetune.tasks`: accuracy on test rows by
the number of training rows, mean and standard error over seeds, of the pretrained network, the same from scratch, and
naive Bayes.

It sets `curve` of every task and brings the stage `tasks` up to date in a project of its own, .jokbo/labels: this one's
code and parameters, and its DVC cache, so nothing before that stage is made again. A run that was stopped goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from flows.command import one_line
from flows.profile import bring_up, lay_out
from jokbo import params
from jokbo.finetuning.tasks.results import Tasks
from jokbo.reporting import tasks
from jokbo.runtime.errors import InputError
from tasks.frame.paths import METRICS, STATE

FOLDER = STATE / "labels"


def run(labels: list[int | str], seeds: int) -> None:
    """Bring the project with these curves up to date."""
    own = params.read(Path("params.yaml"))
    for task in own["finetune"]["tasks"].values():
        task["curve"] = {"labels": labels, "seeds": seeds}
    with one_line():
        if not own["finetune"]["tasks"]:
            raise InputError("params.yaml: finetune.tasks is empty: name a task there (docs/own-labels.md)")
        params.checked(own, "params.yaml with --labels and --seeds")
        lay_out(FOLDER, own)
    bring_up(FOLDER, until="tasks")


def show() -> None:
    """Print the table of each task, and draw its curve."""
    found = Tasks.load(FOLDER / METRICS / "tasks.json").tasks
    page = Console(width=150)
    for each in tasks.tables(found):
        if each.name.startswith("curve-"):
            table = Table(*each.header, title=each.caption)
            for row in each.rows:
                table.add_row(*row)
            page.print(table)
    for chart in tasks.charts(found):
        if chart.name.startswith("curve-"):
            file = FOLDER / f"{chart.name}.png"
            chart.figure.savefig(file, metadata={"Software": None})
            page.print(str(file))


def _count(text: str) -> int | str:
    return text if text == "all" else int(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__ and __doc__.partition(":")[0])
    parser.add_argument("--labels", type=_count, nargs="+", default=[250, 1000, "all"], help="training rows")
    parser.add_argument("--seeds", type=int, default=5, help="trainings with each number of rows")
    options = parser.parse_args()
    run(options.labels, options.seeds)
    show()
