"""ELMo: what each direction sees, its characters, the mix of its layers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from jokbo.systems import elmo
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

TINY = replace(SIZE, more={"cells": 64, "filters": [(1, 8), (2, 16), (3, 24)]})
PIECES = ("<|endoftext|>", "<|pad|>", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"##{i:x}책" for i in range(42)))


def tiny(seed: int = 0) -> elmo.BiLM:
    return elmo.network(TINY, replace(SPECIAL_TOKENS, token_strings=PIECES), seed)


def test_characters_are_bytes_between_marks() -> None:
    table_VC = elmo.characters(["a", "##책", "x" * 60])
    assert table_VC.shape == (3, 50)
    assert table_VC[0, :4].tolist() == [elmo.BEGIN, 1 + ord("a"), elmo.END, elmo.PADDING]
    spelled = [elmo.BEGIN, *(1 + byte for byte in "##책".encode()), elmo.END]
    assert table_VC[1].tolist() == spelled + [elmo.PADDING] * (50 - len(spelled))
    assert table_VC[2].tolist() == [elmo.BEGIN, *[1 + ord("x")] * 48, elmo.END]
    assert elmo.characters(["a"]).shape == (1, 7)
    assert int(elmo.characters(PIECES).max()) < elmo.CHARACTERS


def test_a_tokens_vector_comes_from_its_characters_by_maxima_of_filters() -> None:
    vectors = sharpened(tiny()).vectors
    tokens_BT = random_tokens(2, 12)
    found_BTD = vectors(tokens_BT)
    for row, token in ((0, 3), (1, 7)):
        spelled_CE = vectors.embedding.weight[vectors.characters_VC[tokens_BT[row, token]]]
        maxima = []
        for filters in vectors.convolutions:
            for weight_EW, bias in zip(filters.weight, filters.bias, strict=True):
                width = weight_EW.shape[1]
                positions = range(len(spelled_CE) - width + 1)
                responses = [(spelled_CE[p : p + width] * weight_EW.T).sum() + bias for p in positions]
                maxima.append(torch.stack(responses).max().relu())
        x = torch.stack(maxima)
        for highway in vectors.highways:
            gate = torch.sigmoid(highway.carry(x))
            x = gate * x + (1 - gate) * torch.relu(highway.change(x))
        torch.testing.assert_close(found_BTD[row, token], vectors.projection(x), rtol=1e-4, atol=1e-4)


def test_each_direction_sees_its_own_side_alone() -> None:
    network, tokens_BT = sharpened(tiny()), random_tokens(1, 20)
    changed_BT = tokens_BT.clone()
    changed_BT[0, 11] = 6 + (changed_BT[0, 11] - 5) % 42
    (ahead, back), (ahead_changed, back_changed) = network(tokens_BT), network(changed_BT)
    # ahead[t] is of token t + 1 given 0 ... t, back[t] of token t given t + 1 ...
    torch.testing.assert_close(ahead[0, :11], ahead_changed[0, :11])
    torch.testing.assert_close(back[0, 11:], back_changed[0, 11:])
    assert not torch.isclose(ahead[0, 11:13], ahead_changed[0, 11:13]).all(-1).any()
    assert not torch.isclose(back[0, 9:11], back_changed[0, 9:11]).all(-1).any()


def test_loss_is_the_mean_of_both_directions() -> None:
    network = tiny().eval()
    batch = elmo.batch(running_text(), 3, 2, 32, 1)
    tokens_BT = batch["tokens_BT"]
    assert tokens_BT.shape == (2, 33)
    ahead, back = [], []
    for row in tokens_BT:
        for position in range(32):
            ahead_BTV, _ = network(torch.cat([row[: position + 1], row[:1]])[None])
            ahead.append(-ahead_BTV[0, -1].log_softmax(-1)[row[position + 1]])
            _, back_BTV = network(torch.cat([row[:1], row[position + 1 :]])[None])
            back.append(-back_BTV[0, 0].log_softmax(-1)[row[position]])
    loss, metrics = elmo.Objective(network, SPECIAL_TOKENS)(**batch)
    ahead, back = torch.stack(ahead).mean(), torch.stack(back).mean()
    torch.testing.assert_close(loss, (ahead + back) / 2)
    torch.testing.assert_close(metrics, {"forward": ahead, "backward": back})


def test_what_a_task_reads_is_the_mix_of_all_layers() -> None:
    network, tokens_BT = sharpened(tiny()), random_tokens(2, 9)
    with torch.no_grad():
        network.mix.copy_(torch.tensor([0.5, -1.0, 2.0]))
        network.gamma.fill_(3.0)
    lengths_B = torch.tensor([9, 9])
    layers = network.layers(tokens_BT, lengths_B)
    assert torch.equal(layers[0][..., :32], layers[0][..., 32:])
    forward_1 = network.forwards[0](layers[0][..., :32])[0]
    forward_2 = network.forwards[1](forward_1)[0] + forward_1  # the residual connection
    torch.testing.assert_close(layers[1][..., :32], forward_1)
    torch.testing.assert_close(layers[2][..., :32], forward_2)
    backward_1 = network.backwards[0](layers[0][..., :32].flip(1))[0].flip(1)
    torch.testing.assert_close(layers[1][..., 32:], backward_1)
    shares = torch.exp(network.mix) / torch.exp(network.mix).sum()
    expected = 3 * sum(share * layer for share, layer in zip(shares, layers, strict=True))
    torch.testing.assert_close(network.elmo(tokens_BT, lengths_B), expected)
    network.elmo(tokens_BT, lengths_B).sum().backward()
    assert network.mix.grad.abs().min() > 0
    assert network.gamma.grad != 0


def test_features_are_mean_vectors_whatever_the_padding() -> None:
    network = sharpened(tiny())
    tokens_BT = random_tokens(3, 20)
    tokens_BT[1, 9:], tokens_BT[2, 1:] = SPECIAL_TOKENS.padding, SPECIAL_TOKENS.padding
    found_BD = elmo.features(network, tokens_BT, SPECIAL_TOKENS)
    assert found_BD.shape == (3, 64)
    more_BT = nn.functional.pad(tokens_BT, (0, 12), value=SPECIAL_TOKENS.padding)
    torch.testing.assert_close(found_BD, elmo.features(network, more_BT, SPECIAL_TOKENS))
    for row, length, found_D in zip(tokens_BT, (20, 9, 1), found_BD, strict=True):
        alone_TD = network.elmo(row[None, :length], torch.tensor([length]))[0]
        torch.testing.assert_close(found_D, alone_TD.mean(0))


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    text = running_text()
    first = elmo.batch(text, 5, 4, 32, 1)
    assert same(first, elmo.batch(text, 5, 4, 32, 1))
    assert not same(first, elmo.batch(text, 6, 4, 32, 1))


def test_matrices_begin_by_keeping_the_variance_and_lstms_by_remembering() -> None:
    made = tiny()
    drawn = torch.randn(2000, TINY.hidden_size, generator=torch.Generator().manual_seed(1))
    assert made.softmax(drawn).std().item() == pytest.approx(1, abs=0.1)
    for lstm in (*made.forwards, *made.backwards):
        biases = (lstm.bias_ih_l0 + lstm.bias_hh_l0).chunk(4)  # input, forget, cell, output
        assert [bias.unique().tolist() for bias in biases] == [[0.0], [1.0], [0.0], [0.0]]


def test_weights_are_a_function_of_the_seed() -> None:
    assert same(tiny(0).state_dict(), tiny(0).state_dict())
    assert not same(tiny(0).state_dict(), tiny(1).state_dict())


def test_a_short_training_learns_more_than_how_often_each_token_comes() -> None:
    text = running_text()
    objective = elmo.Objective(tiny(), SPECIAL_TOKENS)
    losses = learn(objective, lambda step: elmo.batch(text, step, 16, 32, 0), 50, rate=0.01)
    entropy = unigram_entropy(text.corpus.shards[0])
    print(f"{elmo.TITLE}: {losses[0]:.2f} to {losses[-1]:.2f}, unigram entropy {entropy:.2f}")
    assert losses[-1] < 0.6 * entropy < 0.6 * losses[0]
