"""The reward model's loss, its normalisation and what it reads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from jokbo.alignment import reward
from jokbo.models import heads
from tests.support.networks import END, PADDING, network, tokens


def model():
    return reward.on_policy(network(), seed=0).eval()


def test_loss_is_bradley_terrys_and_stays_finite() -> None:
    net = model()
    preferred, rejected = tokens(4, seed=1), tokens(4, seed=2)
    loss, metrics = reward.Compare(net)(preferred, rejected)
    margin = (heads.outputs(net, preferred) - heads.outputs(net, rejected)).squeeze(-1)
    torch.testing.assert_close(loss, -torch.sigmoid(margin).log().mean())
    assert metrics["accuracy"].item() == (margin > 0).float().mean().item()
    with torch.no_grad():
        net.score.weight.mul_(1e4)  # sigmoid would be 0 here, and its logarithm minus infinity
    loss, _ = reward.Compare(net)(preferred, rejected)
    margin = (heads.outputs(net, preferred) - heads.outputs(net, rejected)).squeeze(-1)
    torch.testing.assert_close(loss, margin.neg().clamp(min=0).mean(), rtol=1e-3, atol=1.0)


def test_rewards_over_the_samples_have_mean_0_and_deviation_1_also_once_saved(tmp_path: Path) -> None:
    net, samples = model(), tokens(50)
    reward.normalise(net, samples)
    net.save_pretrained(tmp_path)
    opened = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    for each in (net, opened):
        given = reward.rewards(each, samples)
        assert given.mean().item() == pytest.approx(0, abs=1e-4)
        assert given.std().item() == pytest.approx(1, abs=1e-3)
    assert opened.config.num_labels == 1


def test_an_response_cut_short_is_closed_and_an_ended_one_left() -> None:
    rows = torch.tensor([[5, 6, 7, 8], [5, 6, END, PADDING], [5, 6, 7, END]])
    closed = reward.with_end_of_text(rows, END, PADDING)
    assert closed.tolist() == [
        [5, 6, 7, 8, END],
        [5, 6, END, PADDING, PADDING],
        [5, 6, 7, END, PADDING],
    ]
