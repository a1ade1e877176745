"""`python -m flows.alignment` brings the table of PPO and its baselines up to date.

They are an optional graph, alignment/dvc.yaml. What it needs of the chain is brought up to date first. One baseline
trains at a time, on all cores, as their times are compared.
"""

from __future__ import annotations

import typer

from flows.command import Plan, TimeoutHours, bring, one_line, show_plan
from flows.flow import pipeline
from jokbo.runtime import kept
from jokbo.runtime.files import read_json
from tasks.frame.paths import ALIGNMENT, BASELINE_MODELS, BASELINE_TABLE, KEPT_TABLE, METRICS

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(timeout_hours: TimeoutHours = 24.0, plan: Plan = False) -> None:
    """Train PPO and its baselines on as many responses each, compare them in one table, and keep its numbers."""
    if plan:
        show_plan(folder=ALIGNMENT)
        return
    bring(lambda: pipeline(timeout_hours, folder=str(ALIGNMENT), return_state=True), folder=ALIGNMENT)
    with one_line():
        numbers = read_json(ALIGNMENT / METRICS / "alignment_table.json", "run `make alignment`")
        kept.keep(ALIGNMENT / KEPT_TABLE, numbers, ALIGNMENT / BASELINE_MODELS)
        print((ALIGNMENT / BASELINE_TABLE).read_text("utf-8"))


if __name__ == "__main__":
    app()
