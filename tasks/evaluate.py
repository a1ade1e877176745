"""Every model of the chain on the same held-out prompts, judged by what no earlier stage has seen.

`python -m tasks.evaluate`
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)

from jokbo.data.prompts import Prompts
from jokbo.data.tables import open_splits, open_table
from jokbo.evaluation import scoring
from jokbo.evaluation.results import Benchmark
from jokbo.models import access
from jokbo.runtime.files import atomic_write_folder, write_text
from jokbo.runtime.tracking import flat
from tasks.frame import paths
from tasks.frame.records import is_there, note, note_few, say, write_metrics
from tasks.frame.stage import Stage, run_stage, timing

if TYPE_CHECKING:
    from jokbo.params import Evaluate

MODELS = {
    "base": paths.BASE,
    "supervised": paths.POLICY,
    "distilled": paths.STUDENT,
    "aligned": paths.ALIGNED,
}


def evaluate(stage: Stage[Evaluate]) -> None:
    params = stage.params
    tokenizer = AutoTokenizer.from_pretrained(paths.POLICY)
    networks = {
        name: access.accelerated(AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)).eval()
        for name, path in MODELS.items()
        if is_there(path)
    }
    the_judge = scoring.trained_judge(open_table(paths.JUDGE_TEXTS))
    reward_model = None
    if is_there(paths.REWARD):
        reward_model = access.accelerated(
            AutoModelForSequenceClassification.from_pretrained(paths.REWARD, dtype=torch.float32)
        )
    # one prompt a text: prompts are independent
    held_out = Prompts.open(paths.PROMPTS / "test", limit=params.prompts)
    note_few(stage, "prompts", params.prompts, len(held_out))

    say(stage, [f"{len(networks)} models respond to {len(held_out):,} prompts each"])
    rollouts = scoring.responses(networks, held_out, params)
    samples = {name: rollout.texts(tokenizer) for name, rollout in rollouts.items()}
    positive = {name: the_judge.positive(texts) for name, texts in samples.items()}
    lengths = {name: rollout.lengths_B.numpy() for name, rollout in rollouts.items()}
    say(stage, ["the responses are scored, and the models' perplexity is measured"])
    scores = scoring.scored(networks, rollouts, held_out, reward_model, tokenizer)
    for name, found in scoring.judged(positive, lengths, params).items():
        scores[name] |= found
    say(stage, ["the judge is tried on texts with labels"])
    trust = scoring.trust_in(the_judge, open_splits(paths.DOCUMENTS))
    evaluation = scoring.evaluation(networks, samples, scores, trust, held_out, params)
    evaluation = replace(evaluation, benchmarks=_benchmarks(stage, networks, tokenizer))

    with atomic_write_folder(paths.EVALUATION) as folder:
        evaluation.save(folder / "evaluation.json")
        prompts = rollouts[scoring.SUPERVISED].prompts(tokenizer)
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in _rows(prompts, samples, positive))
        (folder / "samples.jsonl").write_text("".join(lines), "utf-8")
    write_metrics(stage, evaluation)
    # a speed is this machine's and this moment's: it goes to the records of runs, not into outputs
    compared = [name for name in (scoring.SUPERVISED, scoring.DISTILLED) if scoring.DISTILLED in networks]
    speeds = {name: scoring.speeds(networks[name], held_out) for name in compared}
    stage.run.log({f"tokens_per_second/{name}": value for name, value in flat(speeds, "/").items()})
    write_text(timing("speed"), json.dumps(speeds) + "\n")


def _benchmarks(
    stage: Stage[Evaluate], networks: scoring.Networks, tokenizer: PreTrainedTokenizerBase
) -> dict[str, Benchmark]:
    """Return what every model scores on each benchmark."""
    params = stage.params
    if not params.benchmarks:
        return {}
    from jokbo.evaluation import benchmarks  # it needs what takes seconds to import

    found: dict[str, Benchmark] = {}
    for name, benchmark in params.benchmarks.items():
        say(stage, [f"{len(networks)} models are asked the benchmark {name}"])
        found[name] = benchmarks.scores(name, benchmark, networks, tokenizer, params.seed, params.bootstrap)
        what = f"examples of {name} begin before what the context holds"
        note(stage, f"benchmarks.{name}", found[name].cut, found[name].examples, what)
    return found


def _rows(
    prompts: list[str], samples: Mapping[str, list[str]], positive: Mapping[str, np.ndarray]
) -> list[dict[str, Any]]:
    """Return a row a prompt: what each model wrote, and the judge's probability that the response is positive."""
    return [
        {"prompt": prompt}
        | {name: texts[i] for name, texts in samples.items()}
        | {"judge": {name: float(found[i]) for name, found in positive.items()}}
        for i, prompt in enumerate(prompts)
    ]


if __name__ == "__main__":
    run_stage("evaluate", evaluate)
