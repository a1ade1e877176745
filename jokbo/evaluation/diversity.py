"""Diversity of generated text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln

WORD = re.compile(r"\w+(?:'\w+)*|[^\w\s]")


class Distinct(NamedTuple):
    shares: dict[str, float | None]  # by model; null where some model has no n-gram at all
    count: int  # of n-grams, of each model


def distinct_n(texts: Mapping[str, Sequence[str]], n: int) -> Distinct:
    """Return the share of distinct n-grams among equally many n-grams of every model (Li et al. 2016, section 5.2).

    The share falls as a sample grows, so whoever says more would seem to repeat more. Of each model as many n-grams
    count as the one with the fewest has, and the share is its mean over all ways to draw them (rarefaction: Hurlbert
    1971, equation 4). Over words and punctuation marks in lower case; no n-gram crosses from one text into the next.
    """
    counts = {name: _counted(own, n) for name, own in texts.items()}
    drawn = min(int(count_K.sum()) for count_K in counts.values())
    return Distinct(
        {name: _expected(count_K, drawn) / drawn if drawn else None for name, count_K in counts.items()},
        drawn,
    )


def _counted(texts: Sequence[str], n: int) -> np.ndarray:
    """Return how often each n-gram comes, int64 [K]."""
    found = Counter(
        tuple(words[start : start + n])
        for words in (WORD.findall(text.lower()) for text in texts)
        for start in range(len(words) - n + 1)
    )
    return np.fromiter(found.values(), dtype=np.int64, count=len(found))


def _expected(count_K: np.ndarray, drawn: int) -> float:
    """Return how many different n-grams are among `drawn` of all, on average: each but for the chance of none of its
    own.
    """
    total = count_K.sum()
    often_K = count_K[total - count_K < drawn]  # some of these are in every draw
    rare_K = total - count_K[total - count_K >= drawn]
    # C(total - count, drawn) / C(total, drawn)
    missed_K = (
        gammaln(rare_K + 1) - gammaln(rare_K - drawn + 1) - gammaln(total + 1) + gammaln(total - drawn + 1)
    )
    return float(len(often_K) + (1 - np.exp(missed_K)).sum())
