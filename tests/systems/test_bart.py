"""BART agrees with transformers' own loss, and corrupts text in the paper's five ways."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForSeq2SeqLM, BartForConditionalGeneration

from jokbo.systems import bart
from tests.systems.encoder_decoders import (
    CONTEXT,
    SPECIAL_TOKENS,
    VOCABULARY,
    check_batches,
    check_features,
    check_shares,
    entropy,
    learn,
    size,
    text,
)


def corrupted(*noises: str, length: int = 120) -> tuple[list[list[int]], list[list[int]]]:
    """Rows of text, each token another, with and without these noises."""
    tokens_BT = np.tile(np.arange(6, 6 + length), (200, 1))
    tokens_BT[:, 50] = SPECIAL_TOKENS.end_of_text
    return bart.corrupt(
        np.random.default_rng(0), tokens_BT, noises, SPECIAL_TOKENS
    ).tolist(), tokens_BT.tolist()


def test_each_noise_alone_is_the_papers() -> None:
    noised, rows = corrupted("masking")
    assert all(row.count(SPECIAL_TOKENS.mask) == 36 for row in noised)
    pairs = list(zip(noised, rows, strict=True))
    assert all(a in (b, SPECIAL_TOKENS.mask) for new, old in pairs for a, b in zip(new, old, strict=True))
    noised, rows = corrupted("deletion")
    assert all(len(row) == 84 and SPECIAL_TOKENS.mask not in row for row in noised)
    noised, rows = corrupted("rotation")
    assert all(
        new[-old_start:] + new[:-old_start] == old
        for new, old in zip(noised, rows, strict=True)
        if (old_start := old.index(new[0]))
    )
    noised, rows = corrupted("permutation")
    assert all(sorted(new) == sorted(old) for new, old in zip(noised, rows, strict=True))
    cuts = [sum(b != a + 1 for a, b in pairwise(row)) for row in noised]
    assert 4 < np.mean(cuts) < 8  # 6 spans and a document's end in 120 tokens: 7 sentences
    assert len({tuple(row) for row in noised}) == 200
    noised, rows = corrupted("infilling")
    assert all(
        36 <= row.count(SPECIAL_TOKENS.padding) + row.count(SPECIAL_TOKENS.mask) == 36 for row in noised
    )


def test_default_is_infilling_of_permuted_sentences() -> None:
    noised, rows = corrupted(*bart.DEFAULT)
    left = [
        [token for token in row if token not in (SPECIAL_TOKENS.mask, SPECIAL_TOKENS.padding)]
        for row in noised
    ]
    assert all(len(row) == 84 and set(row) <= set(old) for row, old in zip(left, rows, strict=True))
    assert all(row != sorted(row) for row in left)
    masks = np.mean([row.count(SPECIAL_TOKENS.mask) for row in noised])
    assert 11 < masks < 14  # 36 tokens in spans of 3, the last of which is cut


def test_all_five_at_once() -> None:
    noised, _ = corrupted(*bart.NOISES)
    assert {len(row) for row in noised} == {84}


def test_sentences_end_with_their_document() -> None:
    tokens_BT = np.full((50, 60), 9)
    tokens_BT[:, [7, 30]] = SPECIAL_TOKENS.end_of_text
    sentences_BT = bart.sentences(np.random.default_rng(0), tokens_BT, SPECIAL_TOKENS.end_of_text)
    steps_BT = np.diff(sentences_BT, axis=1)
    assert set(np.unique(steps_BT)) == {0, 1}
    assert (steps_BT[:, [7, 30]] == 1).all()
    assert (sentences_BT[:, 0] == 0).all()
    assert set(sentences_BT[:, -1]) <= {2, 3, 4}  # 2 cuts and 2 special_tokens, which may fall together
    assert np.median(sentences_BT[:, -1]) == 4


def far_from_uniform() -> BartForConditionalGeneration:
    """A network whose outputs differ enough for differences to show."""
    network = bart.network(size(), SPECIAL_TOKENS, 0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(5 if parameter.ndim > 1 else 1)
    return network


def test_loss_is_transformers_own_and_padding_changes_nothing() -> None:
    network = far_from_uniform()
    batch = bart.batch(text(), 0, 4, CONTEXT, 0)
    assert (batch["noised_BN"] == SPECIAL_TOKENS.padding).any()
    loss, _ = bart.Objective(network, SPECIAL_TOKENS)(**batch)
    real = batch["noised_BN"] != SPECIAL_TOKENS.padding
    theirs = network(input_ids=batch["noised_BN"], attention_mask=real, labels=batch["tokens_BT"]).loss
    torch.testing.assert_close(loss, theirs)
    alone = [
        network(input_ids=noised[None, noised != SPECIAL_TOKENS.padding], labels=tokens[None]).loss
        for noised, tokens in zip(*batch.values(), strict=True)
    ]
    torch.testing.assert_close(torch.stack(alone).mean(), loss, rtol=1e-5, atol=0.0)


def test_a_target_does_not_see_itself_nor_what_follows() -> None:
    network = bart.network(size(), SPECIAL_TOKENS, 0).eval()
    tokens = torch.randint(6, VOCABULARY, (2, CONTEXT), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[:, 9] = 6 + (changed[:, 9] - 5) % 20
    before, after = (
        network(input_ids=tokens, decoder_input_ids=bart.shifted(rows, 0)).logits
        for rows in (tokens, changed)
    )
    assert torch.equal(before[:, :10], after[:, :10])
    assert not torch.isclose(before[:, 10:], after[:, 10:]).all(dim=2).any()


def test_a_saved_network_opens_with_auto_model(tmp_path: Path) -> None:
    network = bart.network(size(), SPECIAL_TOKENS, 0).eval()
    tokens = torch.randint(6, VOCABULARY, (2, CONTEXT))
    network.save_pretrained(tmp_path)
    opened = AutoModelForSeq2SeqLM.from_pretrained(tmp_path)
    pair = {"input_ids": tokens, "decoder_input_ids": tokens.flip(1)}
    assert torch.equal(opened(**pair).logits, network(**pair).logits)


def test_batches_and_shares_of_them() -> None:
    check_batches(bart.batch)
    check_shares(
        bart.Objective(bart.network(size(), SPECIAL_TOKENS, 0), SPECIAL_TOKENS),
        bart.batch(text(), 0, 8, CONTEXT, 0),
    )
    batch = bart.batch(text(), 2, 8, CONTEXT, 1)
    assert torch.equal(batch["tokens_BT"], text().blocks(2, 8, CONTEXT, 1))


def test_features_are_the_mean_of_the_decoders_states() -> None:
    network = far_from_uniform()
    check_features(bart.features, network, 32)
    tokens = torch.randint(6, VOCABULARY, (2, CONTEXT + 5))
    states = network.model(
        input_ids=tokens[:, :CONTEXT],
        decoder_input_ids=torch.cat([torch.zeros(2, 1, dtype=torch.long), tokens[:, :CONTEXT]], dim=1),
    ).last_hidden_state
    torch.testing.assert_close(bart.features(network, tokens, SPECIAL_TOKENS), states.mean(dim=1))


def test_it_learns() -> None:
    source = text()
    objective = bart.Objective(bart.network(size(), SPECIAL_TOKENS, 0), SPECIAL_TOKENS)
    losses = learn(objective, lambda step: bart.batch(source, step, 16, CONTEXT, 0), 120)
    assert losses[0] > 2.8
    assert sum(losses[-5:]) / 5 < entropy(source.corpus) / 2
