"""The stage `reward` on a table of its own: an ensemble that learns rankings by prompts, and what it writes."""

from __future__ import annotations

import csv
import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch

from jokbo.alignment import ensembles
from jokbo.preferences import pairs
from jokbo.runtime.tracking import Run
from tasks.frame.paths import POLICY, PREFERENCES, REWARD
from tasks.frame.stage import Stage
from tasks.reward import reward
from tests.alignment.test_dpo import tokenizer
from tests.params.settings import settings
from tests.support.networks import network, tokens


def rows(prompts: range) -> list[dict[str, Any]]:
    """Return all pairs of three responses to each prompt, the last two of which nobody tells apart."""
    return [
        {
            "prompt": f"w{prompt} ",
            "responses": [f"w{word} w{prompt} w8 w{word}" for word in two],
            "choice": None if 10 not in two else 0,
            "labeller": "ana",
            "time": None,
            "source": "mine",
            "agreement": 1.0,
            "by_policy": True,
        }
        for prompt in prompts
        for two in combinations((10, 11, 12), 2)
    ]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    params = settings(
        preferences__labellers__raters__responses_per_prompt=3,
        preferences__labellers__mine={
            "kind": "file",
            "form": "rankings",
            "paths": "x.jsonl",
            "held_out": 0.1,
        },
        reward__members=2,
        reward__batch_of="prompts",
        reward__labels={"kind": "soft", "smoothing": 0.05},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        network().save_pretrained(POLICY)
        tokenizer().save_pretrained(POLICY)
        pairs.save({"train": rows(range(20, 40)), "test": rows(range(40, 48))}, PREFERENCES)
        reward(Stage("reward", params.reward, params.compute, "key", Run(), folder / "checkpoints"))
    return folder


def test_each_member_is_a_model_of_its_own(project: Path) -> None:
    one, other = ensembles.opened(project / REWARD)
    texts = tokens(5)
    assert not torch.allclose(ensembles.rewards([one], texts), ensembles.rewards([other], texts))


def test_each_member_has_a_curve(project: Path) -> None:
    with open(project / "plots/reward.csv") as file:
        found = [row["part"] for row in csv.DictReader(file)]
    assert found == ["reward-0"] * 8 + ["reward-1"] * 8


def test_its_metrics_are_those_of_decided_pairs_and_of_their_responses(project: Path) -> None:
    found = json.loads((project / "metrics/reward.json").read_text())
    assert found["human"]["comparisons"] == 16  # of 24, 8 of which are ties
    assert [each["group"] for each in found["human"]["accuracy_by_labeller"]] == ["ana"]
    assert found["probes"]["responses"] == 24
    assert found["probes"]["repetition"]["units"] == 8
