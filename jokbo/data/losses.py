"""What was left out on the way, in lines for the terminal: what is much, and what is worth a look however little."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jokbo.data.failures import FAILED
from jokbo.runtime.errors import MUCH


def of_preparation(facts: Mapping[str, Any]) -> Iterator[str]:
    """Of what `prepare` counted: sources that lost much, documents that a step failed on, labels that contradict."""
    for source, found in facts["sources"].items():
        dropped = found.get("dropped", {})
        left_out = sum(dropped.values())
        if left_out > MUCH * found["rows"]:
            yield f"{source}: {part(left_out, found['rows'], 'rows')} left out: {reasons(dropped)}"
        for reason in (reason for reason in sorted(dropped) if reason.startswith(FAILED)):
            (_, _, example, *_) = facts["examples"][reason][0]
            step = reason.removeprefix(FAILED)
            yield f"{source}: {dropped[reason]:,} documents left out because {step} failed on them, such as {example}"
        if contradicting := found.get("conflicting_labels"):
            yield f"{source}: {contradicting:,} texts stand there with both labels: they are kept without one"


def of_tokens(tokenized: Mapping[str, Any], training_documents: int) -> Iterator[str]:
    """Of what `tokenize` counted: training documents that are not in the mix, or of which only a part is read."""
    unused = tokenized.get("unused", {})
    if sum(unused.values()) > MUCH * training_documents:
        yield f"documents for training that are in no source of the mix: {reasons(unused)}"
    for source, found in tokenized["sources"].items():
        if found["epochs"] < 1 - MUCH:
            yield f"{source}: by the mix {found['epochs']:.0%} of its training documents are read"


def part(some: int, whole: int, what: str) -> str:
    return f"{some:,} of {whole:,} {what} ({some / max(whole, 1):.0%})"


def reasons(counts: Mapping[str, int]) -> str:
    """Names and their counts, the largest first."""
    return ", ".join(
        f"{name} {counts[name]:,}" for name in sorted(counts, key=lambda name: (-counts[name], name))
    )
