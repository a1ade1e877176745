"""What a pipeline that came to its end tells of itself, on Prefect's page and in MLflow: result, samples, stages."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from pathlib import Path

from jokbo.evaluation.evaluation import Evaluation
from jokbo.reporting import headlines, markdown
from jokbo.runtime import tracking
from jokbo.runtime.files import read_json
from jokbo.runtime.mlflow_runs import PARENT
from jokbo.runtime.mlflow_store import SERVERS, connect
from jokbo.runtime.progress import duration
from jokbo.runtime.secrets import hidden
from jokbo.ui import ADDRESS
from tasks.frame.paths import EVALUATION, REPORT, RESULT

SAMPLES, LONGEST = 4, 300  # rows, and characters of a text


def told(
    parent: tracking.Run,
    store: str,
    needs: Collection[str],
    ran: Collection[str],
    seconds: Mapping[str, float],
) -> str:
    """Put the result and what stages took into the run as a whole; return that, samples and links as markdown."""
    parent.log({"seconds": sum(seconds.values())})
    parent.flush()
    links = _links(parent, store)
    rows = [
        [name, "ran" if name in ran else "cached", duration(seconds.get(name, 0)), links.get(name, "")]
        for name in needs
    ]
    parts = [markdown.table(["Stage", "State", "Time", "Run"], rows)]
    if links and not store.startswith(SERVERS):
        parts.append("The links to MLflow lead somewhere while `make ui` runs.")
    if RESULT.is_file() and "report" in needs:
        parent.log(read_json(RESULT))
        evaluation = Evaluation.load(EVALUATION / "evaluation.json")
        shown = headlines.models(evaluation)
        parent.table(shown.records(), "models.json")
        first = [f"{headlines.verdict(evaluation)}.", shown.markdown(), samples(EVALUATION / "samples.jsonl")]
        parts = [*first, *parts, f"The report is {REPORT}: `jokbo report` opens it."]
    return "\n\n".join(parts)


def samples(file: Path) -> str:
    """Return the first prompts of samples.jsonl, and how the model goes on before and after alignment, as a table."""
    with file.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in islice(lines, SAMPLES)]
    keys = ("prompt", "supervised", "aligned")
    return markdown.table(
        ["Prompt", "Before alignment", "After"], ([_plain(row[key]) for key in keys] for row in rows)
    )


def _plain(text: str) -> str:
    """Return a text as code, which no page takes for markup, on one line."""
    line = " ".join(text.split()).replace("`", "'")
    return f"`{line[:LONGEST]}{'...' * (len(line) > LONGEST)}`" if line else ""


def _links(parent: tracking.Run, store: str) -> dict[str, str]:
    """Return a link to the run in MLflow of each stage below the parent; none where MLflow does not answer."""
    try:
        client, experiment = connect(store)
        found: Iterable = client.search_runs([experiment], f"tags.`{PARENT}` = '{parent.id}'")
    except Exception:  # whatever MLflow and its stores raise: a page without links is no failure
        return {}
    page = hidden(store).rstrip("/") if store.startswith(SERVERS) else ADDRESS
    where = f"{page}/#/experiments/{experiment}/runs"
    return {run.data.tags.get("stage", ""): f"[MLflow]({where}/{run.info.run_id})" for run in found}
