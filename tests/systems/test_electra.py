"""ELECTRA: sampling, what is original and what replaced, the loss, what is shared and saved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForMaskedLM, AutoModelForPreTraining

from jokbo.systems import electra
from jokbo.systems.common import Text
from tests.systems.running_text import (
    SIZE,
    SPECIAL_TOKENS,
    random_tokens,
    running_text,
    same,
    sharpened,
    training,
    unigram_entropy,
)

SMALL = replace(SIZE, more={"generator": 0.5, "embedding": 24})


def network() -> electra.Electra:
    return sharpened(electra.network(SMALL, SPECIAL_TOKENS, 0))


def random_batch(batch_size: int = 6) -> dict[str, torch.Tensor]:
    return electra.batch(running_text(), 0, batch_size, SIZE.context, 0)


@pytest.mark.parametrize("name", electra.PAPER_SIZES)
def test_a_generator_is_narrower_by_whole_heads(name: str) -> None:
    size = electra.PAPER_SIZES[name].size
    with torch.device("meta"):
        small = electra.network(size, SPECIAL_TOKENS, 0).generator.config
    assert small.hidden_size == size.more["generator"] * size.hidden_size
    assert small.hidden_size // small.num_attention_heads == size.hidden_size // size.heads


def test_samples_follow_the_distribution() -> None:
    torch.manual_seed(0)
    logits_BKV = 2 * torch.randn(1, 1, 7)
    count = 100_000
    found = electra.sampled(logits_BKV.expand(1, count, 7), torch.rand(1, count))
    shares = torch.bincount(found.flatten(), minlength=7) / count
    expected = logits_BKV.softmax(-1).flatten()
    errors = (expected * (1 - expected) / count).sqrt()
    assert ((shares - expected).abs() < 4 * errors).all()


def test_a_sample_is_never_a_token_of_no_probability() -> None:
    logits_BKV = torch.tensor([[[-1e9, 0.0, -1e9, 0.0, -1e9]]]).expand(1, 4, 5)
    uniforms_BK = torch.tensor([[0.0, 0.49, 0.51, 1 - 2**-24]])
    assert electra.sampled(logits_BKV, uniforms_BK).tolist() == [[1, 1, 3, 3]]


def test_the_generator_reads_masks_and_at_15_of_100_positions_the_original_token() -> None:
    batch = electra.batch(running_text(3000), 0, 512, 128, 0)
    valid_BK = batch["weights_BK"] > 0
    read, stood = batch["inputs_BT"].gather(1, batch["positions_BK"])[valid_BK], batch["targets_BK"][valid_BK]
    left = read != SPECIAL_TOKENS.mask
    assert torch.equal(read[left], stood[left])
    assert abs(left.double().mean().item() - 0.15) < 4 * (0.15 * 0.85 / len(left)) ** 0.5
    original_BT = batch["inputs_BT"].scatter(1, batch["positions_BK"], batch["targets_BK"])
    ordinary_B = (original_BT > SPECIAL_TOKENS.mask).sum(1)
    assert torch.equal(valid_BK.sum(1), (0.15 * ordinary_B).round().long())
    assert (batch["inputs_BT"] != original_BT).sum() == (~left).sum()
    assert (original_BT[:, 0] == SPECIAL_TOKENS.cls).all()
    assert (original_BT[:, -1] == SPECIAL_TOKENS.sep).all()
    assert (original_BT != SPECIAL_TOKENS.end_of_text).all()


def test_loss_against_a_slow_one() -> None:
    model, batch = network(), random_batch(12)
    loss, metrics = electra.Objective(model, SPECIAL_TOKENS)(**batch)
    inputs_BT = batch["inputs_BT"]
    generator_logits_BTV = model.generator(inputs_BT).logits
    original_BT, corrupted_BT = inputs_BT.clone(), inputs_BT.clone()
    nats, replaced = [], torch.zeros(inputs_BT.shape)
    for row in range(len(inputs_BT)):
        for k, position in enumerate(batch["positions_BK"][row]):
            target = batch["targets_BK"][row, k]
            original_BT[row, position] = corrupted_BT[row, position] = target
            if batch["weights_BK"][row, k] == 0:
                continue
            probabilities_V = generator_logits_BTV[row, position].softmax(-1)
            nats.append(-probabilities_V[target].log())
            token, total = 0, probabilities_V[0].item()
            while total <= batch["uniforms_BK"][row, k]:
                token += 1
                total += probabilities_V[token].item()
            corrupted_BT[row, position] = token
            replaced[row, position] = float(token != target)  # the original, sampled by chance, is original
    assert 0 < replaced.sum() < len(nats)
    theirs = model.discriminator(corrupted_BT, labels=replaced).loss  # transformers' own: all tokens
    torch.testing.assert_close(loss, torch.stack(nats).mean() + 50 * theirs)
    assert metrics["replaced"] == pytest.approx(replaced.mean().item())


def test_a_generator_that_is_always_right_leaves_nothing_to_find() -> None:
    model, batch = network(), random_batch()
    batch["uniforms_BK"] = torch.zeros_like(batch["uniforms_BK"])
    with torch.no_grad():
        model.generator.generator_lm_head.bias[SPECIAL_TOKENS.mask + 1] += 1e4
    target = torch.full_like(batch["targets_BK"], SPECIAL_TOKENS.mask + 1)
    assert electra.Objective(model, SPECIAL_TOKENS)(**{**batch, "targets_BK": target})[1]["replaced"] == 0
    assert (
        electra.Objective(model, SPECIAL_TOKENS)(**{**batch, "targets_BK": target + 1})[1]["replaced"] > 0.1
    )


def test_gradients_do_not_go_through_samples_and_embeddings_are_shared() -> None:
    model, batch = network(), random_batch()
    reader, writer = model.discriminator, model.generator
    assert reader.electra.embeddings is writer.electra.embeddings
    assert writer.generator_lm_head.weight is reader.electra.embeddings.word_embeddings.weight
    objective = electra.Objective(model, SPECIAL_TOKENS)
    objective(**batch)[0].backward()
    with_discriminator = writer.electra.encoder.layer[0].output.dense.weight.grad.clone()
    writer.zero_grad()
    logits_BTV = writer(batch["inputs_BT"]).logits
    logits_BKV = logits_BTV.gather(1, batch["positions_BK"][..., None].expand(-1, -1, SIZE.vocabulary))
    electra.weighted_mean(logits_BKV, batch["targets_BK"], batch["weights_BK"]).backward()
    torch.testing.assert_close(with_discriminator, writer.electra.encoder.layer[0].output.dense.weight.grad)


def test_loss_does_not_depend_on_how_rows_are_shared_out() -> None:
    objective, batch = electra.Objective(network(), SPECIAL_TOKENS), random_batch()
    whole, _ = objective(**batch)
    halves = zip(*(value.chunk(2) for value in batch.values()), strict=True)
    parts = [objective(*half)[0] for half in halves]
    torch.testing.assert_close(torch.stack(parts).mean(), whole)


def test_both_networks_open_with_auto_models(tmp_path: Path) -> None:
    model, tokens_BT = network(), random_tokens(3, 20)
    model.save_pretrained(tmp_path)
    for opened, mine in (
        (AutoModelForPreTraining.from_pretrained(tmp_path), model.discriminator),
        (AutoModelForMaskedLM.from_pretrained(tmp_path / "generator"), model.generator),
    ):
        assert torch.equal(opened.eval()(tokens_BT).logits, mine(tokens_BT).logits)


def short_training(learning: list[nn.Parameter], model: electra.Electra, steps: int) -> torch.Tensor:
    """On text of six of the words at random, a row a step: the generator's loss, and the discriminator's
    as a share of the entropy of how many tokens are replaced."""
    few = (
        np.random.default_rng(0)
        .integers(SPECIAL_TOKENS.mask + 1, SPECIAL_TOKENS.mask + 7, 20_000)
        .astype(np.uint16)
    )
    text = Text(
        replace(running_text().corpus, shards=(few,), total_tokens=len(few)), SPECIAL_TOKENS, SIZE.vocabulary
    )
    found = []
    for metrics in training(electra.Objective(model, SPECIAL_TOKENS), learning, electra.batch, text, steps):
        share = metrics["replaced"]
        entropy = -(share * share.log() + (1 - share) * (1 - share).log())
        found.append([metrics["generator_loss"], metrics["discriminator_loss"] / entropy])
    print([[round(value.item(), 2) for value in pair] for pair in found[::10]])
    return torch.tensor(found)


def test_a_short_training_of_both() -> None:
    model = electra.network(SMALL, SPECIAL_TOKENS, 0)
    generator_loss, beside = short_training(list(model.parameters()), model, 60)[-10:].mean(0).tolist()
    assert generator_loss == pytest.approx(np.log(6), abs=0.1)  # the entropy of the text
    assert beside == pytest.approx(
        1, abs=0.05
    )  # words of the right shares at random positions cannot be found


def test_a_short_training_against_a_generator_that_stays_bad() -> None:
    model = electra.network(SMALL, SPECIAL_TOKENS, 0)
    reader = model.discriminator
    embedded = {id(parameter) for parameter in reader.electra.embeddings.parameters()}
    learning = [parameter for parameter in reader.parameters() if id(parameter) not in embedded]
    # a median: such a training has spikes, and when they come is the processor's affair
    generator_loss, beside = short_training(learning, model, 200)[100:].median(0).values.tolist()
    assert generator_loss > 3.5
    assert beside < 0.8  # 42 of 48 samples are no word of the text


def test_a_training_learns_more_than_how_often_each_token_comes() -> None:
    """Both networks do, of text in which each token is mostly that before it plus seven."""
    text, model = running_text(), electra.network(replace(SIZE, more={"generator": 1.0}), SPECIAL_TOKENS, 0)
    objective = electra.Objective(model, SPECIAL_TOKENS)
    history = training(objective, list(model.parameters()), electra.batch, text, 900)
    generator_losses, discriminator_losses = (
        [metrics[name].item() for metrics in history] for name in ("generator_loss", "discriminator_loss")
    )
    entropy = unigram_entropy(text.corpus.shards[0])
    print(f"{electra.TITLE}: to {np.mean(generator_losses[-50:]):.2f}, unigram entropy {entropy:.2f}")
    assert np.mean(generator_losses[-50:]) < 0.75 * entropy
    assert np.mean(discriminator_losses[-50:]) < 0.9 * np.mean(discriminator_losses[50:100])


def test_batch_is_a_function_of_seed_and_step() -> None:
    text = running_text()
    first = electra.batch(text, 3, 8, SIZE.context, 5)
    assert same(first, electra.batch(text, 3, 8, SIZE.context, 5))
    assert not same(first, electra.batch(text, 4, 8, SIZE.context, 5))
    assert not same(first, electra.batch(text, 3, 8, SIZE.context, 6))
    assert all(len(value) == 8 for value in first.values())


def test_features_do_not_see_padding() -> None:
    model, tokens_BT = network(), random_tokens(3, 12)
    padded_BT = torch.nn.functional.pad(tokens_BT, (0, 9), value=SPECIAL_TOKENS.padding)
    found = electra.features(model, padded_BT, SPECIAL_TOKENS)
    assert found.shape == (3, SIZE.hidden_size)
    torch.testing.assert_close(
        found, electra.features(model, tokens_BT, SPECIAL_TOKENS), rtol=1e-4, atol=1e-5
    )
