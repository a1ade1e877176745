"""MASS hides a fragment of half the tokens from the encoder and predicts it where it was."""

from __future__ import annotations

import pytest
import torch

from jokbo.systems import mass
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


def test_a_fragment_of_half_the_tokens_is_hidden_anywhere() -> None:
    source, batch_size = text(), 300
    block = source.blocks(0, batch_size, CONTEXT, 0)
    batch = mass.batch(source, 0, batch_size, CONTEXT, 0)
    positions, half = batch["positions_BK"], CONTEXT // 2
    assert positions.shape == (batch_size, half)
    assert (positions.diff(dim=1) == 1).all()
    assert torch.equal(batch["fragment_BK"], block.gather(1, positions))
    outside = torch.ones(batch_size, CONTEXT, dtype=torch.bool).scatter(1, positions, value=False)
    assert torch.equal(batch["hidden_BT"][outside], block[outside])
    starts = torch.bincount(positions[:, 0], minlength=half + 1) / batch_size
    assert (starts - 1 / (half + 1)).abs().max() < 4 * (1 / (half + 1) / batch_size) ** 0.5


def test_eight_in_ten_hidden_tokens_are_masks() -> None:
    source, batch_size = text(), 300
    seen, true = [], []
    for step in range(20):
        batch = mass.batch(source, step, batch_size, CONTEXT, 0)
        seen.append(batch["hidden_BT"].gather(1, batch["positions_BK"]).flatten())
        true.append(batch["fragment_BK"].flatten())
    seen_N, true_N = torch.cat(seen), torch.cat(true)

    def near(found: torch.Tensor, share: float) -> bool:
        return abs(found.float().mean() - share) < 4 * (share * (1 - share) / len(seen_N)) ** 0.5

    chance = 1 / (VOCABULARY - 6)  # that a random token is the true one, where that is no special token
    special_tokens = (true_N < 6).float().mean()
    assert near(seen_N == SPECIAL_TOKENS.mask, 0.8)
    assert near(seen_N == true_N, 0.1 + 0.1 * chance * float(1 - special_tokens))


def test_loss_is_the_mean_over_the_fragment_at_its_positions() -> None:
    network = mass.network(size(), SPECIAL_TOKENS, 0)
    batch = mass.batch(text(), 0, 3, CONTEXT, 0)
    loss, _ = mass.Objective(network, SPECIAL_TOKENS)(**batch)
    total = 0.0
    for hidden, fragment, positions in zip(*batch.values(), strict=True):
        memory = network.encode(hidden[None])
        inputs = torch.tensor([SPECIAL_TOKENS.mask, *fragment[:-1]])
        states = network.embedding(inputs) * 32**0.5 + network.positions_CD[positions]
        logits = network.decoder(states[None], memory)[0] @ network.embedding.weight.T
        total -= float(logits.log_softmax(1)[range(12), fragment].sum().detach()) / 36
    assert loss.item() == pytest.approx(total, rel=1e-5)
    moved, _ = mass.Objective(network, SPECIAL_TOKENS)(
        **{**batch, "positions_BK": (batch["positions_BK"] + 1) % CONTEXT}
    )
    assert moved.item() != pytest.approx(loss.item(), rel=1e-4)


def test_batches_and_shares_of_them() -> None:
    check_batches(mass.batch)
    check_shares(
        mass.Objective(mass.network(size(), SPECIAL_TOKENS, 0), SPECIAL_TOKENS),
        mass.batch(text(), 0, 8, CONTEXT, 0),
    )


def test_features() -> None:
    check_features(mass.features, mass.network(size(), SPECIAL_TOKENS, 0), 32)


def test_it_learns() -> None:
    source = text()
    objective = mass.Objective(mass.network(size(), SPECIAL_TOKENS, 0), SPECIAL_TOKENS)
    losses = learn(objective, lambda step: mass.batch(source, step, 16, CONTEXT, 0), 120)
    assert losses[0] > 2.8
    assert sum(losses[-5:]) / 5 < entropy(source.corpus) / 2
