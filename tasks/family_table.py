"""The one table of the family: what every system cost and came to, and which claims are seen.

`python -m tasks.family_table`
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from jokbo.comparison import claims, figures, measures, table
from jokbo.comparison.search import kept
from jokbo.data.corpus.batches import TokenCorpus
from jokbo.reporting.publish import publish, read_curves
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import read_json
from jokbo.systems import bahdanau
from jokbo.systems.common import Text, load, special_tokens_of
from tasks.frame.paths import FAMILY_DATA, FAMILY_MODELS, FAMILY_RIGHT, FAMILY_TABLE, METRICS, PLOTS
from tasks.frame.records import write_metrics
from tasks.frame.stage import Stage, run_stage

REMEDY = "run `make family`"
SYSTEMS = "family"  # the folder of METRICS and of PLOTS with a file a system
LOOKING = FAMILY_MODELS / "bahdanau"
WORDS = FAMILY_DATA / "wordpiece"  # the text that it was trained on
SEED = 1


def family_table(stage: Stage) -> None:
    comparison = compared(list(stage.params.systems), str(stage.params.finetune.labels[0].count))
    pages = {
        FAMILY_TABLE: table.markdown(comparison),
        FAMILY_TABLE.with_suffix(".html"): table.html(comparison),
    }
    shown = [chart for place in figures.charts(comparison).values() for chart in place]
    publish(stage.run, pages, shown, table.tables(comparison))
    write_metrics(stage, comparison)


def compared(names: list[str], labels: str) -> dict[str, Any]:
    """Return all that is shown of these systems, with so many labels, as plain data; see jokbo.comparison.table.

    InputError names a file that is missing.
    """
    systems = {name: _whole(METRICS / SYSTEMS / f"{name}.json", name) for name in sorted(names)}
    tests = {name: splits["test"] for name, splits in _json(METRICS / "family_text.json")["tasks"].items()}
    majority = {name: max(found["positive"], 1 - found["positive"]) for name, found in tests.items()}
    closer = measured()
    evidence = claims.Evidence(systems, majority, closer["gradients"], labels)
    return {
        "rows": table.rows(systems, _whole(METRICS / "family_baselines.json", "baselines"), labels),
        "claims": claims.check(evidence),
        "curves": {
            name: table.thinned(_curve(name), found["pretraining"]["kind"]) for name, found in systems.items()
        },
        **closer,
    }


def measured() -> dict[str, Any]:
    """Return the gradients by depth and the alignment of the trained RNNsearch, on held-out text; the memory of
    attention.
    """
    if not (LOOKING / "model.safetensors").exists():
        raise InputError(f"{LOOKING}: holds no trained network, whose alignment is drawn: {REMEDY}")
    tokenizer = AutoTokenizer.from_pretrained(WORDS / "tokenizer")
    special_tokens = special_tokens_of(tokenizer)
    text = Text(TokenCorpus.open(WORDS / "validation"), special_tokens, len(tokenizer))
    network = load(bahdanau.network, special_tokens, LOOKING)
    return {
        "gradients": measures.gradients_by_depth(text, SEED),
        "alignment": measures.alignment(network, text, tokenizer, SEED),
        "memory": measures.attention_memory(special_tokens),
    }


def _curve(name: str) -> list[dict[str, float]]:
    return read_curves(PLOTS / SYSTEMS / f"{name}.csv", REMEDY).get(name, [])


def _whole(path: Path, name: str) -> dict[str, Any]:
    """Return metrics with what came of each test text, which stands in a file of its own."""
    return kept(path, FAMILY_RIGHT / f"{name}.json", REMEDY)


def _json(path: Path) -> Any:
    return read_json(path, REMEDY)


if __name__ == "__main__":
    run_stage("family_table", family_table, section="family")
