"""Whether a task is classification, as the model says after a few seeds of either kind.

In the paper the model's likelier word decides. A small one prefers one word whatever it is asked. So the line between
yes and no is drawn where it tells the other seeds apart best, each kind counting half.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Self

import torch

from jokbo.instructions import asking
from jokbo.instructions.seeds import Task
from jokbo.instructions.writing import Beginning, Writer
from jokbo.runtime.errors import InputError

OF_A_KIND = 3  # seeds that are shown, at most; one of each kind at least is left to draw the line by
ROWS = 32  # tasks that are asked about at once


class Trust(NamedTuple):
    """How well the model tells seeds that it was not shown; each kind counts half, so 0.5 is chance."""

    seeds: int
    likelier_word: float  # share that is right by the likelier word
    line: float  # log p of yes less that of no, from which on it is yes
    by_line: float  # share that is right by the line, which was drawn on these very seeds


@dataclass(frozen=True)
class Kinds:
    """A model that has read what is asked, and the line between its yes and its no."""

    writer: Writer
    begun: Beginning
    trust: Trust

    @classmethod
    def of(cls, writer: Writer, seeds: Sequence[Task], rng: random.Random) -> Self:
        """Return it for these seeds. InputError if the tokenizer does not tell yes from no."""
        if len(set(_words(writer))) < 2:
            raise InputError("the model's tokenizer does not tell Yes from No: name another model")
        kinds = [[task for task in seeds if task.is_classification is kind] for kind in (True, False)]
        shown = [task for kind in kinds for task in rng.sample(kind, min(OF_A_KIND, len(kind) - 1))]
        rng.shuffle(shown)
        begun = writer.begun(asking.KIND + "".join(map(asking.kind, shown)))
        others = [task for task in seeds if task not in shown]
        margins = _margins(writer, begun, [task.line for task in others])
        return cls(writer, begun, _trust(margins, [task.is_classification for task in others]))

    def said(self, instructions: Sequence[str]) -> list[bool]:
        """Return of each instruction whether it is classification."""
        return [margin > self.trust.line for margin in _margins(self.writer, self.begun, instructions)]


def _words(writer: Writer) -> tuple[int, int]:
    return writer.encoded(asking.YES)[0], writer.encoded(asking.NO)[0]


def _margins(writer: Writer, begun: Beginning, instructions: Sequence[str]) -> list[float]:
    """Return log p of yes less that of no, of each instruction."""
    yes, no = _words(writer)
    asked = [asking.asked_kind(each) for each in instructions]
    parts = [writer.next(begun, asked[first : first + ROWS]).double() for first in range(0, len(asked), ROWS)]
    return torch.cat([log_probs_BV[:, yes] - log_probs_BV[:, no] for log_probs_BV in parts]).tolist()


def _trust(margins: Sequence[float], truth: Sequence[bool]) -> Trust:
    ordered = sorted(set(margins))
    lines = [0.0, *((low + high) / 2 for low, high in pairwise(ordered))]
    best = max(lines, key=lambda line: (_right(margins, truth, line), -abs(line)))
    return Trust(len(truth), _right(margins, truth, 0.0), best, _right(margins, truth, best))


def _right(margins: Sequence[float], truth: Sequence[bool], line: float) -> float:
    """Return the share that is right where what lies above the line is yes; each kind counts half."""
    shares = []
    for kind in (True, False):
        said = [(margin > line) is kind for margin, true in zip(margins, truth, strict=True) if true is kind]
        shares.append(sum(said) / len(said))
    return sum(shares) / 2
