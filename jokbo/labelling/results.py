"""What people said, for whoever asked them: votes as files, agreement, reliability, and the ranking of models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from jokbo.labelling import agreement, models, reliability, store
from jokbo.labelling.queue import Queue
from jokbo.labelling.serving import hand_over, progress_of
from jokbo.preferences import aggregated
from jokbo.preferences.batch import Batch, Vote, write_votes
from jokbo.preferences.forms.form import lines
from jokbo.runtime.files import write_text


def export(batch: Batch, engine: Engine, out: Path | None) -> list[str]:
    """Write all votes where the stage reads them, or into a folder. Return lines that say what was written."""
    store.publish(engine, batch)
    if out is None:
        return [hand_over(batch.name, engine)]
    found = store.all_votes(engine, name=batch.name)
    path = out / "votes.jsonl"
    written = [f"{write_votes(found, path):,} votes: {path}"]
    if better := [vote for vote in agreement.standing(found) if vote.better]:
        path = out / "demonstrations.jsonl"
        rows = (
            {"prompt": vote.prompt, "response": vote.better, "labeller": vote.labeller} for vote in better
        )
        write_text(path, lines(rows))
        written.append(f"{len(better):,} answers that people wrote: {path}")
    if rows := _aggregated(found):
        path = out / "labels.jsonl"
        write_text(path, lines(rows))
        written.append(f"{len(rows):,} comparisons, each with one label of all people: {path}")
    return written


def _aggregated(votes: Sequence[Vote]) -> list[dict[str, Any]]:
    """Return a row for each comparison: its texts, what most say, and what is likeliest by Dawid and Skene's model."""
    texts = {vote.item: vote for vote in votes}
    labels = reliability.labels_of(votes)
    most, found = aggregated.majority(labels), aggregated.dawid_skene(labels)
    rows = []
    for item, one, other in labels:
        key, vote = (item, one, other), texts[item]
        row = {"prompt": vote.prompt, "responses": [vote.responses[int(one)], vote.responses[int(other)]]}
        row |= {"labels": len(labels[key]), "majority": most[key]}
        if not found.why_none:
            row |= {"dawid_skene": found.labels[key], "probability": round(found.probability[key], 4)}
        rows.append(row)
    return rows


def agreed(batch: Batch, engine: Engine) -> list[str]:
    """Return lines on how far people agree in a batch, and each with the others."""
    store.publish(engine, batch)
    found = store.all_votes(engine, batch=batch.id)
    gold = {item.id: item.ranking for item in batch.items if item.ranking is not None}
    said = [progress_of(Queue(engine, batch.id)), str(agreement.alpha(found))]
    for person in agreement.people(found, gold):
        line = f"{person.name}: {person.labels:,} labels, {person.skipped:,} of them skipped"
        if person.compared:
            share = f"{person.same / person.compared:.0%} of {person.compared:,} comparisons"
            line += f"; says the same as others in {share}"
        if person.gold:
            line += f"; right in {person.right:,} of {person.gold:,} gold items"
        said.append(line)
    return [*said, *_reliable(found), *_ranked(batch, found)]


def _reliable(votes: Sequence[Vote]) -> list[str]:
    """Return lines on how far each person can be relied on, and what that changes of the labels."""
    labels = reliability.labels_of(votes)
    found = aggregated.dawid_skene(labels)
    if found.why_none:
        return [f"Dawid and Skene's model is undefined: {found.why_none}"]
    read, told = reliability.readings(votes), []
    for name, share in found.reliability.items():
        line = f"{name}: gives the true label in {share:.0%} by Dawid and Skene's model"
        if name in read:
            line += f"; chooses by the answers in {read[name].attention:.0%}, else the first in "
            line += f"{read[name].first_side:.0%}, by the noisy Bradley-Terry model"
        told.append(line)
    most = aggregated.majority(labels)
    differ = sum(most[each] != label for each, label in found.labels.items())
    where = "`jokbo label export --out FOLDER` writes both"
    return [*told, f"that model and the majority differ in {differ:,} of {len(most):,} comparisons: {where}"]


def _ranked(batch: Batch, votes: Sequence[Vote]) -> list[str]:
    """Return the ranking of the models that wrote the answers, a line each; nothing where one wrote them all."""
    if not any(item.writers for item in batch.items):
        return []
    found = models.ranking(batch, votes)
    if isinstance(found, str):
        return [f"the models have no ranking: {found}"]
    return [
        f"{place}. {row.name}: preferred to an average one of these models in {row.share:.0%} (95% interval "
        f"{row.low:.0%} to {row.high:.0%})"
        for place, row in enumerate(found, 1)
    ]
