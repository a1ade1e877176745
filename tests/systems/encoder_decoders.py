"""Text with something to learn in it, tiny networks and a short training, for the tests of encoder-decoders."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from jokbo.data.corpus.batches import TokenCorpus
from jokbo.systems.common import Size, SpecialTokens, Text

SPECIAL_TOKENS = SpecialTokens(end_of_text=0, padding=1, unknown=2, cls=3, sep=4, mask=5)
VOCABULARY, CONTEXT = 26, 24


def size(**more: Any) -> Size:
    return Size(VOCABULARY, layers=2, hidden_size=32, heads=2, context=CONTEXT, more=more)


def text(documents: int = 300, length: int = 31) -> Text:
    """Documents in which a token names the next, but for one in twenty."""
    rng = np.random.default_rng(0)
    ordinary = np.arange(6, VOCABULARY)
    follower = np.zeros(VOCABULARY, np.int64)
    follower[ordinary] = np.roll(ordinary, 7)
    tokens = rng.choice(ordinary, (documents, length + 1))
    for position in range(1, length):
        told = rng.random(documents) < 0.95
        tokens[told, position] = follower[tokens[told, position - 1]]
    tokens[:, -1] = SPECIAL_TOKENS.end_of_text
    stream = np.concatenate([[SPECIAL_TOKENS.end_of_text], tokens.ravel()])
    bounds = 1 + np.arange(documents + 1) * (length + 1)
    rows, sources = np.arange(documents), np.zeros(documents, np.uint16)
    corpus = TokenCorpus("text", (stream,), [0], bounds, rows, sources, ["a"], len(stream))
    return Text(corpus, SPECIAL_TOKENS, VOCABULARY)


def entropy(corpus: TokenCorpus) -> float:
    """Of its unigrams, nats."""
    shares = np.bincount(corpus.window(0, corpus.total_tokens)) / corpus.total_tokens
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())


def learn(
    objective: nn.Module, batch_at: Callable[[int], dict[str, Tensor]], steps: int, rate: float = 0.005
) -> list[float]:
    """The loss of each step of a short training, without label smoothing."""
    optimizer = torch.optim.AdamW(objective.parameters(), lr=rate)
    losses = []
    for step in range(steps):
        loss, metrics = objective(**batch_at(step))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(objective.parameters(), 1.0)
        optimizer.step()
        losses.append(metrics.get("nll", loss).item())
    return losses


def check_batches(batch: Callable[..., dict[str, Tensor]]) -> None:
    """They are a function of (seed, step), all of one shape."""
    source = text()
    one, same, later, other = (
        batch(source, step, 8, CONTEXT, seed) for step, seed in ((3, 1), (3, 1), (4, 1), (3, 2))
    )
    assert one.keys() == same.keys()
    for name, value in one.items():
        assert len(value) == 8
        assert torch.equal(value, same[name])
        assert value.shape == later[name].shape == other[name].shape
    assert any(not torch.equal(value, later[name]) for name, value in one.items())
    assert any(not torch.equal(value, other[name]) for name, value in one.items())


def check_shares(objective: nn.Module, batch: dict[str, Tensor]) -> None:
    """The mean of the losses of two halves of a batch is the loss of all, as two ranks would add it up."""
    whole, _ = objective(**batch)
    chunks = {name: value.chunk(2) for name, value in batch.items()}
    halves = [{name: values[half] for name, values in chunks.items()} for half in (0, 1)]
    torch.testing.assert_close(torch.stack([objective(**half)[0] for half in halves]).mean(), whole)


def check_features(features: Callable[..., Tensor], network: nn.Module, hidden_size: int) -> None:
    """A vector for each text, whatever the padding and the other texts; another for another text, or last token."""
    network.eval()
    tokens_BT = torch.randint(6, VOCABULARY, (3, CONTEXT - 4), generator=torch.Generator().manual_seed(0))
    tokens_BT[1, 9:], tokens_BT[2, 4:] = SPECIAL_TOKENS.padding, SPECIAL_TOKENS.padding
    found_BD = features(network, tokens_BT, SPECIAL_TOKENS)
    assert found_BD.shape == (3, hidden_size)
    padded_BT = nn.functional.pad(tokens_BT, (0, 4), value=SPECIAL_TOKENS.padding)
    torch.testing.assert_close(features(network, padded_BT, SPECIAL_TOKENS), found_BD, rtol=1e-4, atol=1e-5)
    alone = features(network, tokens_BT[1:2, :9], SPECIAL_TOKENS)[0]
    torch.testing.assert_close(alone, found_BD[1], rtol=1e-4, atol=1e-5)
    changed_BT = tokens_BT.clone()
    changed_BT[1, 8] = 6 + (changed_BT[1, 8] - 5) % (VOCABULARY - 6)
    again_BD = features(network, changed_BT, SPECIAL_TOKENS)
    assert not torch.isclose(again_BD[1], found_BD[1], atol=1e-3).all()
    torch.testing.assert_close(again_BD[2], found_BD[2])
