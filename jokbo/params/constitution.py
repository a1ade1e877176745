"""The schema of a constitution: a YAML file of the principles by which a model judges responses, or revises its own."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from jokbo.params.base import Section

Words = Annotated[str, Field(pattern=r"\S")]


class Revision(Section):
    critique: Words
    """What the model is asked to find in its own answer."""
    revision: Words
    """What it is then asked to write."""


class Constitution(Section):
    comparison: Annotated[list[Words], Field(min_length=1)] | None = None
    """Principles by which a judge prefers one of two responses; it draws one for each pair."""
    revision: Annotated[list[Revision], Field(min_length=1)] | None = None
    """Principles by which a model revises its answers; it draws one for each round."""
