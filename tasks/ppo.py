"""PPO: the supervised policy learns what the reward model likes. `python -m tasks.ppo`"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from jokbo.alignment import ppo as ppo_
from jokbo.alignment import rollouts
from jokbo.data.prompts import Prompts
from jokbo.evaluation.results import Alignment, Change
from jokbo.runtime.files import atomic_write_folder
from jokbo.training import engine
from tasks.frame.paths import ALIGNED, POLICY, PROMPTS, REWARD, ROLLOUTS
from tasks.frame.records import write_curves, write_metrics
from tasks.frame.stage import Stage, run_stage

if TYPE_CHECKING:
    from jokbo.params import Ppo

CHANGES = [field.name for field in fields(Alignment)]


def ppo(stage: Stage[Ppo]) -> None:
    params = stage.params
    tokenizer = AutoTokenizer.from_pretrained(POLICY)
    policy, reference = (AutoModelForCausalLM.from_pretrained(POLICY, dtype=torch.float32) for _ in range(2))
    # the value network starts as the reward model (Ouyang et al. 2022, appendix C.4)
    value, reward = (
        AutoModelForSequenceClassification.from_pretrained(REWARD, dtype=torch.float32) for _ in range(2)
    )
    asked = Prompts.open(PROMPTS / "prompts", prompts_per_text=params.prompts_per_text)
    networks = ppo_.Networks(
        policy, value, reference, reward, asked.response_tokens, stage.compute.micro_batch or params.minibatch
    )
    kept = stage.checkpoints / "rollouts"

    def record(iteration: int, seen: rollouts.Experience) -> None:
        rollouts.keep(iteration, rollouts.records(iteration, seen, tokenizer), kept)
        stage.run.text(rollouts.shown(seen, tokenizer), f"samples/iteration-{iteration:05d}.txt")

    history = ppo_.align(networks, asked.prompts_NP, params, stage.job(), record)
    with atomic_write_folder(ROLLOUTS) as folder:
        rollouts.gather(kept, ppo_.recorded(params), folder)
    engine.save_network(policy, tokenizer, ALIGNED, [POLICY, REWARD, PROMPTS])
    write_curves(stage, {"ppo": history})
    write_metrics(stage, Alignment(**{name: Change(history[0][name], history[-1][name]) for name in CHANGES}))


if __name__ == "__main__":
    run_stage("ppo", ppo)
