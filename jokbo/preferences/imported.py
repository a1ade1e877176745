"""Comparisons and rankings of the user's own, from a file below data/local: the labeller of kind `file`.

A file is checked whole, row by row, before anything runs (`check`), and is read again by the stage (`labelled`).
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from jokbo.data.keys import digest, normalised, split_of
from jokbo.preferences.forms import FORMS
from jokbo.preferences.forms.form import Form, Record
from jokbo.preferences.judgement import Judgement, Skipped, pairs_of
from jokbo.preferences.labeller import Given, Labelled, LeftOut
from jokbo.preferences.pairs import decided
from jokbo.preferences.records import files, records
from jokbo.runtime.errors import InputError

if TYPE_CHECKING:
    from jokbo.params import ComparisonFile


def check(name: str, settings: ComparisonFile) -> None:
    """Raise InputError, one line with file and row, for the first thing that is wrong in a labeller's file."""
    judgements(name, settings)


def labelled(settings: ComparisonFile, given: Given) -> Labelled:
    """Return the pairs that the file's judgements make, some prompts' held out for the test.

    Which is a function of the normalised prompt and the seed. Judgements of prompts that models are evaluated on are
    left out, and so are rows in which nobody chose.
    """
    found, skipped = judgements(given.name, settings)
    evaluated = set(map(normalised, given.evaluated()))
    train, test, overlap = [], [], 0
    for judgement in found:
        key = normalised(judgement.prompt)
        overlap += key in evaluated
        held_out = split_of(digest(key, given.seed), {"test": settings.held_out, "train": 1.0}) == "test"
        if key not in evaluated:
            (test if held_out else train).extend(pairs_of(judgement, given.name))
    if not train:
        raise InputError(
            f"preferences.labellers.{given.name}: none of its {len(found):,} judgements is left to learn from "
            f"({overlap:,} are of prompts that models are evaluated on): give more, or lower held_out"
        )
    if settings.held_out and not any(decided(test)):
        raise InputError(
            f"preferences.labellers.{given.name}.held_out is {settings.held_out:g}: no judgement but ties is held out: "
            "raise it, or give more"
        )
    whole = len(found) + skipped.total()
    left_out = {
        "evaluated": LeftOut(overlap, whole, "judgements are of prompts that models are evaluated on")
    }
    left_out |= {
        reason.replace(" ", "_"): LeftOut(count, whole, f"rows are left out: {reason}")
        for reason, count in skipped.items()
    }
    return Labelled(train, test, left_out)


def judgements(name: str, settings: ComparisonFile) -> tuple[list[Judgement], Counter[str]]:
    """Return all judgements of a labeller's files, and how many rows were skipped, by reason."""
    key, form = f"preferences.labellers.{name}", FORMS[settings.form]
    columns = {**form.columns, **_renamed(key, settings, form)}
    prompt = columns.get("prompt", "prompt")
    items = (
        [record for file in files(settings.items or "", f"{key}.items") for record in records(file, "id")]
        if settings.items
        else []
    )
    found, skipped = [], Counter()
    for file in files(settings.paths, f"{key}.paths"):
        rows = records(file, prompt)
        if form.closed:
            rows = _known(rows, {*columns.values(), *(settings.ignore or ())})
        for each in form.read(rows, columns, items):
            if isinstance(each, Skipped):
                skipped[each.reason] += 1
            else:
                found.append(each)
    if not found:
        why = f" (of {skipped.total()} rows: {', '.join(skipped)})" if skipped else ""
        raise InputError(f"{key}.paths: {settings.paths} holds no judgement{why}: give at least one")
    return found, skipped


def _renamed(key: str, settings: ComparisonFile, form: Form) -> dict[str, str]:
    """Return what the file calls its fields, by our names. InputError for a field that the form does not have."""
    renamed = {str(ours): theirs for ours, theirs in (settings.columns or {}).items()}
    for ours in renamed:
        if ours not in form.columns:
            has = ", ".join(form.columns) or "none that could be called otherwise"
            raise InputError(f"params.yaml: {key}.columns names {ours}: the form {settings.form} has {has}")
    return renamed


def _known(rows: Iterable[Record], known: set[str]) -> Iterator[Record]:
    """Yield the rows. InputError for a column that is not known."""
    for location, record in rows:
        for column in record:
            if column not in known:
                near = difflib.get_close_matches(column, known, n=1, cutoff=0.6)
                hint = f"did you mean {near[0]}?" if near else f"it can have {', '.join(sorted(known))}"
                raise InputError(
                    f"{location}: the column {column!r} is not known: {hint}, or name it in ignore"
                )
        yield location, record
