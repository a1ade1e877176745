"""Preference pairs to learn from, and some for the test, of every labeller of params.yaml.

`python -m tasks.preferences`
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from jokbo.data.conversations.chat import Chat
from jokbo.data.prompts import TEMPLATE, Prompts
from jokbo.data.tables import open_splits
from jokbo.models import access
from jokbo.preferences import ai, imported, pairs, people, ratings, simulated
from jokbo.preferences.labeller import Given, Labelled, Labeller
from jokbo.preferences.results import LabellerCounts, PreferenceCounts
from jokbo.runtime.errors import WAITING, Waiting
from jokbo.runtime.files import atomic_write_folder
from jokbo.start import adopt
from tasks.frame.paths import BASE, DOCUMENTS, POLICY, PREFERENCES, PROMPTS
from tasks.frame.records import note, say, write_metrics
from tasks.frame.stage import Stage, run_stage, state

if TYPE_CHECKING:
    from jokbo.params import Preferences
    from jokbo.params.preferences import Labeller as Settings

# in this order their pairs stand in the table, those of one kind in the order of their names; people come first, so
# that nothing is computed as long as their votes are missing
LABELLERS: dict[str, Labeller] = {
    "people": people.labelled,
    "simulated": simulated.labelled,
    "ratings": ratings.labelled,
    "file": imported.labelled,
    "ai": ai.labelled,  # last: it is compared with the others
}


def preferences(stage: Stage[Preferences]) -> None:
    labellers = stage.params.labellers
    tokenizer = AutoTokenizer.from_pretrained(POLICY)

    def evaluated() -> list[str]:
        test = Prompts.open(PROMPTS / "test")
        rows = zip(test.prompts_NP.tolist(), test.begins_N.tolist(), strict=True)
        return tokenizer.batch_decode([row[begin:] for row, begin in rows])

    template = PROMPTS / TEMPLATE

    given = Given(
        name="",
        seed=stage.params.seed,
        documents=open_splits(DOCUMENTS),
        prompts=lambda split, limit: Prompts.open(PROMPTS / split, limit=limit),
        evaluated=evaluated,
        tokenizer=tokenizer,
        policy=partial(_opened, POLICY),
        judge=_judge,
        say=partial(say, stage),
        chat=Chat.of(tokenizer, template) if template.is_file() else None,
    )
    found = labelled(labellers, given)
    for name, each in found.items():
        for reason, left in each.left_out.items():
            note(stage, f"{name}.{reason}", *left)
    train, test = (
        [row for each in found.values() for row in getattr(each, split)] for split in ("train", "test")
    )
    with atomic_write_folder(PREFERENCES) as folder:
        pairs.save({"train": train, "test": test}, folder)
    counts = {name: _counts(labellers[name].kind, each) for name, each in found.items()}
    write_metrics(stage, PreferenceCounts(len(train), len(test), counts))


def labelled(labellers: Mapping[str, Settings], given: Given) -> dict[str, Labelled]:
    """Return what each labeller preferred. Where people have not done their part, this process ends with a line for
    each labeller who waits for them, and a status of its own."""
    order, found, waits = list(LABELLERS), {}, []
    for name in sorted(labellers, key=lambda name: (order.index(labellers[name].kind), name)):
        settings = labellers[name]
        if waits and settings.kind != "people":
            break
        try:
            found[name] = LABELLERS[settings.kind](settings, replace(given, name=name, others=dict(found)))
        except Waiting as error:
            waits.append(f"jokbo: {error}")
    if waits:
        print(*waits, sep="\n", file=sys.stderr)
        sys.exit(WAITING)
    return found


def _opened(model: Path) -> PreTrainedModel:
    return access.accelerated(AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32))


def _judge(settings: Any, key: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return the model that a labeller names, with its tokenizer."""
    if settings.kind == "base":
        return _opened(BASE), AutoTokenizer.from_pretrained(BASE)
    network, tokenizer, _ = adopt.opened(settings, state() / "downloads", key)
    return access.accelerated(network), tokenizer


def _counts(kind: str, found: Labelled) -> LabellerCounts:
    ties = sum(row["choice"] is None for row in (*found.train, *found.test))
    return LabellerCounts(kind, len(found.train), len(found.test), ties, found.disagreement, found.trust)


if __name__ == "__main__":
    run_stage("preferences", preferences)
