"""What is learned of a pair, and its loss, against the formulas written out."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from jokbo.alignment import labels, reward
from jokbo.params import HARD, HardLabels, SoftLabels
from tests.support.networks import END, PADDING, network, tokens

SOFT = SoftLabels(kind="soft", smoothing=0.0)


def row(choice: int | None, *, agreement: float = 1.0, **more: float | None) -> dict[str, Any]:
    return {"prompt": "p", "responses": ["a", "b"], "choice": choice, "agreement": agreement, **more}


ROWS = [
    row(0),
    row(1, probability=0.2),
    row(None),
    row(None, probability=0.6),
    row(1, agreement=0.75, probability=None),
]


def slow(lead: float, probability: float, margin: float) -> float:
    won = 1 / (1 + math.exp(-(lead - margin)))
    return -probability * math.log(won) - (1 - probability) * math.log(1 - won)


@pytest.mark.parametrize("probability", [1.0, 0.9, 0.5, 0.1])
@pytest.mark.parametrize("margin", [0.0, 0.7])
def test_the_loss_is_the_cross_entropy_with_the_label(probability: float, margin: float) -> None:
    leads = [-3.0, -0.2, 0.0, 0.2, 3.0]
    found = labels.losses(torch.tensor(leads), torch.tensor([probability] * 5), torch.tensor([margin] * 5))
    assert found.tolist() == pytest.approx([slow(lead, probability, margin) for lead in leads], rel=1e-5)


@pytest.mark.parametrize("probability", [0.5, 0.8])
def test_the_loss_is_least_where_the_lead_says_the_label(probability: float) -> None:
    lead = torch.tensor(math.log(probability / (1 - probability)), requires_grad=True)
    labels.losses(lead, probability, 0.0).backward()
    assert lead.grad is not None
    assert lead.grad.item() == pytest.approx(0, abs=1e-6)


def test_of_choices_it_is_bradley_terrys_to_the_last_bit_and_so_is_its_gradient() -> None:
    old, new = (torch.linspace(-30, 30, 301).requires_grad_() for _ in range(2))
    torch.nn.functional.softplus(-old).mean().backward()
    made = labels.labels_of([row(0)] * 301, HARD)
    loss = labels.losses(new, *made)
    assert torch.equal(loss, torch.nn.functional.softplus(-old))
    loss.mean().backward()
    assert old.grad is not None
    assert new.grad is not None
    assert torch.equal(old.grad, new.grad)


def test_it_stays_finite() -> None:
    leads = torch.tensor([-1e4, 1e4])
    assert labels.losses(leads, torch.tensor([0.9, 0.1]), 0.5).tolist() == pytest.approx([9000.45, 8999.55])


def test_hard_labels_leave_ties_out_and_soft_ones_keep_every_pair() -> None:
    assert labels.learned(ROWS, HARD) == [ROWS[0], ROWS[1], ROWS[4]]
    assert labels.learned(ROWS, SOFT) == ROWS


def test_a_label_is_the_probability_of_what_counts_as_preferred() -> None:
    assert [labels.preferred(each) for each in ROWS] == [0, 1, 0, 0, 1]
    assert labels.labels_of(ROWS, SOFT).probability_N.tolist() == pytest.approx([1, 0.8, 0.5, 0.6, 1])
    assert labels.labels_of(ROWS, SOFT).margin_N.tolist() == [0.0] * 5


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (HardLabels(kind="hard", smoothing=0.1, margin=0.0), [0.9, 0.9]),
        (SoftLabels(kind="soft", smoothing=0.1), [0.9, 0.1 * 0.2 + 0.9 * 0.8]),
    ],
)
def test_smoothing_turns_a_label_round_with_its_probability(settings: Any, expected: list[float]) -> None:
    assert labels.labels_of(ROWS[:2], settings).probability_N.tolist() == pytest.approx(expected)


def test_a_margin_is_as_large_as_the_agreement() -> None:
    rows = [row(0), row(0, agreement=0.75), row(0, agreement=0.5), row(1, probability=0.3)]
    found = labels.labels_of(rows, HardLabels(kind="hard", smoothing=0.0, margin=2.0))
    assert found.margin_N.tolist() == pytest.approx([2.0, 1.0, 0.0, 0.8])


def test_a_lead_is_right_on_the_side_of_its_label_and_half_right_of_a_tie() -> None:
    leads = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0])
    assert labels.right(leads, torch.tensor([0.9, 0.9, 0.1, 0.1, 0.5])).tolist() == [1, 0, 0, 1, 0.5]
    assert labels.right(leads, 1.0).tolist() == [1, 0, 1, 0, 1]


def test_a_batch_holds_the_labels_of_its_own_pairs() -> None:
    net = reward.on_policy(network(), seed=0)
    sides = tuple(tokens(16, seed=seed) for seed in (1, 2))
    for number in range(16):  # of different lengths, so that the pairs are dealt out
        sides[0][number, 4 + number :], sides[1][number, 3 + number :] = PADDING, PADDING
        sides[0][number, 3 + number] = END
    made = labels.Labels(torch.arange(16) / 16, torch.arange(16) / 8)
    batch = reward.batches((sides[0], sides[1]), made, net, 4, 1)(0)
    for at in range(4):
        number = int(batch["probability_B"][at] * 16)
        width = batch["preferred_BS"].shape[1]
        assert torch.equal(batch["preferred_BS"][at], sides[0][number, :width])
        assert batch["margin_B"][at] == number / 8
    loss, _ = reward.Compare(net)(**batch)
    lead_B = (
        reward.heads.outputs(net, batch["preferred_BS"]) - reward.heads.outputs(net, batch["rejected_BS"])
    )[:, 0]
    expected = [
        slow(*each)
        for each in zip(
            lead_B.tolist(), batch["probability_B"].tolist(), batch["margin_B"].tolist(), strict=True
        )
    ]
    assert loss.item() == pytest.approx(sum(expected) / 4, rel=1e-4)
