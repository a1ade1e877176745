"""The one table of the family: what every system cost and came to, and which claims are seen.

`python -m tasks.family_table`
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from jokbo.data.packing import TokenCorpus
from jokbo.errors import InputError
from jokbo.evaluation.family import claims, figures, measures, table
from jokbo.systems import bahdanau
from jokbo.systems.common import Text, load, marks_of
from tasks.paths import FAMILY_DATA, FAMILY_MODELS, FAMILY_TABLE, METRICS, PLOTS
from tasks.records import write_metrics
from tasks.stage import Stage, run_stage

SYSTEMS = "family"  # the folder of METRICS and of PLOTS with a file a system
LOOKING = FAMILY_MODELS / "bahdanau"
WORDS = FAMILY_DATA / "wordpiece"  # the text that it was trained on
SEED = 1


def family_table(stage: Stage) -> None:
    comparison = compared()
    pages = {
        FAMILY_TABLE: table.markdown(comparison),
        FAMILY_TABLE.with_suffix(".html"): table.html(comparison),
    }
    FAMILY_TABLE.parent.mkdir(exist_ok=True)
    for path, page in pages.items():
        path.write_text(page, "utf-8")
        stage.run.artifact(path)
    for chart in (chart for place in figures.charts(comparison).values() for chart in place):
        stage.run.figure(chart.figure, f"figures/{chart.name}.png")
    for each in table.tables(comparison):
        stage.run.table(each.records(), f"tables/{each.name}.json")
    write_metrics(stage, comparison)


def compared() -> dict[str, Any]:
    """All that is shown, as plain data; see jokbo.evaluation.family.table. InputError names a file that is missing."""
    systems = {path.stem: _json(path) for path in sorted((METRICS / SYSTEMS).glob("*.json"))}
    if not systems:
        raise InputError(f"{METRICS / SYSTEMS}: no system is there: run `make family`")
    tests = {name: splits["test"] for name, splits in _json(METRICS / "family_text.json")["tasks"].items()}
    test_rows = {name: found["rows"] for name, found in tests.items()}
    majority = {name: max(found["positive"], 1 - found["positive"]) for name, found in tests.items()}
    gradients, alignment = measured()
    evidence = claims.Evidence(systems, test_rows, majority, gradients)
    return {
        "rows": table.rows(systems, _json(METRICS / "family_baselines.json"), test_rows),
        "claims": claims.check(evidence),
        "curves": {
            name: table.thinned(_curve(PLOTS / SYSTEMS / f"{name}.csv", name), found["pretraining"]["kind"])
            for name, found in systems.items()
        },
        "gradients": gradients,
        "alignment": alignment,
    }


def measured() -> tuple[dict[str, Any], dict[str, Any]]:
    """Gradients by depth, and the alignment of the trained RNNsearch, on held-out text."""
    if not (LOOKING / "model.safetensors").exists():
        raise InputError(f"{LOOKING}: holds no trained network, whose alignment is drawn: run `make family`")
    tokenizer = AutoTokenizer.from_pretrained(WORDS / "tokenizer")
    marks = marks_of(tokenizer)
    text = Text(TokenCorpus.open(WORDS / "validation"), marks, len(tokenizer))
    network = load(bahdanau.network, marks, LOOKING)
    return measures.gradients_by_depth(text, SEED), measures.alignment(network, text, tokenizer, SEED)


def _curve(path: Path, part: str) -> list[dict[str, float]]:
    """The numbers of one training of plots/NAME.csv, of each row those that are there."""
    rows = [row for row in csv.DictReader(_read(path).splitlines()) if row.pop("part") == part]
    return [{column: float(value) for column, value in row.items() if value} for row in rows]


def _json(path: Path) -> Any:
    try:
        return json.loads(_read(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: not JSON ({error}): run the stage that writes it again") from error


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: not there: run `make family`") from None


if __name__ == "__main__":
    run_stage("family_table", family_table)
