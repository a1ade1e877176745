"""The sentiment neuron: the mLSTM against its equations and the neuron that tells labels best."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from jokbo.systems import sentiment_neuron
from jokbo.systems.sentiment_neuron import best_neuron
from tests.support.corpora import trained
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

TINY = replace(SIZE, layers=1, more={"embedding": 16})


def tiny() -> sentiment_neuron.MultiplicativeLSTM:
    return sentiment_neuron.network(TINY, SPECIAL_TOKENS, 0)


def test_states_are_those_of_the_equations() -> None:
    network = tiny().double()
    tokens_T = random_tokens(1, 8)[0]

    def normed(linear: nn.Linear) -> torch.Tensor:
        gain, direction = (getattr(linear.parametrizations.weight, f"original{i}") for i in (0, 1))
        return gain * direction / direction.norm(dim=1, keepdim=True)

    h = c = torch.zeros(32, dtype=torch.double)
    for position, token in enumerate(tokens_T):
        x = network.embedding.weight[token]
        m = (normed(network.input_factor) @ x) * (normed(network.state_factor) @ h)
        z = normed(network.input_gates) @ x + normed(network.factor_gates) @ m + network.input_gates.bias
        i, f, o, u = z[:32], z[32:64], z[64:96], z[96:]
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(u)
        h = torch.sigmoid(o) * torch.tanh(c)
        hidden_BTD, cells_BTD = network.states(tokens_T[None, : position + 1])
        torch.testing.assert_close(hidden_BTD[0, -1], h)
        torch.testing.assert_close(cells_BTD[0, -1], c)


def test_gradients_of_the_recurrence_are_those_of_differences() -> None:
    torch.manual_seed(0)
    hidden_size, shapes = 3, [(5, 2, 3), (5, 2, 12), (3, 3), (3, 12)]
    inputs = [torch.randn(shape, dtype=torch.double, requires_grad=True) for shape in shapes]
    hidden_TBD, cells_TBD = sentiment_neuron.Recurrence.apply(*inputs)
    assert hidden_TBD.shape == cells_TBD.shape == (5, 2, hidden_size)
    assert torch.autograd.gradcheck(sentiment_neuron.Recurrence.apply, inputs)


def test_the_recurrence_in_bf16_is_near_that_in_float32() -> None:
    network, batch = tiny(), {"tokens_BS": random_tokens(4, 33)}
    objective, found = sentiment_neuron.Objective(network, SPECIAL_TOKENS), []
    for reduced in (False, True):
        objective.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
            loss = objective(**batch)[0]
        loss.backward()
        found.append([loss, *(parameter.grad.clone() for parameter in network.parameters())])
    for exact, near in zip(*found, strict=True):
        assert (exact - near).norm() < 0.05 * exact.norm()


def test_a_position_sees_what_is_before_it_alone() -> None:
    network, tokens_BT = sharpened(tiny()), random_tokens(1, 20)
    changed_BT = tokens_BT.clone()
    changed_BT[0, 11] = 6 + (changed_BT[0, 11] - 5) % 42
    first, second = network(tokens_BT), network(changed_BT)
    assert torch.equal(first[0, :11], second[0, :11])
    assert not torch.isclose(first[0, 11:13], second[0, 11:13]).all(-1).any()


def test_loss_is_the_mean_over_all_next_tokens() -> None:
    network = sharpened(tiny())
    batch = sentiment_neuron.batch(running_text(), 3, 2, 32, 1)
    tokens_BS = batch["tokens_BS"]
    shares_BTV = network(tokens_BS[:, :-1]).log_softmax(-1)
    expected = -torch.stack(
        [shares_BTV[b, t, tokens_BS[b, t + 1]] for b in range(2) for t in range(32)]
    ).mean()
    torch.testing.assert_close(sentiment_neuron.Objective(network, SPECIAL_TOKENS)(**batch)[0], expected)


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    text = running_text()
    first = sentiment_neuron.batch(text, 5, 4, 32, 1)
    assert same(first, sentiment_neuron.batch(text, 5, 4, 32, 1))
    assert not same(first, sentiment_neuron.batch(text, 6, 4, 32, 1))


def test_features_are_the_mean_of_bounded_cell_states_whatever_the_padding() -> None:
    network = tiny().double()
    tokens_BT = random_tokens(3, 20)
    tokens_BT[1, 9:], tokens_BT[2, 1:] = SPECIAL_TOKENS.padding, SPECIAL_TOKENS.padding
    found_BD = sentiment_neuron.features(network, tokens_BT, SPECIAL_TOKENS)
    more_BT = nn.functional.pad(tokens_BT, (0, 12), value=SPECIAL_TOKENS.padding)
    torch.testing.assert_close(found_BD, sentiment_neuron.features(network, more_BT, SPECIAL_TOKENS))
    for row, length, found_D in zip(tokens_BT, (20, 9, 1), found_BD, strict=True):
        torch.testing.assert_close(found_D, network.states(row[None, :length])[1][0].tanh().mean(dim=0))


def test_a_tokenizer_of_bytes_alone_is_had_without_merges() -> None:
    tokenizer = trained(["abc abc"], 258)
    assert tokenizer.get_vocab_size() == 258
    for text in ("A good book.", "좋은 책이다"):
        assert len(tokenizer.encode(text).ids) == len(text.encode())


def test_the_best_neuron_is_that_of_trying_all_neurons_and_thresholds() -> None:
    rng = np.random.default_rng(0)
    for seed in range(20):
        features_ND = np.round(rng.normal(size=(15, 4)), 1)  # with equal values
        labels_N = rng.integers(0, 2, 15)
        tried = [
            max(share, 1 - share)
            for unit_N in features_ND.T
            for low, high in zip(np.unique(unit_N), np.unique(unit_N)[1:], strict=False)
            for share in [float(((unit_N > (low + high) / 2) == labels_N).mean())]
        ]
        neuron = best_neuron(features_ND, labels_N)
        assert neuron.right(features_ND, labels_N).mean() == pytest.approx(max(tried)), seed


@pytest.mark.parametrize("sign", [1, -1])
def test_a_planted_unit_is_found_and_does_as_well_on_others(sign: int) -> None:
    rng = np.random.default_rng(1)
    features_ND, labels_N = rng.normal(size=(4000, 50)), rng.integers(0, 2, 4000)
    features_ND[:, 17] += (
        sign * 3 * labels_N
    )  # two normal distributions 3 apart: a threshold tells 93.3% right
    neuron = best_neuron(features_ND[:2000], labels_N[:2000])
    assert (neuron.index, neuron.sign) == (17, sign)
    assert neuron.threshold == pytest.approx(sign * 1.5, abs=0.5)
    assert neuron.right(features_ND[2000:], labels_N[2000:]).mean() == pytest.approx(0.933, abs=0.025)


def test_a_short_training_learns_more_than_how_often_each_token_comes() -> None:
    text = running_text()
    objective = sentiment_neuron.Objective(tiny(), SPECIAL_TOKENS)
    losses = learn(objective, lambda step: sentiment_neuron.batch(text, step, 16, 32, 0), 120, rate=0.01)
    entropy = unigram_entropy(text.corpus.shards[0])
    print(f"{sentiment_neuron.TITLE}: {losses[0]:.2f} to {losses[-1]:.2f}, unigram entropy {entropy:.2f}")
    assert losses[-1] < 0.6 * entropy < 0.6 * losses[0]
