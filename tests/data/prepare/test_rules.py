from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jokbo.data.prepare.rules import failed, measure
from jokbo.params import Bounds, Quality

RULES = list(Quality.model_fields["rules"].annotation.__args__[0].__args__)
WORDS = (
    "the",
    "The",
    "be",
    "ha",
    "a",
    "film,",
    "10/10",
    "#",
    "...",
    "한국",
    "2",
    "—",
    "it…",
    "•",
    "½",
    "\n",
    "\n\n",
)
some, few = (st.lists(st.sampled_from(words), max_size=40) for words in (WORDS, WORDS[:4]))
documents = some.map(" ".join) | few.map(lambda words: " ".join(words[:9] * 3)) | st.text()
bounds = st.tuples(st.floats(0, 1), st.floats(0, 1), st.booleans()).map(
    lambda drawn: Bounds(minimum=min(drawn[:2]) if drawn[2] else None, maximum=max(drawn[:2]))
)


def slow(text: str, rule: str) -> float:
    """Return the measure, computed as one would say it."""
    words = text.split()
    characters = sum(len(word) for word in words)
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    paragraphs = [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]

    def share(part, whole):
        return part / whole if whole else 0

    def repeated(parts):
        return [part for index, part in enumerate(parts) if part in parts[:index]]

    def grams(n):
        return [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]

    if rule == "words":
        return len(words)
    if rule == "mean_word_length":
        return share(characters, len(words))
    if rule == "symbols":
        return share(max(text.count("#"), text.count("...") + text.count("…")), len(words))
    if rule == "bullet_lines":
        return share(len([line for line in lines if line[0] in "•‣◦▪●○·-*"]), len(lines))
    if rule == "ellipsis_lines":
        return share(len([line for line in lines if line.endswith("...") or line[-1] == "…"]), len(lines))
    if rule == "alphabetic_words":
        letter = [word for word in words if any(c.isalpha() or c.islower() for c in word)]
        return share(len(letter), len(words))
    if rule == "stop_words":
        return len(
            {"the", "be", "to", "of", "and", "that", "have", "with"} & {word.lower() for word in words}
        )
    if match := re.fullmatch(r"duplicate_(line|paragraph)(s|_characters)", rule):
        parts = lines if match[1] == "line" else paragraphs
        weigh = len if match[2] == "s" else lambda parts: len("".join(parts))
        return share(weigh(repeated(parts)), weigh(parts))
    n = int(re.search(r"\d+", rule)[0])
    if rule.startswith("top"):
        counts = Counter(grams(n))
        most = max(counts.values(), default=0)
        weights = [most * len("".join(gram)) for gram in counts if counts[gram] == most > 1]
        return share(max(weights, default=0), characters)
    covered = set()
    for index, gram in enumerate(grams(n)):
        if gram in grams(n)[:index]:
            covered.update(range(index, index + n))
    return share(sum(len(words[index]) for index in covered), characters)


@pytest.mark.parametrize("rule", RULES)
@given(text=documents)
def test_a_measure_is_what_it_says(rule, text):
    assert measure(text, rule) == slow(text, rule)


@given(documents, st.dictionaries(st.sampled_from(RULES), bounds, max_size=20))
def test_the_first_rule_that_fails_is_named(text, rules):
    def outside(value, bounds):
        return value > bounds.maximum or (bounds.minimum is not None and value < bounds.minimum)

    wrong = [name for name, bounds in rules.items() if outside(slow(text, name), bounds)]
    assert failed(text, rules) == next(iter(wrong), None)


@pytest.mark.parametrize("rule", ["top_2_gram", "top_3_gram", "top_4_gram"])
def test_an_n_gram_may_hold_more_than_any_of_its_words(rule):
    assert failed("ha ho hi he " * 20, {rule: Bounds(maximum=0.4)}) == rule
    assert failed("ha ho hi he " * 20, {rule: Bounds(minimum=0.4, maximum=1.5)}) is None
    assert failed("ha ho hi he " * 20, {rule: Bounds(minimum=1.1, maximum=1.5)}) == rule


def lines(*counted: tuple[int, str]) -> str:
    return "\n".join(
        f"{line}" if "{" not in line else line.format(i) for n, line in counted for i in range(n)
    )


PASSES_AND_FAILS = {  # at the paper's thresholds, the first just passes and the second just fails
    "words": ({"minimum": 50}, "word " * 50, "word " * 49),
    "mean_word_length": ({"minimum": 3, "maximum": 10}, "abcdefghij " * 9, "abcdefghij " * 8 + "abcdefghijk"),
    "symbols": ({"maximum": 0.1}, "# " + "word " * 9, "#more " + "word " * 8),
    "bullet_lines": ({"maximum": 0.9}, lines((9, "• one"), (1, "two")), lines((10, "- one"), (1, "two"))),
    "ellipsis_lines": ({"maximum": 0.3}, lines((3, "so..."), (7, "no")), lines((3, "so…"), (6, "no"))),
    "alphabetic_words": ({"minimum": 0.8}, "10/10 " + "영화 " * 4, "10/10 " + "film " * 3),
    "stop_words": ({"minimum": 2}, "THE cat with a dog", "The cat, the dog, the bird"),
    "duplicate_lines": ({"maximum": 0.3}, lines((4, "a"), (6, "b {}")), lines((4, "a"), (5, "b {}"))),
    "duplicate_paragraphs": ({"maximum": 0.3}, "a\n\na\n\nb\n\nc", "a\n\na\n\nb"),
    "duplicate_line_characters": ({"maximum": 0.2}, "aa\naa\nbbbbbb", "aa\naa\nbbbbb"),
    "duplicate_paragraph_characters": ({"maximum": 0.2}, "aa\n\naa\n\nbbbb\nbb", "aa\n\naa\n\nbb\nbb"),
    "top_2_gram": ({"maximum": 0.2}, "a b c a b " + "d" * 15, "a b c a b " + "d" * 14),
    "top_3_gram": ({"maximum": 0.2}, "a b c d a b c " + "e" * 23, "a b c d a b c " + "e" * 22),
    "top_4_gram": ({"maximum": 0.16}, "a b c d e a b c d " + "f" * 41, "a b c d e a b c d " + "f" * 40),
    **{
        f"duplicate_{n}_grams": (
            {"maximum": 0.1},
            " ".join([*"abcdefghij"[:n], "x", *"abcdefghij"[:n], "y" * (8 * n - 1)]),
            " ".join([*"abcdefghij"[:n], "x", *"abcdefghij"[:n], "y" * (8 * n - 2)]),
        )
        for n in range(5, 11)
    },
}


@pytest.mark.parametrize("rule", RULES)
def test_a_document_just_passes_or_just_fails(rule):
    bounds, passes, fails = PASSES_AND_FAILS[rule]
    assert failed(passes, {rule: Bounds(**bounds)}) is None
    assert failed(fails, {rule: Bounds(**bounds)}) == rule


def test_an_empty_text_is_measured():
    assert {measure("", rule) for rule in RULES} == {0}
