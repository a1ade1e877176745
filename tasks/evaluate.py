"""Every model of the chain on the same held-out prompts, with what each judge of params.yaml says of its responses.

`python -m tasks.evaluate`
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from jokbo.alignment import ensembles
from jokbo.data.prompts import Prompts
from jokbo.data.tables import open_splits, open_table
from jokbo.evaluation import scoring
from jokbo.evaluation.evaluation import Benchmark
from jokbo.evaluation.judges.judge import Given, Judged
from jokbo.evaluation.judges.kinds import JUDGES
from jokbo.models import access
from jokbo.runtime.files import atomic_write_folder, write_text
from jokbo.runtime.tracking import flat
from tasks.frame import paths
from tasks.frame.records import is_there, note, note_few, say, write_metrics
from tasks.frame.stage import Stage, run_stage, timing

if TYPE_CHECKING:
    import numpy as np

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
    # one prompt a text: prompts are independent
    held_out = Prompts.open(paths.PROMPTS / "test", limit=params.prompts)
    note_few(stage, "prompts", params.prompts, len(held_out))

    say(stage, [f"{len(networks)} models respond to {len(held_out):,} prompts each"])
    rollouts = scoring.responses(networks, held_out, params)
    samples = {name: rollout.texts(tokenizer) for name, rollout in rollouts.items()}
    lengths = {name: rollout.lengths_B.numpy() for name, rollout in rollouts.items()}
    say(stage, ["the models' perplexity is measured"])
    rewards = scoring.rewarded(_reward_models(), rollouts, tokenizer) if is_there(paths.REWARD) else {}
    scores = scoring.scored(networks, rollouts, held_out, rewards)
    judged = _judged(stage, samples, {name: found.numpy() for name, found in rewards.items()})
    judges = {
        name: scoring.judge_result(params.judges[name].kind, found, lengths, params)
        for name, found in judged.items()
    }
    evaluation = scoring.evaluation(networks, samples, scores, judges, held_out, params)
    evaluation = replace(evaluation, benchmarks=_benchmarks(stage, networks, tokenizer))

    with atomic_write_folder(paths.EVALUATION) as folder:
        evaluation.save(folder / "evaluation.json")
        prompts = rollouts[scoring.SUPERVISED].prompts(tokenizer)
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in _rows(prompts, samples, judged))
        (folder / "samples.jsonl").write_text("".join(lines), "utf-8")
    write_metrics(stage, evaluation)
    # a speed is this machine's and this moment's: it goes to the records of runs, not into outputs
    compared = [name for name in (scoring.SUPERVISED, scoring.DISTILLED) if scoring.DISTILLED in networks]
    speeds = {name: scoring.speeds(networks[name], held_out) for name in compared}
    stage.run.log({f"tokens_per_second/{name}": value for name, value in flat(speeds, "/").items()})
    write_text(timing("speed"), json.dumps(speeds) + "\n")


def _reward_models() -> list[PreTrainedModel]:
    return [access.accelerated(member) for member in ensembles.opened(paths.REWARD)]


def _judged(
    stage: Stage[Evaluate], samples: Mapping[str, list[str]], rewards: Mapping[str, np.ndarray]
) -> dict[str, Judged]:
    """Return what each judge says, in their order in params.yaml."""
    given = Given(
        name="",
        responses=samples,
        rewards=rewards,
        set_aside=lambda: open_table(paths.JUDGE_TEXTS),
        test=lambda: open_splits(paths.DOCUMENTS)["test"],
    )
    found = {}
    for name, settings in stage.params.judges.items():
        say(stage, [f"{name} judges the responses"])
        found[name] = JUDGES[settings.kind](settings, replace(given, name=name))
    return found


def _benchmarks(
    stage: Stage[Evaluate], networks: scoring.Networks, tokenizer: PreTrainedTokenizerBase
) -> dict[str, Benchmark]:
    """Return what every model scores on each benchmark."""
    params = stage.params
    if not params.benchmarks:
        return {}
    from jokbo.evaluation.benchmarks import harness  # it needs what takes seconds to import

    found: dict[str, Benchmark] = {}
    for name, benchmark in params.benchmarks.items():
        say(stage, [f"{len(networks)} models are asked the benchmark {name}"])
        found[name] = harness.scores(name, benchmark, networks, tokenizer, params.seed, params.bootstrap)
        what = f"examples of {name} begin before what the context holds"
        note(stage, f"benchmarks.{name}", found[name].cut, found[name].examples, what)
    return found


def _rows(
    prompts: list[str], samples: Mapping[str, list[str]], judged: Mapping[str, Judged]
) -> list[dict[str, Any]]:
    """Return a row a prompt: what each model wrote, and each judge's score of that."""
    scores = {
        judge: {name: found.tolist() for name, found in own.scores.items()} for judge, own in judged.items()
    }
    return [
        {"prompt": prompt}
        | {name: texts[i] for name, texts in samples.items()}
        | {
            "judges": {
                judge: {name: found[i] for name, found in own.items()} for judge, own in scores.items()
            }
        }
        for i, prompt in enumerate(prompts)
    ]


if __name__ == "__main__":
    run_stage("evaluate", evaluate)
