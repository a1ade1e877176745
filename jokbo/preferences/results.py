"""What the stage `preferences` counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jokbo.evaluation.intervals import Estimated
from jokbo.feedback.trust import Trust
from jokbo.runtime.files import Saved


@dataclass(frozen=True)
class LabellerCounts:
    """How many preference pairs are of one labeller."""

    kind: str
    train: int
    test: int
    ties: int  # of both
    disagreement: Mapping[
        str, Estimated
    ]  # of people (`human`) and of simulated raters, where these are fitted
    trust: Trust | None  # of a model that judges


@dataclass(frozen=True)
class PreferenceCounts(Saved):
    """How many preference pairs there are to learn from, and for the test, and of whom."""

    STAGE = "preferences"
    train: int
    test: int
    labellers: Mapping[str, LabellerCounts]
