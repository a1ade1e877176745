"""The commands `jokbo shots` and `jokbo eval`: what a model knows of a task from its prompt alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from jokbo.command import STATE, in_one_line
from jokbo.runtime.errors import InputError

Model = Annotated[Path, typer.Argument(help="The folder of a model, such as models/base.")]
Json = Annotated[bool, typer.Option("--json", help="For machines.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Of rows: the first ones alone.")]
Mlflow = Annotated[bool, typer.Option("--mlflow", help="Log the scores to MLflow.")]
KEPT = STATE / "shots"


@in_one_line
def shots(
    model: Model,
    task: Annotated[Path, typer.Argument(help="A YAML file: rows, question, options (docs/prompting.md).")],
    k: Annotated[str, typer.Option(help="Answered examples before a question, with commas.")] = "0,1,4,16",
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="How often examples are drawn.")] = 5,
    balanced: Annotated[
        bool, typer.Option("--balanced", help="Let the classes take turns among examples.")
    ] = False,
    limit: Limit = None,
    as_json: Json = False,
    mlflow: Mlflow = False,
) -> None:
    """Ask a model a task of labelled rows by prompts alone: accuracy against the number of answered examples.

    Stopped, the same command goes on.
    """
    from jokbo.prompting import examples
    from jokbo.prompting import task as tasks
    from jokbo.runtime.errors import about

    numbers = _numbers(k)
    asked = tasks.load(task, limit)
    with about(str(task)):
        examples.check(asked.pool, max(numbers), balanced=balanced)
        if len(asked.rows) < 2:
            raise InputError("an interval needs two rows or more: write more, or leave --limit out")
    from jokbo.exporting import opening
    from jokbo.models import access
    from jokbo.prompting import report
    from jokbo.prompting import shots as asking
    from jokbo.runtime.progress import progress

    opened = opening.writing(model)
    asker = asking.Asker(access.accelerated(opened.network), opened.tokenizer, asked)
    with about(str(task)):
        wanted = asking.settings_of(numbers, seeds, balanced=balanced)
        found = list(progress(asking.outcomes(asker, wanted, KEPT), "asking", len(wanted)))
    rows = asking.summary(found)
    if mlflow:
        scores = {f"{score}/{row['k']}": own["value"] for row in rows for score, own in row["scores"].items()}
        params = {
            "model": str(model),
            "task": str(task),
            "seeds": seeds,
            "balanced": balanced,
            "limit": limit,
        }
        _log("shots", params, scores)
    if as_json:
        print(json.dumps({"model": str(model), "task": str(task), "balanced": balanced, "k": rows}, indent=1))
        return
    print(report.of_shots(rows, asked))


@in_one_line
def evaluate(
    model: Model,
    tasks: Annotated[str, typer.Option(help="Names of tasks or their YAML files, with commas.")],
    include_path: Annotated[Path | None, typer.Option(help="A folder of task files of your own.")] = None,
    limit: Limit = None,
    shots: Annotated[
        int | None, typer.Option(min=0, help="Answered examples; by default as the task says.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of examples and sampled responses.")] = 1,
    as_json: Json = False,
    mlflow: Mlflow = False,
) -> None:
    """Ask a model tasks of lm-evaluation-harness: files of your own, or what the harness brings."""
    if find_spec("lm_eval") is None:
        raise InputError("lm-evaluation-harness is not there: pip install 'lm-eval[hf]>=0.4.13,<0.5'")
    names = [name.strip() for name in tasks.split(",") if name.strip()]
    if not names:
        raise InputError("--tasks is empty: name a task, or its YAML file")
    from jokbo.exporting import opening
    from jokbo.models import access
    from jokbo.prompting import harness, report

    asking = harness.Asking(limit, shots, seed)
    asked = harness.Tasks(harness.named(names, include_path), asking)
    opened = opening.writing(model)
    access.accelerated(opened.network)
    found = asked.scores(opened)
    if mlflow:
        numbers = {"value": "", "standard_error": "_stderr"}  # as the harness itself calls them
        scores = {
            f"{name}/{metric}{ending}": score[number]
            for name, own in found.items()
            for metric, score in own["scores"].items()
            for number, ending in numbers.items()
        }
        _log("eval", {"model": str(model), "tasks": ",".join(names), **asdict(asking)}, scores)
    print(json.dumps({"model": str(model), "tasks": found}, indent=1) if as_json else report.of_tasks(found))


def _numbers(given: str) -> list[int]:
    """Return the numbers of examples that `--k` names."""
    try:
        found = [int(each) for each in given.split(",")]
    except ValueError as error:
        raise InputError(
            f"--k is {given[:40]!r}: write whole numbers with commas, such as 0,1,4,16"
        ) from error
    if min(found) < 0 or len({*found}) < len(found):
        raise InputError(f"--k is {given[:40]!r}: write each number once, and none below 0")
    return sorted(found)


def _log(command: str, params: Mapping[str, Any], metrics: Mapping[str, float | None]) -> None:
    """Leave a run of MLflow with the scores that there are."""
    from jokbo.runtime import tracking

    key = hashlib.sha256(json.dumps([params, metrics], sort_keys=True).encode()).hexdigest()
    tags = {"stage": command, "mlflow.runName": f"{command} {Path(params['model']).name}"}
    of = tracking.Subject(command, key, params, tags)
    with tracking.open_run(of, tracking_uri=tracking.local_store(STATE), state=STATE) as run:
        run.log({name: value for name, value in metrics.items() if value is not None})
