"""`python -m flows.alignment` brings the table of PPO and its baselines up to date.

They are an optional graph, alignment/dvc.yaml. What it needs of the chain is brought up to date first. One baseline
trains at a time, on all cores, as their times are compared.
"""

from __future__ import annotations

import typer

from flows.command import TimeoutHours, bring, one_line
from flows.flow import pipeline
from jokbo.runtime.files import write_text
from tasks.alignment_project import ALIGNMENT, TABLE
from tasks.frame.paths import METRICS

KEPT_TABLE = ALIGNMENT / "table.json"  # in git: what the last run measured

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(timeout_hours: TimeoutHours = 24.0) -> None:
    """Train PPO and its baselines on as many responses each, compare them in one table, and keep its numbers."""
    bring(lambda: pipeline(timeout_hours, folder=str(ALIGNMENT), return_state=True), folder=ALIGNMENT)
    with one_line():
        write_text(KEPT_TABLE, (ALIGNMENT / METRICS / "alignment_table.json").read_text("utf-8"))
        print((ALIGNMENT / TABLE).read_text("utf-8"))


if __name__ == "__main__":
    app()
