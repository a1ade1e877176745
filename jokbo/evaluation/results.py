"""What `evaluate` found, as it crosses to the report: saved and loaded as one JSON file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from jokbo.runtime.errors import InputError
from jokbo.runtime.files import read_json

Estimated = dict[str, int | float]  # an intervals.Estimate, by field


@dataclass(frozen=True)
class Scores:
    """One model on the held-out prompts. What compares it with the supervised model is None of that one itself.

    _low and _high are a share's 95% interval over prompts.
    """

    perplexity: float  # of the tokens of people's answers
    end_nats: float | None  # of the end of text of people's answers; None if none has one
    kl: float  # nats an answer, from the supervised model
    kl_per_token: float
    reward: float
    distinct_1: float | None
    distinct_2: float | None
    length: float  # tokens an answer
    positive: float  # share of answers that the judge finds positive
    positive_low: float
    positive_high: float
    win_rate: float | None  # by the judge's score, against the supervised model, ties half
    win_rate_low: float | None
    win_rate_high: float | None
    matched_win_rate: float | None  # the same of the matched prompts
    matched_win_rate_low: float | None
    matched_win_rate_high: float | None
    matched: int | None  # prompts where both answers are of like length


@dataclass(frozen=True)
class Student:
    """Teacher or student of the distillation."""

    parameters: int  # without embeddings
    perplexity: float
    end_nats: float | None


@dataclass(frozen=True)
class Evaluation:
    """Every model on the same prompts, and how far the judge can be believed."""

    prompts: int
    matched_tokens: int  # by which two answers of like length differ at most
    ngrams: dict[str, int]  # how many were compared: distinct_1, distinct_2
    systems: dict[str, Scores]  # base, supervised, distilled, aligned
    student: dict[str, Student]  # teacher, student
    judge: dict[str, Estimated]  # right on reviews, sentences, rotten_tomatoes; by review

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1, sort_keys=True) + "\n")

    @classmethod
    def load(cls, path: Path) -> Evaluation:
        """Return what a file holds. InputError if it is not there, or holds something else."""
        remedy = "run the stage evaluate"
        try:
            return TypeAdapter(cls).validate_python(read_json(path, remedy))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise InputError(f"{path}: {where}: {first['msg']}: {remedy}") from error
