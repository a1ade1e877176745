"""What a judge says of two responses, asked in both orders, and how far that can be believed.

A verdict that flips with the order is a tie. Of both orders the mean probability is kept, which is a soft label
(Bai et al. 2022, section 4.1); after a chain of thought it is clamped, for a judge that has reasoned is too sure.

Shapes: N pairs, 2 orders: the first response is shown as A, then as B.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

import torch

from jokbo.feedback.constitution import drawn
from jokbo.feedback.judge import Judge
from jokbo.feedback.question import Questions
from jokbo.runtime.errors import InputError

if TYPE_CHECKING:
    from jokbo.params.preferences import ChainOfThought


class Pair(NamedTuple):
    """Two responses to a prompt, which is empty where they answer none."""

    prompt: str
    first: str
    second: str


class Asked(NamedTuple):
    """A question as the judge's tokens, with what its answer, or its reasoning, begins with."""

    tokens: list[int]
    lead: list[int]  # what its answer begins with, where it has reasoned before


class Unjudged(Enum):
    """Why there is no verdict of a pair."""

    SPECIAL = "special_tokens"
    TOO_LONG = "too_long"
    NEITHER = "neither"


@dataclass(frozen=True)
class Verdict:
    """What the judge says of a pair."""

    orders: tuple[float, float]  # probability that the first response is better, shown as A and shown as B
    mass: float  # least probability, of both orders, of A and B together
    probability: float  # that the first response is better: the mean of both orders, or that clamped

    @property
    def choice(self) -> int | None:
        """The index of the better response; None, a tie, where the orders do not say the same."""
        if all(each > 0.5 for each in self.orders):
            return 0
        return 1 if all(each < 0.5 for each in self.orders) else None


@dataclass(frozen=True)
class Method:
    """How a judge is asked."""

    judge: Judge
    questions: Questions
    principles: Sequence[str]
    thought: ChainOfThought | None
    minimum_mass: float
    seed: int

    def verdicts(self, pairs: Sequence[Pair]) -> list[Verdict | Unjudged]:
        """Return what the judge says of each pair, or why it says nothing."""
        asked = [self._asked(pair) for pair in pairs]
        found: list[Verdict | Unjudged | None] = [
            self._unfit(*each) for each in zip(pairs, asked, strict=True)
        ]
        fit = [i for i, why in enumerate(found) if why is None]
        for i, verdict in zip(fit, self._answered([asked[i] for i in fit]), strict=True):
            found[i] = verdict if verdict.mass >= self.minimum_mass else Unjudged.NEITHER
        return [each for each in found if each is not None]

    def check(self, pairs: Sequence[Pair], said: Sequence[Verdict | Unjudged]) -> None:
        """Raise InputError, one line, if the judge says nothing of any pair: why, of most of them, and what to do."""
        if any(isinstance(each, Verdict) for each in said):
            return
        why, count = Counter(said).most_common(1)[0]
        if why is Unjudged.NEITHER:
            found = (
                f"in {count:,} A and B together have a probability below minimum_mass, {self.minimum_mass:g}"
            )
            advice = "name another judge, or a template that it answers with a letter"
        elif why is Unjudged.TOO_LONG:
            least = min(self._longest(self._asked(pair)) for pair in pairs)
            found = f"{count:,} are longer than the {self.judge.context:,} tokens that it reads, the shortest {least:,}"
            advice = "raise its context, or write a shorter template"
        else:
            found, advice = f"{count:,} spell a special token of its tokenizer", "name another judge"
        raise InputError(f"{self.judge.key}: of {len(said):,} pairs it judges none: {found}: {advice}")

    def _asked(self, pair: Pair) -> list[Asked]:
        """Return the question in both orders."""
        principle = drawn(self.principles, self.seed, "\0".join(pair))
        prompt, first, second = (text.strip() for text in pair)
        found = []
        for a, b in ((first, second), (second, first)):
            question = self.questions.ask(prompt=prompt, first=a, second=b, principle=principle)
            begun = question.thinking if self.thought else question.lead
            found.append(Asked(self.judge.asked(question.text, begun), self.judge.lead(question.lead)))
        return found

    def _unfit(self, pair: Pair, asked: Sequence[Asked]) -> Unjudged | None:
        """Return why the judge cannot be asked about a pair; None if it can."""
        if any(token in text for token in self.judge.special for text in pair):
            return Unjudged.SPECIAL
        return Unjudged.TOO_LONG if self._longest(asked) > self.judge.context else None

    def _longest(self, asked: Sequence[Asked]) -> int:
        more = self.thought.tokens + max(len(each.lead) for each in asked) if self.thought else 0
        return max(len(each.tokens) for each in asked) + more

    def _answered(self, asked: Sequence[Sequence[Asked]]) -> Iterator[Verdict]:
        """Yield what the judge says of pairs that it can be asked about."""
        every = [each for both in asked for each in both]
        sequences = [each.tokens for each in every]
        if self.thought:
            thoughts = self.judge.thoughts(sequences, self.thought, self.seed)
            sequences = [
                [*each.tokens, *thought, *each.lead] for each, thought in zip(every, thoughts, strict=True)
            ]
        letters_M2, mass_M = self.judge.answers(sequences)
        first_M = torch.sigmoid(letters_M2[:, 0] - letters_M2[:, 1])  # that what is shown as A is better
        for (as_a, as_b), masses in zip(
            first_M.view(-1, 2).tolist(), mass_M.view(-1, 2).tolist(), strict=True
        ):
            orders = (as_a, 1 - as_b)
            mean = sum(orders) / 2
            lowest = self.thought.lowest if self.thought else 0.0
            yield Verdict(orders, min(masses), min(max(mean, lowest), 1 - lowest))
