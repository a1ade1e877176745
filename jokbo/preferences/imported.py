"""Comparisons and rankings of the user's own, from a file below data/local: the labeller of kind `file`.

A file is checked whole, row by row, before anything runs (`check`), and is read again by the stage (`labelled`).

Where the policy is asked by a chat template, a prompt is a question: the template writes it, and the responses, as the
policy reads them. A prompt that the template has written already stays as it is.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from jokbo.data.conversations.chat import LeftOut as Unwritable
from jokbo.data.conversations.own import asked_in, key_of, own_prompts
from jokbo.data.conversations.turns import USER, Turn, Turns, turns_of
from jokbo.data.files.files import below_local
from jokbo.data.keys import normalised
from jokbo.preferences.forms import FORMS
from jokbo.preferences.forms.form import Form, Record
from jokbo.preferences.judgement import Judgement, Skipped, pairs_of, seen
from jokbo.preferences.labeller import Given, Labelled, LeftOut
from jokbo.preferences.pairs import decided
from jokbo.preferences.records import files, records
from jokbo.runtime.errors import InputError

if TYPE_CHECKING:
    from jokbo.data.conversations.chat import Chat
    from jokbo.params import ComparisonFile

OTHER = "of another prompt"  # than those of the file of prompts
MARKS = re.compile(
    r"<\|\w+\|>|\[/?INST\]|<(?:start|end)_of_turn>"
)  # by which chat templates tell turns apart


def check(name: str, settings: ComparisonFile, template: str | None) -> None:
    """Raise InputError, one line with file and row, for the first thing that is wrong in a labeller's file.

    template: the chat template by which the policy will be asked, empty if it goes on with texts; None if unknown.
    """
    found, _ = judgements(name, settings, _own(name, settings))
    if template is not None:
        for judgement in found:
            _check_marks(judgement, template)


def labelled(settings: ComparisonFile, given: Given) -> Labelled:
    """Return the pairs that the file's judgements make, some prompts' held out for the test.

    Which is a function of the normalised prompt and the seed. Judgements of prompts that models are evaluated on are
    left out, and so are rows in which nobody chose.
    """
    own = _own(given.name, settings)
    found, skipped = judgements(given.name, settings, own)
    whole, evaluated = len(found) + skipped.total(), _evaluated(given)
    train, test, overlap = [], [], 0
    for judgement in found:
        try:
            written = _written(judgement, given.chat, own)
        except Unwritable as reason:
            skipped[str(reason)] += 1
            continue
        if {normalised(written.prompt), normalised(judgement.prompt)} & evaluated:
            overlap += 1
            continue
        (test if given.holds_out(written.prompt, settings.held_out) else train).extend(
            pairs_of(written, given.name)
        )
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
    left_out = {
        "evaluated": LeftOut(overlap, whole, "judgements are of prompts that models are evaluated on")
    }
    left_out |= {
        reason.replace(" ", "_"): LeftOut(count, whole, f"rows are left out: {reason}")
        for reason, count in skipped.items()
    }
    return Labelled(train, test, left_out)


def _evaluated(given: Given) -> set[str]:
    """Return the keys of the prompts that models are evaluated on; of conversations also without their template."""
    keys = set(map(normalised, given.evaluated()))
    for rows in given.documents["test"]["turns"] if given.chat else ():
        keys.update(map(key_of, asked_in(turns_of(rows or ()))))
    return keys


def _written(judgement: Judgement, chat: Chat | None, own: Mapping[str, Turns]) -> Judgement:
    """Return the judgement with prompt and responses as the policy reads and writes them.

    A question of the file of prompts gets the system prompt that it has there. Raises Unwritable for a text that spells
    a special token, and InputError for a prompt that another template wrote.
    """
    if chat is None or chat.wrote(judgement.prompt):
        return judgement
    _check_marks(judgement, chat.template)
    asked = own.get(normalised(judgement.prompt), (Turn(USER, judgement.prompt.strip()),))
    exchanges = [chat.exchange(asked, response) for response in judgement.responses]
    return replace(judgement, prompt=exchanges[0][0], responses=[response for _, response in exchanges])


def _check_marks(judgement: Judgement, template: str) -> None:
    """Raise InputError for a prompt with the marks of a chat template that is not the policy's."""
    for mark in MARKS.findall(judgement.prompt):
        if mark not in template:
            what = "prompts.kind is continuation" if not template else "the policy's template writes none"
            raise InputError(
                f"{judgement.location}: the prompt holds {mark}, which a chat template wrote, but {what}: give prompts "
                "of this run, without marks"
            )


def _own(name: str, settings: ComparisonFile) -> dict[str, Turns]:
    """Return the prompts of the labeller's file of prompts by their keys; none if it names no file."""
    if settings.prompts is None:
        return {}
    key = f"preferences.labellers.{name}.prompts"
    file = below_local(key, settings.prompts, "the file of prompts")
    if not file.is_file():
        raise InputError(f"{key} is {settings.prompts}: put that file into {file.parent}")
    return {key_of(turns): turns for turns in own_prompts(file)}


def _of_own(
    found: list[Judgement], name: str, settings: ComparisonFile, own: Mapping[str, Turns]
) -> list[Judgement]:
    """Return the judgements of prompts that the labeller's file of prompts has; all if it names no file.

    Raises InputError if none is left.
    """
    if settings.prompts is None:
        return found
    kept = [judgement for judgement in found if normalised(judgement.prompt) in own]
    if not kept:
        first, key = found[0], f"preferences.labellers.{name}.prompts"
        raise InputError(
            f"{first.location}: the prompt {seen(first.prompt)} is not in {settings.prompts}, nor is that of any of "
            f"the {len(found):,} judgements: give comparisons of those prompts, or take {key} out"
        )
    return kept


def judgements(
    name: str, settings: ComparisonFile, own: Mapping[str, Turns]
) -> tuple[list[Judgement], Counter[str]]:
    """Return all judgements of a labeller's files, and how many rows were skipped, by reason; `own` are the prompts of
    its file of prompts."""
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
    kept = _of_own(found, name, settings, own)
    if len(kept) < len(found):
        skipped[OTHER] = len(found) - len(kept)
    return kept, skipped


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
