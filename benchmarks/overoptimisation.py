"""`python -m benchmarks.overoptimisation`: gold and proxy scores over KL, by the size of the proxy (Gao et al. 2022).

It reads what the last run of this folder left: models/policy, models/reward, data/prompts, and params.yaml. The chain's
reward model is the gold one. A proxy is a network from scratch of a size of its own, with a reward head, that learns as
`reward` of params.yaml says from pairs of the policy's responses. Best-of-n and PPO without a price of KL are then
optimised against each. The table goes to the terminal, the figures to .jokbo/overoptimisation. What was found is kept
there by the hash of all that it depends on: a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from benchmarks import scratch
from jokbo import params
from jokbo.alignment import fitting, overoptimisation, ppo
from jokbo.alignment import reward as rewards
from jokbo.alignment.networks import Networks
from jokbo.alignment.rollouts import Experience
from jokbo.data.prompts import Prompts
from jokbo.models import access, causal
from jokbo.preferences.weights import hash_of
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import in_one_line, read_if_there, write_text
from jokbo.runtime.tracking import Run
from jokbo.sampling import Rollout, sample
from jokbo.training.job import Job
from tasks.frame.paths import POLICY, PROMPTS, REWARD
from tasks.frame.stage import state

SIZES = [32, 64, 128, 256]  # hidden sizes of the proxies
PAIRS, ASKED, CHOICES = 4000, 128, 64  # pairs to learn from; held-out prompts, and responses to each


@dataclass(frozen=True)
class Bench:
    """What all proxies have in common."""

    settings: params.Params
    policy: PreTrainedModel
    gold: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    folder: Path

    def said(self, prompts_BP: Tensor, seed: int) -> Rollout:
        """Return a response of the policy to each prompt."""
        own = self.settings
        count = own.prompts.response_tokens
        return sample(self.policy, prompts_BP, response_tokens=count, temperature=1.0, seed=seed)

    def scores(self, model: PreTrainedModel, rollout: Rollout) -> Tensor:
        """Return a reward model's normalised rewards, [B]."""
        end, padding = access.end_of_text(self.tokenizer), access.padding(self.tokenizer)
        return rewards.rewards(model, rewards.with_end_of_text(rollout.tokens_BS, end, padding)).cpu()


def proxy_of(bench: Bench, hidden_size: int, pairs: Rollout) -> PreTrainedModel:
    """Return a proxy that learned which of two responses to a prompt, next to each other, the gold model prefers."""
    start, _, _ = scratch.parts(bench.settings)
    own = start.model_copy(update={"hidden_size": hidden_size})
    config = causal.configuration(
        own,
        vocabulary=len(bench.tokenizer),
        end_of_text=access.end_of_text(bench.tokenizer),
        padding=access.padding(bench.tokenizer),
    )
    network = rewards.on_policy(causal.build(config, seed=1), seed=1)
    texts = pairs.texts(bench.tokenizer)
    rows = overoptimisation.labelled(
        pairs.prompts(bench.tokenizer)[::2],
        list(zip(texts[::2], texts[1::2], strict=True)),
        bench.scores(bench.gold, pairs).view(-1, 2),
    )
    name = f"proxy-{hidden_size}"
    job = Job(name, 1, bench.settings.compute, Run(), bench.folder / name)
    settings = bench.settings.reward
    assert isinstance(settings, params.Reward)
    fitting.fit(network, fitting.read(bench.tokenizer, rows, settings), settings, job)
    end, padding = access.end_of_text(bench.tokenizer), access.padding(bench.tokenizer)
    rewards.normalise(network, rewards.with_end_of_text(pairs.tokens_BS, end, padding))
    return network


def by_ppo(bench: Bench, proxy: PreTrainedModel, name: str, prompts: Prompts) -> list[overoptimisation.Point]:
    """Return both scores of the rollout of each iteration of PPO against a proxy, without a price of KL."""
    free = {"kl_coefficient": 0.0, "kl_gain": 0.0, "unfinished_penalty": 0.0, "rollouts_every": 1}
    assert isinstance(bench.settings.align, params.Ppo)
    settings = bench.settings.align.model_copy(update=free)
    file, found = bench.folder / f"{name}-points.json", {}

    def record(iteration: int, seen: Experience) -> None:
        kept = read_if_there(file) or {}
        kept[str(iteration)] = {
            "kl": seen.kl_BR.sum(1).mean().item(),
            "proxy": seen.scores_B.mean().item(),
            "gold": bench.scores(bench.gold, seen.rollout).mean().item(),
        }
        write_text(file, json.dumps(kept))

    policy, reference = (AutoModelForCausalLM.from_pretrained(POLICY, dtype=torch.float32) for _ in range(2))
    # the value learns of any rewards: it begins as the gold model for all proxies alike
    value = AutoModelForSequenceClassification.from_pretrained(REWARD, dtype=torch.float32)
    count = bench.settings.prompts.response_tokens
    networks = Networks(policy, value, reference, proxy, count, settings.minibatch)
    job = Job(name, settings.seed, bench.settings.compute, Run(), bench.folder / name)
    ppo.align(networks, prompts.prompts_NP, settings, job, record)
    found = read_if_there(file) or {}
    return [found[number] for number in sorted(found, key=int)]


