"""What the stage `evaluate` found: every model on the same prompts, what each judge says, and benchmarks.

It stands in metrics/evaluate.json, and in data/evaluation too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jokbo.evaluation.results import Perplexity
from jokbo.runtime.files import Saved


@dataclass(frozen=True)
class Scores:
    """One model on the held-out prompts, by what needs no judge."""

    perplexity: float  # of the tokens of people's responses
    end_nats: float | None  # of the end of text of people's responses; None if none has one
    nats_saved: Mapping[str, int | float] | None  # a token of those, against base; None of base itself
    kl: float  # nats a response, from the supervised model
    kl_per_token: float
    reward: float | None  # None if there is no reward model
    distinct_1: float | None
    distinct_2: float | None
    length: float  # tokens a response


@dataclass(frozen=True)
class JudgeScores:
    """What a judge says of one model's responses. What compares them with the supervised model's is None of these.

    _low and _high are a share's 95% interval over prompts.
    """

    score: float  # mean over responses
    good: float | None  # share of responses that are good; None where the judge does not say
    good_low: float | None
    good_high: float | None
    win_rate: float | None  # by the judge's score, against the supervised model, ties half
    win_rate_low: float | None
    win_rate_high: float | None
    length_matched_win_rate: float | None  # the same of the length-matched prompts
    length_matched_win_rate_low: float | None
    length_matched_win_rate_high: float | None
    length_matched: int | None  # prompts where both responses are of like length


@dataclass(frozen=True)
class Trust:
    """How often a judge is right on texts of which it is known whether they are good."""

    right: Mapping[str, int | float]  # an intervals.Estimate, by field
    one_answer: float  # how often the same answer for all would be


@dataclass(frozen=True)
class JudgeResult:
    """What one judge says of all models, and how far it can be believed."""

    kind: str
    about: str  # what it is
    probabilities: bool  # whether its scores are those of being good
    models: dict[str, JudgeScores]
    trust: dict[
        str, dict[str, Trust]
    ]  # by source: on whole `texts`; where they are long, on their `sentences`


@dataclass(frozen=True)
class Student(Perplexity):
    """Teacher or student of the distillation."""

    parameters: int  # without embeddings


@dataclass(frozen=True)
class BenchmarkScore:
    value: float
    standard_error: float | None  # None if the metric has none, or of one example


@dataclass(frozen=True)
class Benchmark:
    """A task of the user's own, which every model was asked."""

    examples: int
    shots: int  # answered examples before a question
    cut: int  # examples that began before what the context holds
    models: dict[str, dict[str, BenchmarkScore]]  # by model, then by metric


@dataclass(frozen=True)
class Evaluation(Saved):
    """Every model on the same prompts."""

    STAGE = "evaluate"
    prompts: int
    matched_tokens: int  # by which two responses of like length differ at most
    ngrams: dict[str, int]  # how many were compared: distinct_1, distinct_2
    models: dict[str, Scores]  # base, supervised, distilled (if there is a student), aligned
    student: dict[str, Student]  # teacher, student; empty if there is no student
    judges: dict[str, JudgeResult]  # by name in params.yaml
    headline: str | None  # the name of the judge by which runs are compared; None if there are no judges
    benchmarks: dict[str, Benchmark] = field(default_factory=dict)

    @property
    def main(self) -> JudgeResult | None:
        """What the judge of the headline says."""
        return self.judges[self.headline] if self.headline is not None else None
