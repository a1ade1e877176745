"""PPO, or one of its baselines: trained on as many responses as PPO is, then asked the held-out prompts.

`python -m tasks.alignment rloo`
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, cast

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)

from jokbo.alignment import ensembles
from jokbo.alignment.baselines.common import Baseline, Given, HeldOut, Responses
from jokbo.alignment.networks import Networks
from jokbo.alignment.value import start_of
from jokbo.data.prompts import Prompts
from jokbo.runtime.files import write_text
from jokbo.training import engine, processes
from tasks.frame import paths
from tasks.frame.paths import ABOVE, BASELINE_MODELS, BASELINE_RESPONSES
from tasks.frame.records import leave_out, note_few, write_curves, write_metrics
from tasks.frame.stage import Stage, run_stage

if TYPE_CHECKING:
    from jokbo.params import Alignment

POLICY, REWARD, PROMPTS = (ABOVE / path for path in (paths.POLICY, paths.REWARD, paths.PROMPTS))


def alignment(stage: Stage[Alignment]) -> None:
    processes.join()
    name = stage.name.partition("@")[2]
    own, tokenizer = stage.params.baselines[name], AutoTokenizer.from_pretrained(POLICY)
    baseline = cast(Baseline, import_module(f"jokbo.alignment.baselines.{own.kind}"))
    made = baseline.made(_given(stage), own)
    if made.policy is None:
        leave_out(
            BASELINE_MODELS / name,
            "what responds is no network, but a choice among the supervised policy's responses",
        )
    else:
        engine.save_network(made.policy, tokenizer, BASELINE_MODELS / name, [POLICY, REWARD, PROMPTS])
    write_text(BASELINE_RESPONSES / f"{name}.jsonl", _lines(made.responses, tokenizer))
    write_curves(stage, {name: made.history})
    last = made.history[-1]
    found = {key: last[key] for key in ("samples", "seconds")}
    write_metrics(stage, {"kind": own.kind, **found, "reward": made.responses.rewards_B.mean().item()})


def _given(stage: Stage[Alignment]) -> Given:
    settings, held_out = stage.params.ppo, stage.params.evaluate
    policy, reference = (AutoModelForCausalLM.from_pretrained(POLICY, dtype=torch.float32) for _ in range(2))
    value, reward = (
        AutoModelForSequenceClassification.from_pretrained(REWARD, dtype=torch.float32) for _ in range(2)
    )
    asked = Prompts.open(PROMPTS / "prompts", prompts_per_text=settings.prompts_per_text)
    test = Prompts.open(PROMPTS / "test", limit=held_out.prompts)
    note_few(stage, "prompts", held_out.prompts, len(test))
    networks = Networks(
        *(policy, start_of(value, settings.value_layers), reference, reward, asked.response_tokens),
        micro_batch=stage.compute.micro_batch or settings.minibatch,
        members=ensembles.opened(REWARD, first=1),
        disagreement_cost=settings.disagreement_cost,
    )
    measured = {"temperature": held_out.temperature, "unfinished_penalty": 0.0}
    return Given(
        networks,
        asked.prompts_NP,
        settings,
        stage.params.sampled,
        HeldOut(test.prompts_NP, settings.model_copy(update=measured), held_out.seed),
        replace(stage.job(), name="alignment"),
    )


def _lines(responses: Responses, tokenizer: PreTrainedTokenizerBase) -> str:
    """Return a line of JSON for each response."""
    rollout = responses.rollout
    columns = {
        "prompt": rollout.prompts(tokenizer),
        "response": rollout.texts(tokenizer),
        "tokens": rollout.lengths_B.tolist(),
        "reward": responses.rewards_B.tolist(),
        "kl": responses.kl_B.tolist(),
    }
    rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


if __name__ == "__main__":
    run_stage(f"alignment@{sys.argv[1]}", alignment)
