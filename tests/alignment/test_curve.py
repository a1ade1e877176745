"""`python -m benchmarks.reward`: accuracy by the share of the pairs, on a tiny network."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from benchmarks import reward as curve
from jokbo.params import Reward
from jokbo.runtime.errors import InputError
from tests.alignment.test_dpo import tokenizer
from tests.params.settings import settings
from tests.support.networks import network


def rows(count: int, first: int = 2) -> list[dict[str, Any]]:
    """Return pairs of responses of two words each."""
    return [
        {
            "prompt": "",
            "responses": [f"w{2 * number + first} w{number + 3}", f"w{2 * number + first + 1} w{number + 5}"],
            "choice": 0,
            "labeller": None,
            "source": "mine",
            "agreement": 1.0,
        }
        for number in range(count)
    ]


def own(**changes: Any) -> Reward:
    made = settings(reward__training__precision="fp32", **changes).reward
    assert isinstance(made, Reward)
    return made.model_copy(update={"context": 8})


def data(**changes: Any) -> curve.Data:
    return curve.Data(network(), tokenizer(), rows(24), rows(8, first=3), own(**changes))


def test_smaller_shares_are_parts_of_larger_ones() -> None:
    whole = rows(20)
    parts = [curve.part_of(whole, share) for share in (0.1, 0.5, 1.0)]
    assert [len(part) for part in parts] == [2, 10, 20]
    assert parts[2] == whole
    for small, large in pairwise(parts):
        assert all(row in large for row in small)
    assert len(curve.part_of(whole, 0.001)) == 1


@pytest.mark.parametrize(("share", "steps", "warmup"), [(1.0, 8, 1), (0.5, 4, 0), (0.01, 1, 0)])
def test_a_share_of_the_pairs_is_met_as_often(share: float, steps: int, warmup: int) -> None:
    training = curve.shortened(own(), share).training
    assert (training.steps, training.warmup_steps) == (steps, warmup)
    assert training.optimizer == own().training.optimizer


def test_what_was_found_is_kept_and_read_again(tmp_path: Path) -> None:
    compute = settings().compute
    found = curve.point(data(), 0.5, 1, compute, tmp_path)
    assert found["pairs"] == 12
    assert 0 <= found["accuracy"]["value"] <= 1
    file = tmp_path / "0.5-1.json"
    assert json.loads(file.read_text()) == found
    file.write_text(json.dumps({**found, "pairs": 7}))
    assert curve.point(data(), 0.5, 1, compute, tmp_path)["pairs"] == 7
    table = curve.shown({0.5: [found, {**found, "accuracy": {**found["accuracy"], "value": 1.0}}]})
    assert [column.header for column in table.columns][:3] == ["share", "pairs", "accuracy"]
    assert next(iter(table.columns[1].cells)) == "12"


def test_other_data_or_settings_have_another_folder() -> None:
    one, other = data(), data(reward__training__steps=9)
    assert one.key() == data().key()
    assert (
        len({one.key(), other.key(), curve.Data(network(seed=1), *list(vars(one).values())[1:]).key()}) == 3
    )


def test_too_few_pairs_for_a_batch_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="data/preferences makes 2 samples, too few for one batch of 8"):
        curve.point(data(), 0.1, 1, settings().compute, tmp_path)
