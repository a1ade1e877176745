"""The reward model, fitted to preference pairs, scored on others that no stage has seen.

`python -m tasks.reward`
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from jokbo.alignment import agreement
from jokbo.alignment import reward as rewards
from jokbo.alignment.results import RewardModel
from jokbo.data.tables import open_splits, rows_of
from jokbo.models import heads
from jokbo.preferences.pairs import decided
from jokbo.training import engine, memory
from tasks.frame.paths import POLICY, PREFERENCES, REWARD
from tasks.frame.records import leave_out, note, write_curves, write_metrics
from tasks.frame.stage import Stage, run_stage

if TYPE_CHECKING:
    from jokbo.params import NoReward, Reward


def reward(stage: Stage[Any]) -> None:
    params: Reward | NoReward = stage.params
    if params.kind == "none":
        leave_out(REWARD, "reward.kind is none in params.yaml")
        write_curves(stage, {})
        write_metrics(stage, {})
        return
    table = open_splits(PREFERENCES)
    pairs, test = decided(rows_of(table["train"])), decided(rows_of(table["test"]))
    ties, whole = len(table["train"]) - len(pairs), len(table["train"])
    note(stage, "ties", ties, whole, "pairs are ties: the reward model learns nothing of them")
    tokenizer = AutoTokenizer.from_pretrained(POLICY)
    policy = AutoModelForCausalLM.from_pretrained(POLICY, dtype=torch.float32)
    network = rewards.on_policy(policy, seed=params.seed)
    sides = rewards.encode(tokenizer, pairs, params.context)
    truncated = sum(heads.full(side_NS, tokenizer.eos_token_id) for side_NS in sides)
    why = "texts fill reward.context: the rest of them is not read"
    note(stage, "truncated", truncated, 2 * len(pairs), why)

    batch_at = rewards.batches(sides, network, params.training.batch_size, params.seed)
    objective = rewards.Compare(network)
    memory.check(objective, batch_at, params.training, stage.job())
    history = engine.train(objective, batch_at, params.training, stage.job())
    # its own samples are the policy's; where nobody compared any, other people's responses stand in for them
    sampled = [row for row in pairs if row["by_policy"]] or pairs
    sampled = sampled[: params.normalisation_samples // 2]
    rewards.normalise(network, torch.cat(rewards.encode(tokenizer, sampled, params.context)))
    engine.save_network(network, tokenizer, REWARD, [POLICY, PREFERENCES], POLICY)
    write_curves(stage, {"reward": history})
    score = agreement.with_people(network, tokenizer, test, params.context)
    write_metrics(stage, RewardModel(score))


if __name__ == "__main__":
    run_stage("reward", reward, parallel=True)
