"""The forms in which a file can hold judgements, and how the table of preference pairs is written in one of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from jokbo.preferences.forms import arena, argilla, label_studio, plain, potato
from jokbo.preferences.forms.form import Form
from jokbo.preferences.pairs import Pair
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import write_text

FORMS: Mapping[str, Form] = {
    "pairs": plain.PAIRS,
    "choices": plain.CHOICES,
    "rankings": plain.RANKINGS,
    "label_studio": label_studio.FORM,
    "argilla": argilla.FORM,
    "potato": potato.FORM,
    "arena": arena.FORM,
}


def export(rows: Sequence[Pair], form: str, folder: Path) -> Iterator[str]:
    """Write the rows that the form can hold into files in the folder; yield lines on what was written and what not.

    InputError if there is nothing that it can hold, or if a file is there already.
    """
    if form not in FORMS:
        raise InputError(f"--to is {form}: it must be one of {', '.join(FORMS)}")
    to = FORMS[form]
    asked = [row for row in rows if row["prompt"].strip()]
    held = [row for row in asked if to.ties or row["choice"] is not None]
    if not held:
        raise InputError(
            f"{form} can hold none of the {len(rows):,} preference pairs: they are ties, or have no prompt"
        )
    files = {folder / name: text for name, text in to.write(held).items()}
    for path in files:
        if path.exists():
            raise InputError(f"{path}: it is there already: take it away, or give another --out")
    for path, text in files.items():
        write_text(path, text)
    yield f"{len(held):,} preference pairs: {', '.join(map(str, files))}"
    for count, what in (
        (len(rows) - len(asked), "have no prompt (rated texts answer none)"),
        (len(asked) - len(held), f"are ties, which {form} cannot hold"),
    ):
        if count:
            yield f"{count:,} are left out: they {what}"
    lost = ["whether the policy wrote the responses", "agreement", "source", *([to.lost] if to.lost else [])]
    yield f"{form} does not hold {', '.join(lost)}"
