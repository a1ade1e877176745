"""T5 agrees with the paper's shapes and figure, and with transformers' own loss."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, T5ForConditionalGeneration

from jokbo.systems import t5
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


def network() -> T5ForConditionalGeneration:
    return t5.network(size(), SPECIAL_TOKENS, 0)


def test_shapes_are_those_of_the_authors_code() -> None:
    length, masked, spans = t5.lengths(512)
    assert length == 568
    assert length - masked + spans + 1 == 512
    assert masked + spans + 1 == 114
    for context in (16, 64, 128, 200):
        length, masked, spans = t5.lengths(context)
        assert context - 1 <= length - masked + spans + 1 <= context


def test_share_and_spans_are_the_papers() -> None:
    for context in (128, 512):
        length, masked, spans = t5.lengths(context)
        assert masked / length == pytest.approx(0.15, abs=0.5 / length)
        assert masked / spans == pytest.approx(3, abs=0.1)


def test_inputs_and_targets_put_together_are_the_text() -> None:
    source, context = text(), 60
    length, masked, spans = t5.lengths(context)
    blocks = source.blocks(1, 8, length, 0)
    batch = t5.batch(source, 1, 8, context, 0)
    assert (batch["weights_BM"] == 1).all()
    for block, inputs, targets in zip(blocks, batch["inputs_BN"], batch["targets_BM"], strict=True):
        assert inputs[-1] == targets[-1] == SPECIAL_TOKENS.end_of_text
        hidden: list[list[int]] = []
        for token in targets[:-1].tolist():
            if token >= VOCABULARY:
                assert token == VOCABULARY + len(hidden)
                hidden.append([])
            else:
                hidden[-1].append(token)
        assert [len(hidden), sum(map(len, hidden))] == [spans, masked]
        assert all(hidden)
        whole: list[int] = []
        for token in inputs[:-1].tolist():
            whole += hidden[token - VOCABULARY] if token >= VOCABULARY else [token]
        assert whole == block.tolist()


def test_loss_is_transformers_own() -> None:
    ours = network()
    batch = t5.batch(text(), 0, 4, CONTEXT, 0)
    loss, _ = t5.Objective(ours, SPECIAL_TOKENS)(**batch)
    theirs = ours(input_ids=batch["inputs_BN"], labels=batch["targets_BM"]).loss
    torch.testing.assert_close(loss, theirs)


def padded() -> dict[str, torch.Tensor]:
    """Four examples of text to text, some shorter."""
    rng = torch.Generator().manual_seed(0)
    inputs, targets = (torch.randint(6, VOCABULARY, (4, length), generator=rng) for length in (10, 5))
    inputs[1, 6:], targets[1, 2:], targets[2, 1:] = (
        SPECIAL_TOKENS.padding,
        SPECIAL_TOKENS.padding,
        SPECIAL_TOKENS.padding,
    )
    return t5.batch_of(inputs, targets, SPECIAL_TOKENS)


def test_padded_text_to_text_is_as_if_alone() -> None:
    ours, batch = network(), padded()
    total, number = 0.0, 0
    for inputs, targets in zip(batch["inputs_BN"], batch["targets_BM"], strict=True):
        inputs, targets = (row[None, row != SPECIAL_TOKENS.padding] for row in (inputs, targets))
        total += ours(input_ids=inputs, labels=targets).loss.item() * targets.shape[1]
        number += targets.shape[1]
    loss, _ = t5.Objective(ours, SPECIAL_TOKENS)(**batch)
    assert loss.item() == pytest.approx(total / number, rel=1e-5)
    check_shares(t5.Objective(ours, SPECIAL_TOKENS), batch)


def test_a_target_does_not_see_itself_nor_what_follows() -> None:
    ours = network().eval()
    tokens = torch.randint(6, VOCABULARY, (2, CONTEXT), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[:, 9] = 6 + (changed[:, 9] - 5) % 20
    before, after = (
        ours(input_ids=tokens, decoder_input_ids=t5.shifted(rows, 1)).logits for rows in (tokens, changed)
    )
    assert torch.equal(before[:, :10], after[:, :10])
    assert not torch.isclose(before[:, 10:], after[:, 10:]).all(dim=2).any()


def test_a_saved_network_opens_with_auto_model(tmp_path: Path) -> None:
    ours = network().eval()
    tokens = torch.randint(6, VOCABULARY + 100, (2, CONTEXT))
    ours.save_pretrained(tmp_path)
    opened = AutoModelForSeq2SeqLM.from_pretrained(tmp_path)
    pair = {"input_ids": tokens, "decoder_input_ids": tokens.flip(1)}
    assert opened.config.vocab_size == VOCABULARY + 100
    assert torch.equal(opened(**pair).logits, ours(**pair).logits)


def test_batches_and_shares_of_them() -> None:
    check_batches(t5.batch)
    check_shares(t5.Objective(network(), SPECIAL_TOKENS), t5.batch(text(), 0, 8, CONTEXT, 0))


def test_features() -> None:
    check_features(t5.features, network(), 32)


def test_it_learns() -> None:
    source, context = text(), 60  # a target of one span is half sentinels and end
    objective = t5.Objective(network(), SPECIAL_TOKENS)
    losses = learn(objective, lambda step: t5.batch(source, step, 16, context, 0), 100)
    assert losses[0] > 2.8
    assert sum(losses[-5:]) / 5 < entropy(source.corpus) - 0.8


def test_nats_are_of_the_text_alone() -> None:
    model, batch = network().eval(), t5.batch(text(), 0, 4, CONTEXT, 0)
    _, metrics = t5.Objective(model, SPECIAL_TOKENS)(**batch)
    logits_BMV = model(input_ids=batch["inputs_BN"], labels=batch["targets_BM"]).logits
    nats = [
        -logits_V.log_softmax(-1)[target]
        for logits_V, target in zip(logits_BMV.flatten(0, 1), batch["targets_BM"].flatten(), strict=True)
        if 6 <= target < VOCABULARY
    ]
    assert len(nats) <= batch["targets_BM"].numel() - 4 * 2  # a sentinel and the end in each sequence
    torch.testing.assert_close(metrics["nats"], torch.stack(nats).mean())
