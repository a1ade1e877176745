"""The forms in which a file can hold judgements."""

from __future__ import annotations

from collections.abc import Mapping

from jokbo.preferences.forms import arena, argilla, label_studio, plain, potato
from jokbo.preferences.forms.form import Form

FORMS: Mapping[str, Form] = {
    "pairs": plain.PAIRS,
    "choices": plain.CHOICES,
    "rankings": plain.RANKINGS,
    "label_studio": label_studio.FORM,
    "argilla": argilla.FORM,
    "potato": potato.FORM,
    "arena": arena.FORM,
}
