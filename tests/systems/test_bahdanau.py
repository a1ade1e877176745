"""RNNsearch: what the decoder sees, its attention against loops, its loss."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from jokbo.systems import bahdanau
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

TINY = replace(SIZE, layers=1, more={"embedding": 24})


def test_biases_are_few_at_the_papers_size() -> None:
    with torch.device("meta"):
        network = bahdanau.network(bahdanau.PAPER_SIZES["RNNsearch"].size, SPECIAL_TOKENS, 0)
    assert sum(each.numel() for name, each in network.named_parameters() if "bias" in name) < 0.06e6


@torch.no_grad()
def test_attention_is_the_papers_by_loops() -> None:
    """Equations 5 and 6 and appendix A.2.2, one word, one source position and one maxout pair at a time."""
    network = sharpened(bahdanau.network(TINY, SPECIAL_TOKENS, 0))
    source_S, target_T = random_tokens(1, 7)[0], random_tokens(1, 5, seed=1)[0]
    notes_SH = network.annotations(source_S[None])[0]
    backward_D = notes_SH[0, 32:]
    state_D = torch.tanh(network.start.weight @ backward_D + network.start.bias)
    logits, alignments = [], []
    for before in [SPECIAL_TOKENS.end_of_text, *target_T[:-1].tolist()]:
        energies = [
            network.score.weight[0] @ torch.tanh(network.query.weight @ state_D + network.key.weight @ note_H)
            for note_H in notes_SH
        ]
        shares = [float(torch.exp(each) / torch.exp(torch.stack(energies)).sum()) for each in energies]
        context_H = sum(share * note_H for share, note_H in zip(shares, notes_SH, strict=True))
        word_E = network.target.weight[before]
        made_D = network.hidden(torch.cat([state_D, word_E, context_H]))
        maxout = torch.stack([max(made_D[position], made_D[position + 1]) for position in range(0, 32, 2)])
        logits.append(network.words.weight @ maxout + network.words.bias)
        alignments.append(shares)
        state_D = network.decoder(torch.cat([word_E, context_H])[None], state_D[None])[0]
    found_BTV, _ = network(source_S[None], target_T[None])
    torch.testing.assert_close(found_BTV[0], torch.stack(logits), rtol=1e-4, atol=1e-4)
    found_TS = bahdanau.alignment(network, source_S, target_T)
    torch.testing.assert_close(found_TS, torch.tensor(alignments), rtol=1e-4, atol=1e-5)


def test_a_word_is_written_from_the_source_and_what_was_written_before_alone() -> None:
    network = sharpened(bahdanau.network(TINY, SPECIAL_TOKENS, 0))
    source_BS, target_BT = random_tokens(1, 9), random_tokens(1, 12, seed=1)
    changed_BT = target_BT.clone()
    changed_BT[0, 6] = 6 + (changed_BT[0, 6] - 5) % 42
    first, second = network(source_BS, target_BT)[0], network(source_BS, changed_BT)[0]
    assert torch.equal(first[0, :7], second[0, :7])
    assert not torch.isclose(first[0, 7:9], second[0, 7:9]).all(-1).any()
    for position in (0, 8):
        other_BS = source_BS.clone()
        other_BS[0, position] = 6 + (other_BS[0, position] - 5) % 42
        assert not torch.isclose(first, network(other_BS, target_BT)[0]).all(-1).any()


def test_loss_is_the_mean_over_all_words_of_the_target() -> None:
    network = sharpened(bahdanau.network(TINY, SPECIAL_TOKENS, 0))
    batch = bahdanau.batch(running_text(), 3, 4, 32, 1)
    logits_BTV, _ = network(**batch)
    expected = -logits_BTV.log_softmax(-1).gather(-1, batch["target_BT"][..., None]).mean()
    torch.testing.assert_close(bahdanau.Objective(network, SPECIAL_TOKENS)(**batch)[0], expected)


def test_a_batch_is_the_halves_of_blocks_and_a_function_of_seed_and_step() -> None:
    text = running_text()
    first = bahdanau.batch(text, 5, 4, 32, 1)
    assert torch.equal(torch.cat([first["source_BS"], first["target_BT"]], 1), text.blocks(5, 4, 32, 1))
    assert first["source_BS"].shape == first["target_BT"].shape == (4, 16)
    assert same(first, bahdanau.batch(text, 5, 4, 32, 1))
    assert not same(first, bahdanau.batch(text, 6, 4, 32, 1))


def test_features_are_mean_annotations_whatever_the_padding() -> None:
    network = sharpened(bahdanau.network(TINY, SPECIAL_TOKENS, 0))
    tokens_BT = random_tokens(3, 20)
    tokens_BT[1, 9:], tokens_BT[2, 1:] = SPECIAL_TOKENS.padding, SPECIAL_TOKENS.padding
    found_BH = bahdanau.features(network, tokens_BT, SPECIAL_TOKENS)
    assert found_BH.shape == (3, 64)
    more_BT = nn.functional.pad(tokens_BT, (0, 12), value=SPECIAL_TOKENS.padding)
    torch.testing.assert_close(found_BH, bahdanau.features(network, more_BT, SPECIAL_TOKENS))
    for row, length, found_H in zip(tokens_BT, (20, 9, 1), found_BH, strict=True):
        torch.testing.assert_close(found_H, network.annotations(row[None, :length])[0].mean(0))


def test_weights_are_a_function_of_the_seed() -> None:
    first, again, other = (bahdanau.network(TINY, SPECIAL_TOKENS, seed).state_dict() for seed in (0, 0, 1))
    assert same(first, again)
    assert not same(first, other)


def test_a_short_training_learns_more_than_how_often_each_token_comes() -> None:
    text = running_text()
    objective = bahdanau.Objective(bahdanau.network(TINY, SPECIAL_TOKENS, 0), SPECIAL_TOKENS)
    losses = learn(objective, lambda step: bahdanau.batch(text, step, 16, 32, 0), 60, rate=0.01)
    entropy = unigram_entropy(text.corpus.shards[0])
    print(f"{bahdanau.TITLE}: {losses[0]:.2f} to {losses[-1]:.2f}, unigram entropy {entropy:.2f}")
    assert losses[-1] < 0.6 * entropy < 0.6 * losses[0]
