"""The answers to the question who judges: the entries of evaluate.judges, each an answer of one kind."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from jokbo.params.base import Names, Section


class ClassifierJudge(Section):
    kind: Literal["classifier"]
    """classifier: it goes by the words of labelled texts that are set aside for it, the split judge."""
    sources: Annotated[Names, Field(min_length=1)]
    """Names of the sources of labelled texts that it learns from and is tried on."""
    good: str | int
    """Label of the good texts, a word or a whole number; those with any other label are not good."""


class RewardJudge(Section):
    kind: Literal["reward"]
    """reward: the chain's reward model, which PPO trains the policy against."""


Judge = Annotated[ClassifierJudge | RewardJudge, Field(discriminator="kind")]
