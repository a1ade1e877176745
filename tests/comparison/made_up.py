"""A comparison that never was: made-up metrics in the shape that the stages leave them in."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from jokbo.comparison import claims, table
from jokbo.comparison.search import outcome, over_tasks

TEST_ROWS = {"imdb": 2000, "rotten_tomatoes": 1000, "snippets": 400}
LABELS = "2000"
MAJORITY = {"imdb": 0.5, "rotten_tomatoes": 0.52, "snippets": 0.6}
YEARS = {
    **{
        "bahdanau": 2014,
        "transformer": 2017,
        "transformer_pre": 2017,
        "sentiment_neuron": 2017,
        "elmo": 2018,
    },
    **{
        "ulmfit": 2018,
        "gpt1": 2018,
        "gpt2": 2019,
        "bert": 2019,
        "bert_deep": 2019,
        "roberta": 2019,
        "xlnet": 2019,
        "mass": 2019,
    },
    **{"distilbert": 2019, "spanbert": 2020, "electra": 2020, "albert": 2020, "bart": 2020, "t5": 2020},
    **{"deberta": 2021, "fast_weights": 2021, "fast_weights_sum": 2021, "cramming": 2023},
}
TITLES = {
    "transformer": "Transformer",
    "transformer_pre": "Transformer",
    "bert": "BERT",
    "fast_weights": "Fast | weights",
}
GRADIENTS = {
    "post": {"encoder": [0.1, 0.2, 0.3], "decoder": [0.2, 0.6, 1.4]},
    "pre": {"encoder": [0.3, 0.2, 0.2], "decoder": [0.3, 0.3, 0.4]},
}
ALIGNMENT = {
    "source": ["$a$", "##b", "c$"],
    "target": ["d", "<e>"],
    "weights": [[0.5, 0.25, 0.25], [0.0, 0.125, 0.875]],
}


def result(mean: float, sd: float = 0.01, seeds: int = 3, draw: int = 0) -> dict[str, Any]:
    """A downstream result of about this mean over tasks, and of about this standard deviation over seeds. Which texts
    are right is drawn, and for the same `draw` the same ones are easy."""
    easy = np.random.default_rng(draw)
    tasks = {}
    for (task, rows), lift in zip(TEST_ROWS.items(), (0.03, 0.0, -0.03), strict=True):
        hard_N = easy.permutation(rows) / rows
        means = [mean + lift + sd * (seed - (seeds - 1) / 2) for seed in range(seeds)]
        right_SN = np.stack([hard_N < each for each in means]).astype(int)
        tasks[task] = outcome(right_SN, mean + lift, 0.002)
    return {"tasks": tasks, **over_tasks(tasks)}


def system(name: str, pretrained: float = 0.75, scratch: float = 0.65, nats: float = 4.0) -> dict[str, Any]:
    return {
        "title": TITLES.get(name, name),
        "year": YEARS[name],
        "objective": "masked tokens",
        "parameters": 1_000_000,
        "steps": 60,
        "tokens": 60 * 32 * 64,
        "flops": 5.0e12,
        "seconds": 33.3,
        "pretraining": {
            **{"nats": nats, "before": 8.3, "unigram": 6.5, "copying": 6.0, "kind": "masked"},
            "context": {"own": nats, "other": nats + 0.5, "gain": 0.5, "error": 0.1},
        },
        "downstream": {LABELS: {"pretrained": result(pretrained), "scratch": result(scratch)}},
        "extra": {},
    }


def neuron(accuracy: float) -> dict[str, Any]:
    """One neuron of the sentiment neuron, of this accuracy on each task."""
    return {
        task: {"index": 7, "accuracy": accuracy, "right": outcomes["right"]}
        for task, outcomes in result(accuracy, seeds=1, draw=1)["tasks"].items()
    }


MEMORY = {"length": [64, 128], "fused": [0.5, 1.0], "plain": [1.0, 4.0]}


def systems() -> dict[str, dict[str, Any]]:
    """One of each, all alike but for what their own claims are about."""
    found = {name: system(name) for name in sorted(YEARS)}
    for name, without in (("transformer", 6.4), ("transformer_pre", 4.61)):
        found[name]["extra"] = {"with_warmup": {"nats": 4.6}, "without_warmup": {"nats": without}}
    found["sentiment_neuron"]["extra"] = {"neuron": neuron(0.74)}
    found["sentiment_neuron"]["downstream"][LABELS] = {
        kind: result(0.75, seeds=1) for kind in ("pretrained", "random", "scratch")
    }
    found["gpt1"]["extra"] = {"last": {"pretrained": result(0.7), "scratch": result(0.69)}}
    found["distilbert"]["parameters"], found["albert"]["parameters"] = 600_000, 110_000
    return found


def baselines() -> dict[str, dict[str, Any]]:
    return {
        name: {
            "title": title,
            "year": year,
            "parameters": parameters,
            "downstream": result(mean),
            "seconds": 2.0,
        }
        for name, title, year, parameters, mean in (
            ("rules", "VADER", 2014, 7506, 0.62),
            ("tfidf", "tf-idf, on the first 62 tokens", 1972, 30_000, 0.71),
            ("tfidf_whole", "tf-idf, on whole texts", 1972, 300_000, 0.76),
            ("cnn", "CNN", 2014, 700_000, 0.68),
            ("lstm", "LSTM", 1997, 650_000, 0.66),
        )
    }


def curve(steps: int = 60) -> list[dict[str, float]]:
    return [
        {"step": step, "loss": 1 + 4 * math.exp(-step / 20), "masked": 4 + 4 * math.exp(-step / 20)}
        for step in range(steps)
    ]


def evidence(**changes: Any) -> claims.Evidence:
    """Of `systems`, some of them changed."""
    return claims.Evidence(systems() | changes, MAJORITY, GRADIENTS, LABELS)


def comparison(*names: str) -> dict[str, Any]:
    """What the stage makes of all this, or of the systems so called."""
    found = {name: each for name, each in systems().items() if name in names or not names}
    return {
        "rows": table.rows(found, baselines(), LABELS),
        "claims": claims.check(claims.Evidence(found, MAJORITY, GRADIENTS, LABELS)),
        "curves": {name: table.thinned(curve(), "masked") for name in found},
        "gradients": GRADIENTS,
        "alignment": ALIGNMENT,
        "memory": MEMORY,
    }
