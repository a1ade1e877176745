"""`python -m flows.alignment` brings the table of PPO and its baselines up to date.

They are an optional graph, alignment/dvc.yaml. What it needs of the chain is brought up to date first. One baseline
trains at a time, on all cores, as their times are compared.
"""

from __future__ import annotations

import typer

from flows.command import TimeoutHours, bring, one_line
from flows.flow import pipeline
from tasks.alignment_project import ALIGNMENT, TABLE

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(timeout_hours: TimeoutHours = 24.0) -> None:
    """Train PPO and its baselines on as many responses each, and compare them in one table."""
    bring(lambda: pipeline(timeout_hours, folder=str(ALIGNMENT), return_state=True), folder=ALIGNMENT)
    with one_line():
        print((ALIGNMENT / TABLE).read_text("utf-8"))


if __name__ == "__main__":
    app()
