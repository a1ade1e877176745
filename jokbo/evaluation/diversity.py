"""Diversity of generated text."""

from __future__ import annotations

import re
from collections.abc import Sequence

WORD = re.compile(r"\w+(?:'\w+)*|[^\w\s]")


def distinct_n(texts: Sequence[str], n: int) -> float:
    """Distinct n-grams of all texts as a share of all their n-grams (Li et al. 2016, section 5.2).

    Over words and punctuation marks in lower case; no n-gram crosses from one text into the next. The share
    falls as the sample grows, so compare systems on equally many texts of like length. 0 where no text has n
    words.
    """
    grams = [
        tuple(words[start : start + n])
        for words in (WORD.findall(text.lower()) for text in texts)
        for start in range(len(words) - n + 1)
    ]
    return len(set(grams)) / len(grams) if grams else 0.0