def measured(bench: Bench, sizes: Sequence[int]) -> dict[str, dict[str, Any]]:
    """Return for each proxy, by its weights, a curve of each form."""
    train = Prompts.open(PROMPTS / "prompts")
    test = Prompts.open(PROMPTS / "test", limit=ASKED)
    asked = train.prompts_NP[torch.arange(PAIRS) % len(train.prompts_NP)]
    pairs = bench.said(asked.repeat_interleave(2, dim=0), seed=11)
    choices = bench.said(test.prompts_NP.repeat_interleave(CHOICES, dim=0), seed=12)
    gold_NM = bench.scores(bench.gold, choices).view(-1, CHOICES)
    found = {}
    for size in sizes:
        file = bench.folder / f"{size}.json"
        if (kept := read_if_there(file)) is None:
            proxy = proxy_of(bench, size, pairs)
            proxy_NM = bench.scores(proxy, choices).view(-1, CHOICES)
            agree = (proxy_NM[:, 0] > proxy_NM[:, 1]) == (gold_NM[:, 0] > gold_NM[:, 1])
            kept = {
                "weights": proxy.num_parameters(),
                "agrees": agree.double().mean().item(),
                overoptimisation.FORMS[0]: overoptimisation.by_best_of_n(proxy_NM, gold_NM),
                overoptimisation.FORMS[1]: by_ppo(bench, proxy, f"ppo-{size}", train),
            }
            write_text(file, json.dumps(kept) + "\n")
        found[f"{kept['weights']:,}"] = kept
    return found


def shown(found: dict[str, dict[str, Any]]) -> Table:
    """Return a row a proxy and form: both scores at the end, and where the gold one is highest."""
    table = Table(
        "weights", "agrees with gold", "form", "KL", "proxy", "gold", "highest gold", "at KL", "law's peak"
    )
    for weights, own in found.items():
        for form in overoptimisation.FORMS:
            curve = own[form]
            last, best = curve[-1], max(curve, key=lambda point: point["gold"])
            peak = overoptimisation.fitted(curve, form).peak
            numbers = (last["kl"], last["proxy"], last["gold"], best["gold"], best["kl"])
            cells = [f"{number:.2f}" for number in numbers]
            table.add_row(
                weights, f"{own['agrees']:.0%}", form, *cells, "none" if peak is None else f"{peak:.1f}"
            )
    return table


def main(sizes: Sequence[int]) -> None:
    """Print the table, and leave the figures."""
    with in_one_line():
        own = params.load()
        if not isinstance(own.align, params.Ppo) or not isinstance(own.reward, params.Reward):
            raise InputError("params.yaml: align.kind: this benchmark is of ppo, and of a reward model")
        for path in (POLICY, REWARD, PROMPTS):
            if not path.is_dir():
                raise InputError(f"{path}: not there: run `python -m flows.pipeline --until reward`")
        start, _, _ = scratch.parts(own)
        if bad := [size for size in sizes if size <= 0 or size % start.heads]:
            raise InputError(f"--sizes {bad[0]}: pretrain.start.heads, {start.heads}, must divide it")
        alone = own.model_copy(update={"compute": own.compute.model_copy(update={"processes": 1})})
        policy = AutoModelForCausalLM.from_pretrained(POLICY, dtype=torch.float32)
        gold = AutoModelForSequenceClassification.from_pretrained(REWARD, dtype=torch.float32)
        key = hash_of(policy)
        key.update(hash_of(gold).digest())
        key.update(
            json.dumps([own.reward.model_dump(mode="json"), own.align.model_dump(mode="json")]).encode()
        )
        folder = state() / "overoptimisation" / key.hexdigest()[:16]
        bench = Bench(alone, policy, gold, AutoTokenizer.from_pretrained(POLICY), folder)
        found = measured(bench, sizes)
        for form in overoptimisation.FORMS:
            drawn = overoptimisation.chart({name: each[form] for name, each in found.items()}, form)
            drawn.figure.savefig(folder / f"{drawn.name}.svg")
            print(f"{drawn.title}: {folder / drawn.name}.svg")
        Console(width=150).print(shown(found))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    main(parser.parse_args().sizes)
