"""XLNet: which tokens are predicted in what order, and that the order is really hidden."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from jokbo.systems import xlnet
from jokbo.systems.common import rng_of
from tests.systems.running_text import (
    SIZE,
    SPECIAL_TOKENS,
    random_tokens,
    running_text,
    same,
    sharpened,
    trained,
    unigram_entropy,
)


def tiny() -> nn.Module:
    return sharpened(xlnet.network(SIZE, SPECIAL_TOKENS, 0))


def other(tokens: Tensor) -> Tensor:
    """Another ordinary token for each."""
    return 6 + (tokens - 5) % 42


def test_spans_are_a_sixth_of_the_tokens_and_short_ones_are_likelier() -> None:
    batch_size, length = 500, 3000
    found_BT = xlnet.spans(batch_size, length, rng_of(0, 0, "spans"))
    runs = [
        sum(1 for _ in run) for row in found_BT for chosen, run in itertools.groupby(row.tolist()) if chosen
    ]
    # a window has 6 tokens for each of its span: only those that the sequence's end cuts stray from a sixth
    assert found_BT.mean() == pytest.approx(1 / 6, rel=0.003)
    weights = 1 / np.arange(1, 6) / (1 / np.arange(1, 6)).sum()
    at_edge = (weights / (5 * np.arange(1, 6) + 1)).sum()  # chance of a span to stand at its window's edge
    number = len(runs)
    mean = (weights * np.arange(1, 6)).sum() / (1 - at_edge**2)  # where two spans meet they count as one
    assert np.mean(runs) == pytest.approx(mean, abs=4 * np.std(runs) / number**0.5 + 0.005)
    for size, weight in enumerate(weights, start=1):
        assert runs.count(size) / number == pytest.approx(weight, abs=0.02)


def test_every_row_has_a_sixth_of_its_tokens_predicted_wherever_and_in_any_order() -> None:
    batch_size, length = 6000, 39
    found = xlnet.order(np.ones((batch_size, length), bool), rng_of(0, 0, "order"))
    positions_BK, ranks_BT = found["positions_BK"], found["ranks_BT"]
    assert positions_BK.shape == (batch_size, 6)
    assert torch.equal(found["weights_BK"], torch.ones(batch_size, 6))
    assert (ranks_BT.gather(1, positions_BK).sort(dim=1).values == torch.arange(6)).all()
    assert (ranks_BT >= 0).sum() == 6 * batch_size
    share_T = (ranks_BT >= 0).double().mean(0)
    spread = (6 / 39 * 33 / 39 / batch_size) ** 0.5
    assert (share_T - 6 / 39).abs().max() < 4 * spread
    by_position_BK = ranks_BT.gather(1, positions_BK.sort(dim=1).values)
    share_KK = torch.stack([(by_position_BK == rank).double().mean(0) for rank in range(6)])
    assert (share_KK - 1 / 6).abs().max() < 4 * (5 / 36 / batch_size) ** 0.5


def test_special_tokens_are_not_predicted_and_sequences_of_few_targets_count_for_less() -> None:
    eligible_BT = np.ones((2, 48), bool)
    eligible_BT[0, 10:], eligible_BT[1, 3:9] = False, False
    eligible_BT[0, :5] = False  # 5 of the 8 targets that a sequence has room for
    found = xlnet.order(eligible_BT, rng_of(0, 1, "order"))
    valid_BK = found["weights_BK"] > 0
    assert valid_BK.sum(1).tolist() == [5, 8]
    assert found["weights_BK"].mean() == pytest.approx(1)
    assert torch.from_numpy(eligible_BT).gather(1, found["positions_BK"])[valid_BK].all()
    assert (found["ranks_BT"] >= 0).sum(1).tolist() == [5, 8]
    batch = xlnet.batch(running_text(), 0, 16, 32, 0)
    predicted = batch["tokens_BT"].gather(1, batch["positions_BK"])[batch["weights_BK"] > 0]
    assert (predicted > SPECIAL_TOKENS.mask).all()
    assert batch["tokens_BT"][:, -2:].tolist() == [[SPECIAL_TOKENS.sep, SPECIAL_TOKENS.cls]] * 16


def ordered() -> tuple[Tensor, Tensor, Tensor]:
    """A sequence of 20 tokens, of which 6 are predicted: tokens, ranks, positions."""
    tokens_BT, ranks_BT = random_tokens(1, 20), torch.full((1, 20), -1)
    positions_BK = torch.tensor([[3, 4, 9, 12, 17, 18]])
    ranks_BT[0, positions_BK[0]] = torch.tensor([4, 1, 0, 5, 2, 3])
    return tokens_BT, ranks_BT, positions_BK


def streams(
    network: nn.Module, tokens_BT: Tensor, ranks_BT: Tensor, positions_BK: Tensor
) -> tuple[Tensor, Tensor]:
    """Last states of the content stream [T, D] and of the query stream [K, D]."""
    content, query = network(
        input_ids=tokens_BT,
        perm_mask=xlnet.unseen(ranks_BT),
        target_mapping=nn.functional.one_hot(positions_BK, 20).float(),
        output_hidden_states=True,
    ).hidden_states[-2:]
    return content[0], query[0]


def test_a_token_that_a_position_may_not_see_changes_nothing_there() -> None:
    network, (tokens_BT, ranks_BT, positions_BK) = tiny(), ordered()
    content_TD, query_KD = streams(network, tokens_BT, ranks_BT, positions_BK)
    logits_KV = xlnet.predictions(network, tokens_BT, ranks_BT, positions_BK)[0]
    assert content_TD.shape == (20, 32)
    assert query_KD.shape == (6, 32)
    rank_T = ranks_BT[0]
    for position in range(20):
        changed_BT = tokens_BT.clone()
        changed_BT[0, position] = other(changed_BT[0, position])
        content, query = streams(network, changed_BT, ranks_BT, positions_BK)
        logits = xlnet.predictions(network, changed_BT, ranks_BT, positions_BK)[0]
        known = rank_T[position] < 0  # of the context: every position sees it
        for at in range(20):
            sees = known or rank_T[at] > rank_T[position] or at == position
            assert torch.equal(content[at], content_TD[at]) is not bool(sees), (position, at)
        for k, at in enumerate(positions_BK[0]):
            sees = known or rank_T[at] > rank_T[position]
            assert torch.equal(query[k], query_KD[k]) is not bool(sees), (position, at)
            assert torch.equal(logits[k], logits_KV[k]) is not bool(sees), (position, at)


def test_a_prediction_knows_where_it_stands() -> None:
    """Two positions first in the order see the same tokens; without the query stream they would say the same."""
    network, (tokens_BT, _, _) = tiny(), ordered()
    ranks_BT = torch.full((1, 20), -1)
    ranks_BT[0, 5], ranks_BT[0, 13] = 0, 0
    logits_KV = xlnet.predictions(network, tokens_BT, ranks_BT, torch.tensor([[5, 13]]))[0]
    assert not torch.isclose(logits_KV[0], logits_KV[1]).any()


def test_loss_is_that_of_one_prediction_after_the_other() -> None:
    """Each target alone, with random tokens in place of itself and those that come later."""
    network, batch = tiny(), xlnet.batch(running_text(), 2, 3, 24, 0)
    losses = []
    for tokens_T, ranks_T, positions_K in zip(
        batch["tokens_BT"], batch["ranks_BT"], batch["positions_BK"], strict=True
    ):
        for position in positions_K[ranks_T[positions_K].argsort()]:
            later_T = ranks_T >= ranks_T[position]
            shown_T = torch.where(later_T, random_tokens(1, 24, seed=int(position))[0], tokens_T)
            logits_V = xlnet.predictions(network, shown_T[None], ranks_T[None], position.view(1, 1))[0, 0]
            losses.append(-nn.functional.log_softmax(logits_V, dim=-1)[tokens_T[position]])
    found, _ = xlnet.Objective(network, SPECIAL_TOKENS)(**batch)
    torch.testing.assert_close(found, torch.stack(losses).mean())
    theirs = network(
        input_ids=batch["tokens_BT"],
        perm_mask=xlnet.unseen(batch["ranks_BT"]),
        target_mapping=nn.functional.one_hot(batch["positions_BK"], 24).float(),
        labels=batch["tokens_BT"].gather(1, batch["positions_BK"]),
    ).loss
    torch.testing.assert_close(found, theirs)


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    text = running_text()
    first = xlnet.batch(text, 5, 4, 32, 1)
    assert first["tokens_BT"].shape == (4, 32)
    assert same(first, xlnet.batch(text, 5, 4, 32, 1))
    for changed in (xlnet.batch(text, 6, 4, 32, 1), xlnet.batch(text, 5, 4, 32, 2)):
        assert not torch.equal(first["tokens_BT"], changed["tokens_BT"])
        assert not torch.equal(first["ranks_BT"], changed["ranks_BT"])


def test_features_are_the_mean_state_of_text_sep_and_cls() -> None:
    network, tokens_BT = tiny(), random_tokens(3, 20)
    tokens_BT[1, 9:], tokens_BT[2, 1:] = SPECIAL_TOKENS.padding, SPECIAL_TOKENS.padding
    found_BD = xlnet.features(network, tokens_BT, SPECIAL_TOKENS)
    more_BD = xlnet.features(
        network, nn.functional.pad(tokens_BT, (0, 12), value=SPECIAL_TOKENS.padding), SPECIAL_TOKENS
    )
    torch.testing.assert_close(found_BD, more_BD, rtol=1e-4, atol=1e-5)
    for row, length, found_D in zip(tokens_BT, (20, 9, 1), found_BD, strict=True):
        alone = torch.cat([row[:length], torch.tensor([SPECIAL_TOKENS.sep, SPECIAL_TOKENS.cls])])
        expected_D = network.base_model(alone[None]).last_hidden_state[0].mean(0)
        torch.testing.assert_close(found_D, expected_D, rtol=1e-4, atol=1e-5)


def test_a_saved_network_opens_with_auto_model(tmp_path: Path) -> None:
    network, row = tiny(), ordered()
    network.save_pretrained(tmp_path)
    opened = AutoModelForCausalLM.from_pretrained(tmp_path)
    torch.testing.assert_close(xlnet.predictions(opened, *row), xlnet.predictions(network, *row))


def test_a_short_training_learns_more_than_how_often_each_token_comes() -> None:
    text = running_text()
    _, losses = trained(xlnet, text, 250)
    entropy = unigram_entropy(text.corpus.shards[0])
    print(f"XLNet: {losses[0]:.2f} to {np.mean(losses[-10:]):.2f}, unigram entropy {entropy:.2f}")
    assert np.mean(losses[-10:]) < 0.7 * entropy < 0.7 * losses[0]
