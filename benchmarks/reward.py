"""`python -m benchmarks.reward` tells what more preference pairs are worth: accuracy on held-out pairs by the share of
the pairs that the reward model learned, over seeds.

It reads what the last run of this folder left: data/preferences, models/policy, and `reward` of params.yaml. Any share
of the pairs is met as often as all of them would be, so its steps and their warm-up are that share of the whole
training's. Smaller shares are parts of larger ones. What a training found is kept in .jokbo/benchmarks/reward, by the
hash of all that it depends on: a run that was stopped goes on, and one that came to its end is not repeated.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from jokbo import params
from jokbo.alignment import agreement, fitting
from jokbo.alignment import reward as rewards
from jokbo.alignment.labels import learned
from jokbo.data.tables import open_splits, rows_of
from jokbo.preferences.pairs import decided
from jokbo.preferences.weights import hash_of
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import in_one_line, read_if_there, write_text
from jokbo.runtime.tracking import Run
from jokbo.training.job import Job
from tasks.frame.paths import POLICY, PREFERENCES
from tasks.frame.stage import state

if TYPE_CHECKING:
    from jokbo.data.tables import Row
    from jokbo.params import Compute, Reward

SHARES, SEEDS = [0.125, 0.25, 0.5, 1.0], [1, 2, 3]


@dataclass(frozen=True)
class Data:
    """What all trainings have in common."""

    policy: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    train: Sequence[Row]
    test: Sequence[Row]
    settings: Reward

    def key(self) -> str:
        """Return the hash of all that what is found depends on."""
        found = hash_of(self.policy)
        rows = [list(part) for part in (self.train, self.test)]
        found.update(json.dumps([self.settings.model_dump(mode="json"), rows], sort_keys=True).encode())
        return found.hexdigest()


def part_of(rows: Sequence[Row], share: float) -> list[Row]:
    """Return a share of the pairs, of at least one, in their order: the same ones each time, all of a smaller share."""
    order = np.random.default_rng(0).permutation(len(rows))
    return [rows[i] for i in sorted(order[: max(1, round(share * len(rows)))].tolist())]


def shortened(settings: Reward, share: float) -> Reward:
    """Return the settings with this share of the steps and of their warm-up, and one step at least."""
    steps = max(1, round(share * settings.training.steps))
    warmup = min(round(share * settings.training.warmup_steps), steps - 1)
    training = settings.training.model_copy(update={"steps": steps, "warmup_steps": warmup})
    return settings.model_copy(update={"training": training})


def point(data: Data, share: float, seed: int, compute: Compute, folder: Path) -> dict[str, Any]:
    """Return how many pairs one training learned, and its accuracy on held-out pairs, an estimate by text.

    It is read where it is kept in the folder, else found and kept there.
    """
    name = f"{share:g}-{seed}"
    file = folder / f"{name}.json"
    if (kept := read_if_there(file)) is not None:
        return kept
    pairs = part_of(data.train, share)
    network = rewards.on_policy(data.policy, seed=seed)
    job = Job(f"reward {name}", seed, compute, Run(), folder / name)
    settings = shortened(data.settings, share)
    fitting.fit(network, fitting.read(data.tokenizer, pairs, settings), settings, job)
    score = agreement.with_people([network], data.tokenizer, data.test, data.settings.context)
    found = {"pairs": len(pairs), "accuracy": score.accuracy}
    write_text(file, json.dumps(found) + "\n")
    return found


def shown(points: dict[float, list[dict[str, Any]]]) -> Table:
    """Return a row a share: its pairs, the mean accuracy over seeds with the least and the largest, and the mean
    standard error by text."""
    table = Table("share", "pairs", "accuracy", "least", "largest", "standard error by text")
    for share, found in points.items():
        values = [each["accuracy"]["value"] for each in found]
        error = np.mean([each["accuracy"]["standard_error"] for each in found])
        numbers = (np.mean(values), min(values), max(values), error)
        table.add_row(f"{share:g}", f"{found[0]['pairs']:,}", *(f"{number:.3f}" for number in numbers))
    return table


def _opened(settings: Reward) -> Data:
    for path in (PREFERENCES, POLICY):
        if not path.is_dir():
            raise InputError(f"{path}: not there: run `python -m flows.pipeline --until preferences`")
    table = open_splits(PREFERENCES)
    train, test = learned(rows_of(table["train"]), settings.labels), decided(rows_of(table["test"]))
    policy = AutoModelForCausalLM.from_pretrained(POLICY, dtype=torch.float32)
    return Data(policy, AutoTokenizer.from_pretrained(POLICY), train, test, settings)


def main(shares: Sequence[float], seeds: Sequence[int]) -> None:
    """Print the table."""
    with in_one_line():
        own = params.load()
        if own.reward.kind == "none":
            raise InputError("params.yaml: reward.kind is none: there is no reward model to measure")
        if bad := [share for share in shares if not 0 < share <= 1]:
            raise InputError(f"--shares {bad[0]:g}: give shares above 0, to 1")
        compute, data = own.compute.model_copy(update={"processes": 1}), _opened(own.reward)
        folder = state() / "benchmarks" / "reward" / data.key()[:16]
        points = {share: [point(data, share, seed, compute, folder) for seed in seeds] for share in shares}
    Console(width=120).print(shown(points))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__ and __doc__.partition(":")[0])
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES, help="of the pairs, above 0, to 1")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="a training each, at every share")
    options = parser.parse_args()
    main(options.shares, options.seeds)
