"""Text with a structure that a tiny network learns in seconds, a short training, and the entropy to compare with."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import torch
from torch import Tensor, nn

from jokbo.data.corpus.batches import TokenCorpus
from jokbo.systems.common import Size, SpecialTokens, Text

SPECIAL_TOKENS = SpecialTokens(end_of_text=0, padding=1, unknown=2, cls=3, sep=4, mask=5)
ORDINARY, WORDS = 6, 42  # the first ordinary token; how many there are
SIZE = Size(vocabulary=ORDINARY + WORDS, layers=2, hidden_size=32, heads=2, context=32)


def running_text(documents: int = 400) -> Text:
    """Documents of 20 to 59 tokens, each but one in ten the one before plus seven."""
    rng = np.random.default_rng(0)
    token_strings = [[SPECIAL_TOKENS.end_of_text]]
    for length in rng.integers(20, 60, documents):
        steps = np.where(rng.random(length) < 0.1, rng.integers(WORDS, size=length), 7)
        token_strings += [ORDINARY + steps.cumsum() % WORDS, [SPECIAL_TOKENS.end_of_text]]
    tokens = np.concatenate(token_strings).astype(np.uint16)
    starts = np.concatenate([[0], np.flatnonzero(tokens == SPECIAL_TOKENS.end_of_text)[1:]]) + 1
    rows, sources = np.arange(documents), np.zeros(documents, np.uint16)
    corpus = TokenCorpus("text", (tokens,), [0], starts, rows, sources, ["a"], len(tokens))
    return Text(corpus, SPECIAL_TOKENS, SIZE.vocabulary)


def unigram_entropy(tokens: np.ndarray) -> float:
    """In nats a token."""
    share = np.bincount(tokens) / len(tokens)
    return float(-(share[share > 0] * np.log(share[share > 0])).sum())


def random_tokens(batch_size: int, length: int, seed: int = 0) -> Tensor:
    """Ordinary tokens, int64 [batch_size, length]."""
    return torch.from_numpy(
        np.random.default_rng(seed).integers(ORDINARY, SIZE.vocabulary, (batch_size, length))
    )


def sharpened(network: nn.Module) -> nn.Module:
    """The network with larger weights, its outputs far enough from uniform for differences to show."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(5 if parameter.ndim > 1 else 1)
    return network.eval()


def trained(
    system: ModuleType, text: Text, steps: int, rate: float = 0.005, batch: Callable | None = None
) -> tuple[nn.Module, list[float]]:
    """A network of SIZE after some steps of AdamW, and the loss at each."""
    network = system.network(SIZE, SPECIAL_TOKENS, 0)
    objective = system.Objective(network, SPECIAL_TOKENS)
    history = training(objective, list(objective.parameters()), batch or system.batch, text, steps, rate)
    return network, [metrics["loss"].item() for metrics in history]


def training(
    objective: nn.Module,
    learning: list[nn.Parameter],
    batch: Callable[..., dict[str, Tensor]],
    text: Text,
    steps: int,
    rate: float = 0.005,
) -> list[dict[str, Tensor]]:
    """The loss and the metrics of each step of AdamW on the parameters that are `learning`."""
    objective.train()
    optimizer = torch.optim.AdamW(learning, rate)
    history = []
    for step in range(steps):
        loss, metrics = objective(**batch(text, step, 16, SIZE.context, 0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append({**metrics, "loss": loss.detach()})
    return history


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
