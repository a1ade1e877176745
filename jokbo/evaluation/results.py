"""What stages measured, as it crosses to other stages: each record is saved and loaded as one JSON file.

A stage writes its record to metrics/NAME.json; `evaluate` writes its own to data/evaluation too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jokbo.runtime.files import Saved

Estimated = dict[str, int | float]  # an intervals.Estimate, by field


@dataclass(frozen=True)
class Perplexity:
    """How well a model predicts held-out text: its language, and where it ends, which is no language."""

    perplexity: float  # of tokens other than the end of text
    end_nats: float | None  # of an end of text; None if the text has none


@dataclass(frozen=True)
class CorpusPerplexity(Perplexity):
    nats_per_token: float
    bits_per_byte: float


@dataclass(frozen=True)
class Pretraining(Saved):
    """The base model."""

    STAGE = "pretrain"
    parameters: int
    parameters_without_embeddings: int
    tokens: int  # that it was trained on, each time that it was read
    packing: Mapping[
        str, Any
    ]  # `used`, and of each kind what share of the batches is filled and of the corpus kept
    validation: CorpusPerplexity


@dataclass(frozen=True)
class PolicyTuning:
    """Of the supervised policy: perplexity of people's responses before and after."""

    sequences: int
    before: Perplexity
    after: Perplexity


@dataclass(frozen=True)
class Finetuning(Saved):
    """The supervised policy."""

    STAGE = "finetune"
    policy: PolicyTuning


@dataclass(frozen=True)
class SplitScores:
    """A classifier on the rows of a split."""

    accuracy: Mapping[str, float]  # an intervals.Interval, by field
    macro_f1: Mapping[str, float]
    confusion: Sequence[Sequence[int]]  # rows by their class, and by the predicted one


@dataclass(frozen=True)
class Classifier:
    """A classifier, on rows that it has not learned from."""

    validation: SplitScores
    test: SplitScores
    learning_rate: float | None = None  # that was chosen; None if it has none


@dataclass(frozen=True)
class CurveValue:
    """Accuracy on test rows over seeds."""

    mean: float
    standard_error: float
    learning_rate: float | None  # that was chosen; None if it has none


@dataclass(frozen=True)
class CurvePoint:
    labels: int  # training rows
    classifiers: Mapping[str, CurveValue]


@dataclass(frozen=True)
class TaskResult:
    """A labelled task: `classifiers` are `pretrained` and, where there is one, `scratch` and `naive_bayes`."""

    kind: str
    classes: Sequence[str]
    rows: Mapping[str, Sequence[int]]  # by split, of each class
    classifiers: Mapping[str, Classifier]
    curve: Sequence[CurvePoint]


@dataclass(frozen=True)
class Tasks(Saved):
    """The labelled tasks."""

    STAGE = "tasks"
    tasks: Mapping[str, TaskResult]


@dataclass(frozen=True)
class Distillation(Saved):
    """Both networks of a distillation on people's responses."""

    STAGE = "distill"
    parameters: int  # of the student
    teacher: Perplexity
    student: Perplexity


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


@dataclass(frozen=True)
class PreferenceCounts(Saved):
    """How many preference pairs there are to learn from, and for the test, and of whom."""

    STAGE = "preferences"
    train: int
    test: int
    labellers: Mapping[str, LabellerCounts]


@dataclass(frozen=True)
class PreferenceScore:
    """A reward model on preference pairs that it has not seen. Estimates go by text, which pairs share."""

    comparisons: int
    texts: int
    accuracy: Estimated
    accuracy_by_source: Mapping[str, Estimated]
    calibration_error: Estimated
    calibration: Sequence[Mapping[str, int | float]]  # rows of calibration.Bin


@dataclass(frozen=True)
class RewardModel(Saved):
    """How well the reward model tells what people prefer."""

    STAGE = "reward"
    human: PreferenceScore


@dataclass(frozen=True)
class Change:
    """A number in the first iteration of a training, and in the last."""

    first: float
    last: float


@dataclass(frozen=True)
class Alignment(Saved):
    """How far PPO moved the policy: each is a mean over an iteration's responses."""

    STAGE = "align"
    kind: str
    reward: Change
    kl: Change  # nats a response, from the supervised model
    kl_per_token: Change
    entropy: Change  # nats a token
    response_length: Change  # tokens
    explained_variance: Change  # share of the returns' variance


@dataclass(frozen=True)
class DirectAlignment(Saved):
    """How far DPO moved the policy: each is a mean over a step's pairs."""

    STAGE = "align"
    kind: str
    pairs: int  # that it learned from
    loss: Change
    accuracy: Change  # share of pairs with a margin above 0
    margin: Change
    held_out: (
        PreferenceScore | None
    )  # by margins, on pairs that no stage learned from; None if there are none


@dataclass(frozen=True)
class Scores:
    """One model on the held-out prompts, by what needs no judge."""

    perplexity: float  # of the tokens of people's responses
    end_nats: float | None  # of the end of text of people's responses; None if none has one
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

    right: Estimated
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
    headline: str | None  # the first of the judges there, by which runs are compared; None if there is none
    benchmarks: dict[str, Benchmark] = field(default_factory=dict)

    @property
    def first(self) -> JudgeResult | None:
        """What the first judge says."""
        return self.judges[self.headline] if self.headline is not None else None
