"""Cramming: what the network has not, attention fused and plain, rate and batch, sparse prediction, training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from jokbo.systems import cramming
from jokbo.training.engine import prefer_attention
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


def network() -> cramming.Crammed:
    return sharpened(cramming.network(SIZE, SPECIAL_TOKENS, 0))


def test_only_norms_have_biases() -> None:
    model = cramming.network(SIZE, SPECIAL_TOKENS, 0)
    biases = {name for name, _ in model.named_parameters() if name.endswith("bias")}
    assert biases
    assert all("norm" in name for name in biases)
    assert SIZE.dropout == 0


def test_network_against_plain_products() -> None:
    model, tokens_BT = network(), random_tokens(2, 7)
    states_BTD = model.embedding(tokens_BT)
    for position in range(7):
        for pair in range(SIZE.hidden_size // 2):
            angle = torch.tensor(position / 10_000 ** (2 * pair / SIZE.hidden_size))
            states_BTD[:, position, 2 * pair] += model.position_scale * angle.sin()
            states_BTD[:, position, 2 * pair + 1] += model.position_scale * angle.cos()
    states_BTD = model.first_norm(states_BTD)
    for layer in model.layers:
        query, key, value = layer.attention.queries_keys_values(layer.norm1(states_BTD)).split(
            SIZE.hidden_size, -1
        )
        heads = []
        for head in range(SIZE.heads):
            part = slice(head * SIZE.hidden_size // SIZE.heads, (head + 1) * SIZE.hidden_size // SIZE.heads)
            scores = (
                query[..., part] @ key[..., part].transpose(1, 2) / (SIZE.hidden_size / SIZE.heads) ** 0.5
            )
            heads.append(scores.softmax(-1) @ value[..., part])
        states_BTD = states_BTD + layer.attention.dense(torch.cat(heads, -1))
        middle, gate = layer.feed_forward.dense_in(layer.norm2(states_BTD)).split(2 * SIZE.hidden_size, -1)
        states_BTD = states_BTD + layer.feed_forward.dense_out(middle * nn.functional.gelu(gate))
    expected = model.last_norm(states_BTD)
    assert model.config._attn_implementation == "sdpa"
    torch.testing.assert_close(model(tokens_BT), expected, rtol=1e-4, atol=1e-4)
    prefer_attention(model)  # what the engine does on a CPU
    assert model.config._attn_implementation == "eager"
    torch.testing.assert_close(model(tokens_BT), expected, rtol=1e-4, atol=1e-4)


def test_loss_is_that_of_all_logits_however_rows_are_shared_out() -> None:
    model, batch = network(), cramming.batch(running_text(), 0, 6, SIZE.context, 0)
    objective = cramming.Objective(model, SPECIAL_TOKENS)
    loss, _ = objective(**batch)
    labels_BT = torch.full_like(batch["inputs_BT"], -100)
    kept_BK = torch.where(batch["weights_BK"] > 0, batch["targets_BK"], -100)
    labels_BT.scatter_(1, batch["positions_BK"], kept_BK)
    logits_BTV = model.logits(model(batch["inputs_BT"]))
    torch.testing.assert_close(
        loss, nn.functional.cross_entropy(logits_BTV.flatten(0, 1), labels_BT.flatten())
    )
    parts = [objective(*part)[0] for part in zip(*(v.chunk(3) for v in batch.values()), strict=True)]
    torch.testing.assert_close(torch.stack(parts).mean(), loss)


def test_the_learning_rate_rises_and_falls_once() -> None:
    rates = [cramming.rate(share / 1000) for share in range(1001)]
    assert [rates[share] for share in (0, 375, 750, 875, 1000)] == pytest.approx([0.25, 0.625, 1, 0.5, 0])
    assert rates[: 750 + 1] == sorted(rates[: 750 + 1])
    assert rates[750:] == sorted(rates[750:], reverse=True)
    assert cramming.rate(1.1) == 0  # a step that began in time may end after it


def test_the_batch_grows_by_whole_parts() -> None:
    batches = [cramming.batch_size(share / 1000, 1536) for share in range(1001)]
    assert [batches[share] for share in (0, 300, 600, 1000)] == [128, 768, 1536, 1536]
    assert batches == sorted(batches)
    assert set(batches) == set(range(128, 1537, 128))
    assert cramming.batch_size(1.1, 1536) == 1536
    few = [cramming.batch_size(share / 1000, 32) for share in range(1001)]
    assert (few[0], few[1000], len(set(few))) == (3, 32, 12)
    assert cramming.batch_size(0, 4) == 1


def test_a_saved_network_opens(tmp_path: Path) -> None:
    model, tokens_BT = network(), random_tokens(3, 20)
    model.save_pretrained(tmp_path)
    opened = cramming.Crammed.from_pretrained(tmp_path).eval()
    assert opened.config.num_hidden_layers == SIZE.layers
    assert torch.equal(opened(tokens_BT), model(tokens_BT))


def test_weights_are_a_function_of_the_seed() -> None:
    first, again, other = (cramming.network(SIZE, SPECIAL_TOKENS, seed).state_dict() for seed in (0, 0, 1))
    assert same(first, again)
    assert not same(first, other)
    assert first["layers.0.attention.dense.weight"].std().item() == pytest.approx(0.02, rel=0.1)


def test_a_short_training() -> None:
    text = running_text()
    model, losses = trained(cramming, text, 150)
    held, _ = cramming.Objective(model.eval(), SPECIAL_TOKENS)(
        **cramming.batch(text, 1000, 64, SIZE.context, 1)
    )
    assert held < 0.8 * losses[0]
    assert held < 0.9 * unigram_entropy(text.corpus.shards[0])


def test_batch_is_a_function_of_seed_and_step() -> None:
    text = running_text()
    first = cramming.batch(text, 3, 8, SIZE.context, 5)
    assert same(first, cramming.batch(text, 3, 8, SIZE.context, 5))
    assert not same(first, cramming.batch(text, 4, 8, SIZE.context, 5))
    assert not (first["inputs_BT"] == SPECIAL_TOKENS.end_of_text).any()
    assert (first["inputs_BT"] == SPECIAL_TOKENS.sep).any()


def test_corruption_is_berts() -> None:
    batch = cramming.batch(running_text(2000), 0, 300, 128, 0)
    kept_BK = batch["weights_BK"] > 0
    original_BT = batch["inputs_BT"].scatter(1, batch["positions_BK"], batch["targets_BK"])
    assert torch.equal(kept_BK.sum(1), (0.15 * (original_BT > SPECIAL_TOKENS.mask).sum(1)).round().long())
    new, old = batch["inputs_BT"].gather(1, batch["positions_BK"])[kept_BK], batch["targets_BK"][kept_BK]
    error = 4 * (0.8 * 0.2 / len(new)) ** 0.5
    assert (new == SPECIAL_TOKENS.mask).float().mean().item() == pytest.approx(0.8, abs=error)
    assert (new == old).float().mean().item() == pytest.approx(0.1 + 0.1 / 42, abs=error)


def test_features_are_means_that_do_not_see_padding() -> None:
    model, tokens_BT = network(), random_tokens(3, 12)
    padded_BT = nn.functional.pad(tokens_BT, (0, 9), value=SPECIAL_TOKENS.padding)
    found = cramming.features(model, padded_BT, SPECIAL_TOKENS)
    torch.testing.assert_close(found, model(tokens_BT).mean(1), rtol=1e-4, atol=1e-5)
