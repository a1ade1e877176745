"""ULMFiT: the AWD-LSTM's dropouts and penalties, and the ways to fine-tune it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from jokbo.systems import ulmfit
from tests.systems.encoder_decoders import learn
from tests.systems.running_text import (
    SIZE,
    SPECIAL_TOKENS,
    random_tokens,
    running_text,
    same,
    sharpened,
    unigram_entropy,
)

TINY = replace(SIZE, layers=3, more={"hidden": 48})


def tiny(dropout: float = 0.0) -> ulmfit.AWDLSTM:
    return ulmfit.network(replace(TINY, dropout=dropout), SPECIAL_TOKENS, 0)


def test_weight_drop_is_torchs_lstm_with_some_recurrent_weights_zero() -> None:
    layer, plain = ulmfit.WeightDropLSTM(12, 20, 0.4), nn.LSTM(12, 20, batch_first=True)
    plain.load_state_dict(layer.state_dict())
    states_BTD, before = torch.randn(3, 15, 12), layer.weight_hh_l0.detach().clone()
    torch.testing.assert_close(layer.eval()(states_BTD), plain(states_BTD)[0])
    torch.manual_seed(7)
    dropped = layer.train()(states_BTD)
    torch.manual_seed(7)
    with torch.no_grad():
        plain.weight_hh_l0.copy_(nn.functional.dropout(before, 0.4))
    torch.testing.assert_close(dropped, plain(states_BTD)[0])
    assert torch.equal(layer.weight_hh_l0, before)  # what is learned stays whole
    dropped.square().sum().backward()
    zero = layer.weight_hh_l0.grad == 0
    assert torch.equal(zero, plain.weight_hh_l0 == 0)
    assert zero.double().mean().item() == pytest.approx(0.4, abs=4 * (0.24 / zero.numel()) ** 0.5)
    assert layer.weight_ih_l0.grad.abs().min() > 0
    assert not torch.equal(layer(states_BTD), layer(states_BTD))


def test_locked_dropout_has_one_mask_for_all_time_steps() -> None:
    found_BTD = ulmfit.locked_dropout(torch.ones(50, 9, 200), 0.3, training=True)
    assert torch.equal(found_BTD, found_BTD[:, :1].expand_as(found_BTD))
    zero = found_BTD[:, 0] == 0
    assert zero.double().mean().item() == pytest.approx(0.3, abs=4 * (0.21 / 10_000) ** 0.5)
    torch.testing.assert_close(found_BTD[:, 0][~zero], torch.tensor(1 / 0.7).expand(int((~zero).sum())))
    assert not torch.equal(found_BTD[0], found_BTD[1])
    assert torch.equal(ulmfit.locked_dropout(found_BTD, 0.3, training=False), found_BTD)


def test_embedding_dropout_takes_whole_words_wherever_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    network = ulmfit.network(replace(TINY, vocabulary=4000, dropout=0.8), SPECIAL_TOKENS, 0).train()
    network.layers = nn.ModuleList([nn.Identity()])
    monkeypatch.setattr(ulmfit, "INPUT", 0)
    words_V = torch.arange(4000)
    first_VD, second_VD = network.states(torch.stack([words_V, words_V]))
    assert torch.equal(first_VD, second_VD)
    zero_V = (first_VD == 0).all(-1)
    assert zero_V.double().mean().item() == pytest.approx(
        0.1, abs=4 * (0.09 / 4000) ** 0.5
    )  # 0.8 * 0.05 / 0.4
    torch.testing.assert_close(first_VD[~zero_V], network.embedding.weight[~zero_V] / 0.9)


def test_rates_are_those_of_the_paper_at_its_dropout() -> None:
    network = tiny(dropout=0.4)
    assert [layer.drop for layer in network.layers] == pytest.approx([0.5] * 3)
    found = [ulmfit.INPUT, ulmfit.BETWEEN_LAYERS, ulmfit.WORDS]
    assert [rate * network.rate for rate in found] == pytest.approx([0.4, 0.3, 0.05])


def test_loss_is_of_next_tokens_with_penalties_on_states_in_training() -> None:
    network = sharpened(tiny())
    batch = ulmfit.batch(running_text(), 3, 2, 32, 1)
    tokens_BS = batch["tokens_BS"]
    states_BTD = network.states(tokens_BS[:, :-1])
    logits_BTV = states_BTD @ network.embedding.weight.T + network.bias
    nats = -logits_BTV.log_softmax(-1).gather(-1, tokens_BS[:, 1:, None]).mean()
    objective = ulmfit.Objective(network, SPECIAL_TOKENS)
    torch.testing.assert_close(objective.eval()(**batch)[0], nats)
    changes = (states_BTD[:, 1:] - states_BTD[:, :-1]).pow(2).mean()
    loss, metrics = objective.train()(**batch)
    torch.testing.assert_close(loss, nats + 2 * states_BTD.pow(2).mean() + changes)
    torch.testing.assert_close(metrics["nats"], nats)


def test_a_position_sees_what_is_before_it_alone() -> None:
    network, tokens_BT = sharpened(tiny()), random_tokens(1, 20)
    changed_BT = tokens_BT.clone()
    changed_BT[0, 11] = 6 + (changed_BT[0, 11] - 5) % 42
    first, second = network(tokens_BT)[0], network(changed_BT)[0]
    assert torch.equal(first[0, :11], second[0, :11])
    assert not torch.isclose(first[0, 11:13], second[0, 11:13]).all(-1).any()


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    text = running_text()
    first = ulmfit.batch(text, 5, 4, 32, 1)
    assert same(first, ulmfit.batch(text, 5, 4, 32, 1))
    assert not same(first, ulmfit.batch(text, 6, 4, 32, 1))


def test_features_are_the_mean_state_whatever_the_padding() -> None:
    network = sharpened(tiny())
    tokens_BT = random_tokens(3, 20)
    tokens_BT[1, 9:], tokens_BT[2, 1:] = SPECIAL_TOKENS.padding, SPECIAL_TOKENS.padding
    found_BM = ulmfit.features(network, tokens_BT, SPECIAL_TOKENS)
    assert found_BM.shape == (3, 32)
    more_BT = nn.functional.pad(tokens_BT, (0, 12), value=SPECIAL_TOKENS.padding)
    torch.testing.assert_close(found_BM, ulmfit.features(network, more_BT, SPECIAL_TOKENS))
    for row, length, found_M in zip(tokens_BT, (20, 9, 1), found_BM, strict=True):
        torch.testing.assert_close(found_M, network.states(row[None, :length])[0].mean(dim=0))


def test_each_layer_learns_2_6_times_slower_than_the_one_above() -> None:
    network, head = tiny(), nn.Linear(96, 2)
    groups = ulmfit.parameter_groups(network, head, 0.01)
    assert [group["lr"] for group in groups] == pytest.approx(
        [0.01 / 2.6**index for index in (4, 3, 2, 1, 0)]
    )
    held = [id(each) for group in groups for each in group["params"]]
    wanted = [*network.embedding.parameters(), *network.layers.parameters(), *head.parameters()]
    assert held == [id(each) for each in wanted]


def test_layers_are_let_loose_from_the_last_one_down_on_one_slanted_triangle() -> None:
    network, head, steps = tiny(), nn.Linear(96, 2), 100
    optimizer, schedule = ulmfit.gradual(network, head, 0.01, steps)
    rates = schedule(optimizer)
    whole = [0.01 / 2.6**index for index in (4, 3, 2, 1, 0)]
    for step in range(steps):
        learning = [index >= 4 - step // 10 for index in range(5)]
        expected = [
            rate * on * ulmfit.slanted_triangular(step, steps)
            for rate, on in zip(whole, learning, strict=True)
        ]
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(expected)
        optimizer.step()
        rates.step()


def test_slanted_triangular_rates_are_those_of_equation_3() -> None:
    steps, cut_fraction, ratio = 1000, 0.1, 32
    cut = int(steps * cut_fraction)
    for step in range(steps + 1):
        p = step / cut if step < cut else 1 - (step - cut) / (cut * (1 / cut_fraction - 1))
        expected = (1 + p * (ratio - 1)) / ratio
        assert ulmfit.slanted_triangular(step, steps) == pytest.approx(expected)
    ends = [ulmfit.slanted_triangular(step, steps) for step in (0, 100, 1000)]
    assert ends == pytest.approx([1 / 32, 1, 1 / 32])
    for short in range(1, 12):
        assert all(1 / 32 <= ulmfit.slanted_triangular(step, short) <= 1 for step in range(short + 1))


def test_weights_are_a_function_of_the_seed() -> None:
    first, again, other = (ulmfit.network(TINY, SPECIAL_TOKENS, seed).state_dict() for seed in (0, 0, 1))
    assert same(first, again)
    assert not same(first, other)


def test_a_short_training_learns_more_than_how_often_each_token_comes() -> None:
    text = running_text()
    objective = ulmfit.Objective(tiny(dropout=0.04), SPECIAL_TOKENS).train()
    losses = learn(objective, lambda step: ulmfit.batch(text, step, 16, 32, 0), 200, rate=0.02)
    entropy = unigram_entropy(text.corpus.shards[0])
    print(f"{ulmfit.TITLE}: {losses[0]:.2f} to {losses[-1]:.2f}, unigram entropy {entropy:.2f}")
    assert losses[-1] < 0.6 * entropy < 0.6 * losses[0]
