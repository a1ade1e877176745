"""Quality rules of Gopher (Rae et al. 2021, appendix A.1.1): each is a measure of a document and bounds for it.

Words are what is between white space. Lines are those that are not blank; paragraphs are what is between blank lines.
Where the paper leaves a choice: a value at a bound passes; the first occurrence of something is no duplicate;
characters are those of words, lines or paragraphs, without the white space between; each stop word counts once, in any
case, for the paper says `at least two of the following`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from itertools import filterfalse
from operator import mul
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jokbo.params import Bounds
    from jokbo.params.data import Rule

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
BULLETS = ("•", "‣", "◦", "▪", "●", "○", "·", "-", "*")
ELLIPSES = ("...", "…")

_PARAGRAPH_END = re.compile(r"\n\s*\n")
_STOP_FORMS = [(word, word.capitalize(), word.upper()) for word in STOP_WORDS]


def failed(text: str, rules: Mapping[Rule, Bounds]) -> str | None:
    """Return the first rule, in the order of the mapping, whose bounds the text's measure is outside of; else None."""
    document = _Document(text)
    for name, bounds in rules.items():
        ceiling = _CEILINGS.get(name) if bounds.minimum is None else None
        if ceiling and bounds.maximum is not None and ceiling(document) <= bounds.maximum:
            continue
        value = _MEASURES[name](document)
        if bounds.minimum is not None and value < bounds.minimum:
            return name
        if bounds.maximum is not None and value > bounds.maximum:
            return name
    return None


def measure(text: str, rule: str) -> float:
    """Return the measure of a rule (jokbo.params.Rule): a count, a mean length in characters, or a share from 0 to 1.

    A share of nothing, such as of the words of an empty text, is 0.
    """
    return _MEASURES[rule](_Document(text))


class _Document:
    """A text, and what several rules compute from it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.words = text.split()
        self.counts = Counter(self.words)
        self.characters = sum(map(len, self.words))
        self.lines = list(filter(None, map(str.strip, text.split("\n"))))

    @cached_property
    def paragraphs(self) -> list[str]:
        return list(filter(None, map(str.strip, _PARAGRAPH_END.split(self.text))))

    @cached_property
    def heaviest(self) -> float:
        """Return the largest share of the characters that the occurrences of one word make up."""
        return _share(max(map(mul, map(len, self.counts), self.counts.values()), default=0), self.characters)

    @cached_property
    def duplicate_4_grams(self) -> float:
        return _duplicate_grams(self, 4)


def _share(some: float, whole: float) -> float:
    return some / whole if whole else 0.0


def _mean_word_length(document: _Document) -> float:
    return _share(document.characters, len(document.words))


def _symbols(document: _Document) -> float:
    text = document.text
    return _share(max(text.count("#"), sum(map(text.count, ELLIPSES))), len(document.words))


def _bullet_lines(document: _Document) -> float:
    return _share(sum(line.startswith(BULLETS) for line in document.lines), len(document.lines))


def _ellipsis_lines(document: _Document) -> float:
    return _share(sum(line.endswith(ELLIPSES) for line in document.lines), len(document.lines))


def _alphabetic_words(document: _Document) -> float:
    # few words are neither all letters nor in small letters; only those few go through a loop of Python
    others = filterfalse(str.islower, filterfalse(str.isalpha, document.words))
    without = sum(not any(map(str.isalpha, word)) for word in others)
    return _share(len(document.words) - without, len(document.words))


def _stop_words(document: _Document) -> float:
    return sum(not document.counts.keys().isdisjoint(forms) for forms in _STOP_FORMS)


def _duplicates(texts: Sequence[str]) -> float:
    return _share(len(texts) - len(set(texts)), len(texts))


def _duplicate_characters(texts: Sequence[str]) -> float:
    total = sum(map(len, texts))
    return _share(total - sum(map(len, set(texts))), total)


def _grams(document: _Document, n: int) -> zip[tuple[str, ...]]:
    return zip(*(document.words[start:] for start in range(n)), strict=False)


def _all_differ(document: _Document, n: int) -> bool:
    return len(set(_grams(document, n))) >= len(document.words) - n + 1


def _top_gram(document: _Document, n: int) -> float:
    """Return the share of the characters in the most frequent n-gram, or in the longest of the most frequent ones.

    It is 0 if no n-gram occurs twice. Occurrences that overlap count in full, as in "ha ha ha".
    """
    if _all_differ(document, n):
        return 0.0
    counts = Counter(_grams(document, n))
    most = max(counts.values())
    longest = max(sum(map(len, gram)) for gram, count in counts.items() if count == most)
    return _share(most * longest, document.characters)


def _duplicate_grams(document: _Document, n: int) -> float:
    """Return the share of the characters in words of n-grams that occurred before; each word counts once."""
    if _all_differ(document, n):
        return 0.0
    words, seen, covered, end = document.words, set(), 0, 0
    for start, gram in enumerate(_grams(document, n)):
        if gram in seen:
            covered += sum(map(len, words[max(start, end) : start + n]))  # what is before `end` is counted
            end = start + n
        seen.add(gram)
    return _share(covered, document.characters)


_MEASURES: dict[str, Callable[[_Document], float]] = {
    "words": lambda document: len(document.words),
    "mean_word_length": _mean_word_length,
    "symbols": _symbols,
    "bullet_lines": _bullet_lines,
    "ellipsis_lines": _ellipsis_lines,
    "alphabetic_words": _alphabetic_words,
    "stop_words": _stop_words,
    "duplicate_lines": lambda document: _duplicates(document.lines),
    "duplicate_paragraphs": lambda document: _duplicates(document.paragraphs),
    "duplicate_line_characters": lambda document: _duplicate_characters(document.lines),
    "duplicate_paragraph_characters": lambda document: _duplicate_characters(document.paragraphs),
    **{f"top_{n}_gram": partial(_top_gram, n=n) for n in (2, 3, 4)},
    **{f"duplicate_{n}_grams": partial(_duplicate_grams, n=n) for n in (5, 6, 7, 8, 9, 10)},
}

# No measure can be above its ceiling, which costs little: nearly all documents pass without a count of their n-grams.
# An n-gram occurs no more often than any word of it, and repeated 4-grams cover what repeated longer n-grams cover.
_CEILINGS: dict[str, Callable[[_Document], float]] = {
    **{f"top_{n}_gram": lambda document, n=n: n * document.heaviest for n in (2, 3, 4)},
    **{f"duplicate_{n}_grams": lambda document: document.duplicate_4_grams for n in (5, 6, 7, 8, 9, 10)},
}
