"""Packed prompts and responses: none is cut, none is lost, and each is read as if it were alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from jokbo.data.prompts import Prompts
from jokbo.finetuning import continuation
from jokbo.models import causal
from tests.support.networks import CONTEXT, END, PADDING, network, tokens

PROMPT = 4
SIZES = [5, 17, 9, 12, 24, 6, 8, 8, 21, 13, 5, 5]


def prompts() -> Prompts:
    tokens_MS = tokens(len(SIZES), max(SIZES))
    for row, size in zip(tokens_MS, SIZES, strict=True):
        row[size - 1], row[size:] = END, PADDING
    return Prompts(tokens_MS, torch.tensor(SIZES) - PROMPT, PROMPT)


def sequences(rows: continuation.Rows) -> list[list[int]]:
    """Return what stands between the starts of sequences, padding left out."""
    found: list[list[int]] = []
    for tokens_S, positions_T in zip(rows.tokens_NS, rows.positions_NT, strict=True):
        starts = (positions_T == 0).nonzero()[:, 0].tolist()
        found += [part.tolist() for part in tokens_S.tensor_split(starts[1:])]
    parts = [[token for token in part if token != PADDING] for part in found]
    return [part for part in parts if part]


def test_each_sequence_is_there_once_and_whole() -> None:
    given = prompts()
    rows = continuation.packed(given, given.real_NT, CONTEXT, PADDING)
    whole = [row[:size].tolist() for row, size in zip(given.tokens_NS, SIZES, strict=True)]
    assert sorted(sequences(rows)) == sorted(whole)


def test_rows_are_nearly_full() -> None:
    given = prompts()
    rows = continuation.packed(given, given.real_NT, CONTEXT, PADDING)
    assert len(rows.tokens_NS) == -(-sum(SIZES) // (CONTEXT + 1))  # no fewer would hold them


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
@pytest.mark.parametrize("targets", ["real_NT", "mask_NT"])
def test_the_loss_is_that_of_each_sequence_alone(architecture: str, targets: str) -> None:
    model, given = network(architecture).eval(), prompts()
    targets_MT: Tensor = getattr(given, targets)
    rows = continuation.packed(given, targets_MT, CONTEXT, PADDING)
    batch = continuation.batches(rows, len(rows.tokens_NS), seed=0)(0)
    loss, _ = causal.NextTokenWhere(model)(**batch)
    alone = [causal.token_losses(model, row[None])[0] for row in given.tokens_NS]
    torch.testing.assert_close(loss, torch.stack(alone)[targets_MT].mean())


def test_a_sequence_longer_than_the_context_is_not_cut() -> None:
    given = prompts()
    rows = continuation.packed(given, given.real_NT, 8, PADDING)
    assert rows.tokens_NS.shape[1] == max(SIZES)
