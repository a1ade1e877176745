"""What is known of tasks that a model wrote: how many are kept, why others are not, how long and how new they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import mean, median
from typing import Any

from jokbo.data.prepare.words import spaced
from jokbo.instructions.instructor import Candidate, Round

FIRST_WORDS = 20  # of the most common
STEPS = 10  # of ROUGE-L from 0 to 1


def summary(rounds: Sequence[Round]) -> dict[str, Any]:
    """Return counts and lengths of all rounds. Lengths are in words."""
    found = [each for some in rounds for each in some]
    kept = [each for each in found if not each.left_out]
    tasks = [each for each in kept if each.instances]
    instances = [instance for each in tasks for instance in each.instances]
    dropped: Counter[str] = Counter()
    for each in kept:
        dropped.update(each.instances_left_out)
    return {
        "written": len(found),
        "kept": len(kept),
        "tasks": len(tasks),
        "instances": len(instances),
        "rounds": [_counts(some) for some in rounds],
        "left_out": dict(Counter(each.left_out for each in found if each.left_out).most_common()),
        "instances_left_out": dict(dropped.most_common()),
        "classification": _share(each.classification for each in tasks),
        "with_input": _share(bool(instance["input"]) for instance in instances),
        "words": {
            "instruction": _lengths(each.instruction for each in tasks),
            "input": _lengths(instance["input"] for instance in instances if instance["input"]),
            "output": _lengths(instance["output"] for instance in instances),
        },
        "nearest_seed": _steps(tasks),
        "first_words": dict(Counter(map(_first_word, tasks)).most_common(FIRST_WORDS)),
    }


def _counts(some: Round) -> dict[str, int]:
    kept = [each for each in some if not each.left_out]
    return {"written": len(some), "kept": len(kept), "tasks": sum(bool(each.instances) for each in kept)}


def _share(values: Iterable[bool | None]) -> float | None:
    found = [bool(each) for each in values]
    return round(mean(found), 4) if found else None


def _lengths(texts: Iterable[str]) -> dict[str, float] | None:
    counts = [len(text.split()) for text in texts]
    if not counts:
        return None
    return {
        "mean": round(mean(counts), 2),
        "median": median(counts),
        "least": min(counts),
        "most": max(counts),
    }


def _steps(tasks: Sequence[Candidate]) -> list[int]:
    """Return how many tasks have a ROUGE-L with the nearest seed from 0 to 0.1, from there to 0.2, and so on."""
    counts = Counter(int((each.nearest_seed or 0) * STEPS) for each in tasks)
    return [counts[step] for step in range(STEPS)]


def _first_word(task: Candidate) -> str:
    return spaced(task.instruction).split()[0]
