"""Which instructions and which instances are left out, and why (Wang et al. 2022, section 2.2, and their code)."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import NamedTuple

from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import Tokenizer

from jokbo.data.prepare.words import spaced
from jokbo.instructions.asking import Example

MOST_ALIKE = 0.7  # ROUGE-L with any other instruction stays below it
FEWEST_WORDS, MOST_WORDS = 4, 150
MOST_EXAMPLES = 5  # of a task
KEYWORDS = re.compile(r"\b(?:images?|graphs?|pictures?|files?|maps?|draw|plot|go to)\b", re.I)

# why an instruction is left out
EMPTY, CUT = "it is empty", "the model was cut off in it"
SHORT, LONG = f"it has fewer than {FEWEST_WORDS} words", f"it has more than {MOST_WORDS} words"
KEYWORD = "it asks for what a text cannot hold (image, graph, file ...)"
PROGRAM = "it begins with Write a program"
PUNCTUATION = "it begins with a punctuation mark"
SCRIPT = "it begins with a letter beyond ASCII, as no seed does"
ALIKE = f"its ROUGE-L with a seed or a kept instruction is {MOST_ALIKE} or more"
# why an instance is left out
NOTHING, SAME = "its output is empty", "its output is its input"
COLON = "its input or output ends with a colon"
TWICE, UNREADABLE = "it is there twice", "there is none in the form that was asked for"
CONFLICT = "its input has different outputs"
COPIED = "its output is word for word that of a seed"
UNKNOWN_LABEL, NO_INPUT = "its label is not in the list of labels", "it has a label and no input"
MANY = f"the task has {MOST_EXAMPLES} already"


class Nearest(NamedTuple):
    rouge: float
    instruction: str


class _Words(Tokenizer):
    """Words of any script, as near-duplicates are found by them; those of the library are ASCII alone."""

    def tokenize(self, text: str) -> list[str]:
        return _words(text)


@lru_cache(maxsize=100_000)
def _words(text: str) -> list[str]:
    return spaced(text).split()


_SCORER = RougeScorer(["rougeL"], tokenizer=_Words())


def rouge(one: str, other: str) -> float:
    """Return ROUGE-L of two texts, the F measure, from 0 to 1."""
    return round(_SCORER.score(one, other)["rougeL"].fmeasure, 9)  # so that 7 of 10 words are 0.7


def nearest(instruction: str, others: Sequence[str]) -> Nearest:
    """Return the first of the others that is most alike, and how much."""
    return max((Nearest(rouge(other, instruction), other) for other in others), key=lambda found: found.rouge)


def unfit(instruction: str, *, ascii_only: bool) -> str | None:
    """Return why an instruction is left out by itself; None if it is not.

    ascii_only: whether the seeds begin with ASCII alone.
    """
    if not _words(instruction):
        return EMPTY
    if instruction[0] in string.punctuation:
        return PUNCTUATION
    if ascii_only and not instruction[0].isascii():
        return SCRIPT
    words = len(instruction.split())
    if not FEWEST_WORDS <= words <= MOST_WORDS:
        return SHORT if words < FEWEST_WORDS else LONG
    if KEYWORDS.search(instruction):
        return KEYWORD
    return PROGRAM if instruction.startswith("Write a program") else None


def fit(
    examples: Sequence[Example], labels: Sequence[str] | None = None, told: Collection[str] = ()
) -> tuple[list[Example], Counter[str]]:
    """Return the examples that are kept, and how many are left out, by reason.

    labels: those of a classification task. Its examples have one of them, and an input. told: outputs of seeds, which a
    small model copies where it knows no other.
    """
    kept: list[Example] = []
    left_out: Counter[str] = Counter()
    for each in examples:
        if why := _unfit(each, labels, told):
            left_out[why] += 1
        elif each in kept:
            left_out[TWICE] += 1
        else:
            kept.append(each)
    inputs = Counter(each.input for each in kept if each.input)
    if inputs and max(inputs.values()) > 1:
        left_out[CONFLICT] += len(kept)
        return [], left_out
    if more := len(kept) - MOST_EXAMPLES:
        left_out[MANY] += max(0, more)
    return kept[:MOST_EXAMPLES], +left_out


def _unfit(example: Example, labels: Sequence[str] | None, told: Collection[str]) -> str | None:
    if not example.output:
        return NOTHING
    if example.input == example.output:
        return SAME
    if example.input.endswith(":") or example.output.endswith(":"):
        return COLON
    if labels is None:
        return COPIED if example.output in told else None
    if example.output.casefold() not in {each.casefold() for each in labels}:
        return UNKNOWN_LABEL
    return None if example.input else NO_INPUT
