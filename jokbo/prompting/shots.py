"""What a language model knows of a task from its prompt alone: zero-, one- and few-shot (Radford et al. 2019; Brown et
al. 2020), asked with k answered examples that a seed draws.

All rows are asked after the same examples, as in Zhao et al. 2021: the examples are read once. What was asked is kept,
by all that it depends on, so that a run that was stopped goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from jokbo.models import access
from jokbo.preferences.weights import hash_of
from jokbo.prompting import examples, scores
from jokbo.prompting.likelihoods import Asked, Encoder, log_likelihoods
from jokbo.prompting.task import Row, Task
from jokbo.runtime.files import read_if_there, write_text

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

RESAMPLES, RESAMPLING = 10_000, 1  # of an interval, and their seed
VERSION = 1  # of what is asked: another one asks anew


@dataclass(frozen=True)
class Settings:
    """With what a task is asked."""

    k: int  # answered examples before a question
    seed: int = 0  # of which ones
    balanced: bool = False  # whether classes take turns among them


@dataclass(frozen=True)
class Outcome:
    """How a model did on the rows of a task, with the examples of one seed."""

    settings: Settings
    right: dict[str, list[int]]  # by score: of each row 1 if the likeliest option is the right one
    shown: list[int]  # of each row how many examples fitted
    cut: int  # rows whose question alone is too long, and lost its beginning

    def row(self) -> dict[str, Any]:
        """Return it for a file."""
        right = {score: "".join(map(str, own)) for score, own in self.right.items()}
        return {**asdict(self), "right": right}

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Outcome:
        right = {score: [*map(int, own)] for score, own in row["right"].items()}
        return cls(Settings(**row["settings"]), right, row["shown"], row["cut"])


class _Question(NamedTuple):
    """A row as it is asked: its options after its prompt, and how many examples stand in that."""

    options: list[Asked]
    shown: int
    whole: bool  # whether all of it fits


@dataclass(frozen=True)
class Asker:
    """A causal language model that is asked a task."""

    network: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    task: Task

    @cached_property
    def encoder(self) -> Encoder:
        return Encoder(self.tokenizer, access.context(self.network))

    @cached_property
    def key(self) -> str:
        """The hash of the model and the task."""
        found, reads = hash_of(self.network), cast(Any, self.tokenizer)
        found.update(reads.backend_tokenizer.to_str().encode())
        task = [self.task.own.model_dump(), [*self.task.rows], [*self.task.pool]]
        found.update(json.dumps([VERSION, self.encoder.context, task]).encode())
        return found.hexdigest()

    def ask(self, settings: Settings) -> Outcome:
        """Return how the model does, a function of the model, the task and the settings alone."""
        task = self.task
        order = examples.drawn(task.pool, settings.seed, balanced=settings.balanced) if settings.k else []
        questions = [self._question(row, examples.before(row, order, settings.k)) for row in task.rows]
        nats: list[list[float]] = [[] for _ in questions]
        calibrating: dict[int, list[list[float]]] = {}  # by how many examples stand there
        for shown in sorted({each.shown for each in questions}):
            numbers = [number for number, each in enumerate(questions) if each.shown == shown]
            for number, own in zip(numbers, self._nats([questions[n] for n in numbers]), strict=True):
                nats[number] = own
            free = [self._question(row, order[:shown]) for row in task.content_free]
            calibrating[shown] = self._nats(free)
        return Outcome(
            settings,
            self._right(questions, nats, calibrating),
            [each.shown for each in questions],
            sum(not each.whole for each in questions),
        )

    def _question(self, row: Row, order: Sequence[Row]) -> _Question:
        """Return a row as it is asked: with the first examples of the order, as many as the context has room for."""
        options: list[Asked] = []
        for shown in range(len(order), -1, -1):
            prompt = self.task.prompt(row, order[:shown])
            options = [self.encoder.asked(prompt, self.task.answer(option)) for option in row.options]
            if all(map(self.encoder.fits, options)):
                return _Question(options, shown, whole=True)
        return _Question(options, 0, whole=False)

    def _nats(self, questions: Sequence[_Question]) -> list[list[float]]:
        """Return log p of the options of each question."""
        found = iter(log_likelihoods(self.network, [each for own in questions for each in own.options]))
        return [[next(found) for _ in own.options] for own in questions]

    @cached_property
    def _unconditional(self) -> dict[str, float]:
        """Return log p of every option after a text without a question, by option."""
        options = list(dict.fromkeys(option for row in self.task.rows for option in row.options))
        before = self.task.own.unconditional
        asked = [self.encoder.asked(before, self.task.answer(option)) for option in options]
        return dict(zip(options, log_likelihoods(self.network, asked), strict=True))

    def _right(
        self,
        questions: Sequence[_Question],
        nats: Sequence[list[float]],
        calibrating: Mapping[int, list[list[float]]],
    ) -> dict[str, list[int]]:
        right: dict[str, list[int]] = {}
        for row, asked, own in zip(self.task.rows, questions, nats, strict=True):
            found = scores.scored(
                own,
                [len(each.answer) for each in asked.options],
                [len(option) for option in row.options],
                [self._unconditional[option] for option in row.options],
            )
            if self.task.content_free:
                found[scores.CALIBRATED] = scores.calibrated(own, calibrating[asked.shown])
            for score, values_O in found.items():
                right.setdefault(score, []).append(int(scores.likeliest(values_O) == row.right))
        return right


def settings_of(ks: Sequence[int], seeds: int, *, balanced: bool) -> list[Settings]:
    """Return what is asked: every k with the examples of every seed; without examples once, as no seed matters."""
    return [Settings(k, seed, balanced and k > 0) for k in ks for seed in range(1, seeds + 1 if k else 2)]


def outcomes(asker: Asker, asked: Iterable[Settings], folder: Path) -> Iterator[Outcome]:
    """Yield how the model does with each of the settings. What is kept in the folder is not asked again."""
    for settings in asked:
        key = hashlib.sha256(json.dumps([asker.key, asdict(settings)]).encode()).hexdigest()
        path = folder / f"{key[:32]}.json"
        if (row := read_if_there(path)) is None:
            row = asker.ask(settings).row()
            write_text(path, json.dumps(row) + "\n")
        yield Outcome.of(row)


def summary(found: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Return for every k the accuracy by each score: mean over rows and seeds, its 95% interval, and that of each seed;
    and how many examples stood before a question, on average."""
    rows = []
    for k in dict.fromkeys(each.settings.k for each in found):
        own = [each for each in found if each.settings.k == k]
        shown = [count for each in own for count in each.shown]
        rows.append(
            {
                "k": k,
                "seeds": len(own),
                "rows": len(own[0].shown),
                "shown": sum(shown) / len(shown),
                "short": sum(count < k for count in shown) / len(own),
                "cut": max(each.cut for each in own),
                "scores": {score: _accuracy([each.right[score] for each in own]) for score in own[0].right},
            }
        )
    return rows


def _accuracy(right_SN: Sequence[Sequence[int]]) -> dict[str, Any]:
    found = scores.over_rows_and_seeds(right_SN, samples=RESAMPLES, seed=RESAMPLING)
    return {**found._asdict(), "seeds": [sum(own) / len(own) for own in right_SN]}
