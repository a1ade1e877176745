"""What rewards make of length and of repetition, against each response read by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr
from transformers import PreTrainedModel

from jokbo.alignment import probes, reward
from jokbo.models import heads
from tests.alignment.test_dpo import tokenizer
from tests.support.networks import network

CONTEXT = 16


def row(prompt: str, first: str, second: str) -> dict[str, Any]:
    return {"prompt": prompt, "responses": [first, second], "choice": 0}


ROWS = [
    row("w2 w3 ", "w5 w6 w7 w8", "w9 w10 w11 w12 w13 w14"),
    row("w2 w3 ", "w5 w6 w7 w8", "w20 w21 w22 w23 w24"),  # the first response is there already
    row("", "w30 w31 w32 w33 w34 w35 w36", "w40 w41 w42"),  # of which one has no halves
    row("", "w44 w45 w46 w47", " ".join(f"w{number}" for number in range(2, 20))),  # nor fits one the context
]


def model() -> PreTrainedModel:
    net = reward.on_policy(network(), seed=0).eval()
    net.config.reward_mean, net.config.reward_std = 0.5, 2.0
    return net


def score(net: PreTrainedModel, text: str) -> float:
    raw = heads.outputs(net, heads.encode(tokenizer(), [text], CONTEXT)).item()
    return (raw - 0.5) / 2.0


def test_the_probes_are_means_over_responses_read_one_by_one() -> None:
    net = model()
    found = probes.probed([net], tokenizer(), ROWS, CONTEXT)
    assert (found.responses, found.left_out) == (5, 2)
    forms = {
        "w2 w3 w5 w6 w7 w8": ("w2 w3 w5 w6", "w2 w3 w5 w6 w5 w6"),
        "w2 w3 w9 w10 w11 w12 w13 w14": ("w2 w3 w9 w10 w11", "w2 w3 w9 w10 w11 w9 w10 w11"),
        "w2 w3 w20 w21 w22 w23 w24": ("w2 w3 w20 w21", "w2 w3 w20 w21 w20 w21"),
        "w30 w31 w32 w33 w34 w35 w36": ("w30 w31 w32", "w30 w31 w32 w30 w31 w32"),
        "w44 w45 w46 w47": ("w44 w45", "w44 w45 w44 w45"),
    }
    second = [score(net, whole) - score(net, half) for whole, (half, _) in forms.items()]
    again = [score(net, twice) - score(net, half) for half, twice in forms.values()]
    assert found.second_half is not None
    assert found.repetition is not None
    assert found.second_half["value"] == pytest.approx(np.mean(second), abs=1e-4)
    assert found.repetition["value"] == pytest.approx(np.mean(again), abs=1e-4)
    assert found.repetition["units"] == 3  # the prompt, and two texts that answer none
    lengths = [len(whole.split()) for whole in forms]
    expected = spearmanr(lengths, [score(net, whole) for whole in forms]).statistic
    assert found.length_correlation is not None
    assert found.length_correlation["value"] == pytest.approx(expected, abs=1e-6)


def test_what_one_unit_says_has_no_interval_and_is_not_said() -> None:
    found = probes.probed([model()], tokenizer(), ROWS[:1], CONTEXT)
    assert (found.responses, found.left_out) == (2, 0)
    assert found.length_correlation is found.second_half is found.repetition is None


def test_a_constant_has_no_correlation() -> None:
    units = [(number,) for number in range(4)]
    assert probes.rank_correlation(np.ones(4), np.arange(4), units) is None
    rising = probes.rank_correlation(np.arange(4), np.arange(4) ** 2, units)
    assert rising is not None
    assert rising["value"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("text", "half"), [("a b c d", "a b"), (" a  a\na a a", " a  a"), ("ab a", "ab"), ("one", "")]
)
def test_a_half_is_of_whole_words(text: str, half: str) -> None:
    assert probes.first_half(text) == half
