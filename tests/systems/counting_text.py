"""Text whose tokens say their position in the corpus, so that a sequence shows from where it was cut."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from torch import Tensor

from jokbo.data.corpus.batches import TokenCorpus
from jokbo.systems.common import Text
from tests.systems.running_text import ORDINARY, SPECIAL_TOKENS

START = 10_000  # far above ORDINARY: a token put in by chance is another's with some small probability only


def counting_text(*lengths: int) -> Text:
    """Documents of so many tokens: token i of the corpus is START + i, but for the special tokens that end them."""
    starts = np.concatenate([[1], 1 + np.cumsum(np.array(lengths) + 1)])
    tokens = START + np.arange(starts[-1])
    tokens[starts - 1] = SPECIAL_TOKENS.end_of_text
    rows, sources = np.arange(len(lengths)), np.zeros(len(lengths), np.uint16)
    corpus = TokenCorpus("text", (tokens,), [0], starts, rows, sources, ["a"], len(tokens))
    return Text(corpus, SPECIAL_TOKENS, START + len(tokens))


def document_of(text: Text, token: int) -> int:
    assert token >= START
    return int(np.searchsorted(text.corpus.documents, token - START, side="right")) - 1


def original(batch: dict[str, Tensor]) -> Tensor:
    """Return the sequences of a batch as they were before tokens were masked."""
    targets_BK, positions_BK, inputs_BT = (
        batch["targets_BK"],
        batch["positions_BK"],
        batch["inputs_BT"].clone(),
    )
    for row, position in (batch["weights_BK"] > 0).nonzero().tolist():
        inputs_BT[row, positions_BK[row, position]] = targets_BK[row, position]
    return inputs_BT


def segments(row_T: Tensor) -> list[list[int]]:
    """Return the tokens between special tokens, once those are checked: [CLS] A [SEP] (B [SEP]) and padding alone."""
    tokens = [token for token in row_T.tolist() if token != SPECIAL_TOKENS.padding]
    assert (row_T[len(tokens) :] == SPECIAL_TOKENS.padding).all()
    assert (tokens[0], tokens[-1]) == (SPECIAL_TOKENS.cls, SPECIAL_TOKENS.sep)
    found: list[list[int]] = [[]]
    for token in tokens[1:-1]:
        if token == SPECIAL_TOKENS.sep:
            found.append([])
        else:
            assert token >= ORDINARY
            found[-1].append(token)
    return found


def running(segment: list[int]) -> bool:
    return segment == list(range(segment[0], segment[0] + len(segment)))


def span_shares(chances: Sequence[float], budget: int) -> dict[int, float]:
    """The share of each length, from 1 on, where lengths are drawn by these chances up to a budget and the last one
    is cut to it: by going through all that can be drawn first."""

    @cache
    def expected(left: int) -> np.ndarray:
        counts = np.zeros(len(chances))
        for length, chance in enumerate(chances, 1):
            if left:
                counts += chance * expected(left - min(length, left))
                counts[min(length, left) - 1] += chance
        return counts

    counts = expected(budget)
    return dict(enumerate(counts / counts.sum(), 1))
