"""The reward model, fitted to preference pairs, scored on others that no stage has seen.

`python -m tasks.reward`
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from jokbo.alignment import agreement, ensembles, fitting, probes
from jokbo.alignment import reward as rewards
from jokbo.alignment.labels import learned
from jokbo.alignment.results import RewardModel
from jokbo.data.tables import open_splits, rows_of
from jokbo.models import heads
from jokbo.preferences.pairs import decided
from jokbo.training import engine
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
    pairs, test = learned(rows_of(table["train"]), params.labels), decided(rows_of(table["test"]))
    ties, whole = len(table["train"]) - len(pairs), len(table["train"])
    note(stage, "ties", ties, whole, "pairs are ties: the reward model learns nothing of them")
    tokenizer = AutoTokenizer.from_pretrained(POLICY)
    policy = AutoModelForCausalLM.from_pretrained(POLICY, dtype=torch.float32)
    networks = [rewards.on_policy(policy, seed=params.seed + member) for member in range(params.members)]
    read = fitting.read(tokenizer, pairs, params)
    for name, left in read.parts.left_out().items():
        note(stage, name, *left)
    truncated = sum(heads.full(side_NS, tokenizer.eos_token_id) for side_NS in read.sides)
    why = "texts fill reward.context: the rest of them is not read"
    note(stage, "truncated", truncated, 2 * len(pairs), why)

    curves = {}
    for member, network in enumerate(networks):
        job = stage.job(f"reward-{member}" if params.members > 1 else None)
        job = replace(job, seed=params.seed + member)
        curves[job.name] = fitting.fit(network, read, params, job)

    # its own samples are the policy's; where nobody compared any, other people's responses stand in for them
    sampled = [number for number, row in enumerate(pairs) if row["by_policy"]] or list(range(len(pairs)))
    sampled = sampled[: params.normalisation_samples // 2]
    samples_NS = torch.cat([side_NS[sampled] for side_NS in read.sides])
    for member, network in enumerate(networks):
        rewards.normalise(network, samples_NS)
        folder = ensembles.folder_of(REWARD, member)
        engine.save_network(network, tokenizer, folder, [POLICY, PREFERENCES], POLICY)
    write_curves(stage, curves)
    score = agreement.with_people(networks, tokenizer, test, params.context)
    found = probes.probed(networks, tokenizer, test, params.context)
    write_metrics(stage, RewardModel(score, found))


if __name__ == "__main__":
    run_stage("reward", reward, parallel=True)
