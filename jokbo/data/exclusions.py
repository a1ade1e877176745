"""What is left out on the way to the corpus: a document that a step fails on, and lines for the terminal on all of it.

A document that a step fails on is left out, counted and named. A step that fails on too many is at fault itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from jokbo.data.counts import Counts, Tokenized
from jokbo.runtime.errors import MUCH, InputError

Result = TypeVar("Result")
FAILED = "failed_"  # before a step's name: why a document was left out
FEW = 10  # documents; so few are at fault themselves, even if they are most of a small corpus


class Failed(Exception):
    """A step raised an exception on one document."""

    def __init__(self, step: str, error: Exception) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.reason = FAILED + step


def tried(step: str, work: Callable[..., Result], *given: Any) -> Result:
    """Return what `work` returns. Raises Failed for what it raises, but for MemoryError: no document is at fault."""
    try:
        return work(*given)
    except MemoryError:
        raise
    except Exception as error:
        raise Failed(step, error) from error


def check_failures(counts: Counts, share: float) -> None:
    """Raise InputError if a step failed on all documents, or on more than FEW and more than `share` of them."""
    rows = sum(found.rows for found in counts.sources.values())
    reasons: Counter[str] = Counter()
    for found in counts.sources.values():
        reasons.update(found.dropped)
    for reason, failed in reasons.items():
        if reason.startswith(FAILED) and (failed == rows or failed > max(FEW, share * rows)):
            step, (_, _, example, *_) = reason.removeprefix(FAILED), counts.examples[reason][0]
            raise InputError(
                f"the step {step} failed on {failed:,} of {rows:,} documents, such as {example}: correct the step or "
                f"take it out; if the documents are at fault, raise prepare.maximum_failed, which is {share:g}"
            )


def of_preparation(counts: Counts) -> Iterator[str]:
    """Yield a line for each source that lost much, each step that failed, and each source with contradicting labels."""
    for source, found in counts.sources.items():
        left_out = sum(found.dropped.values())
        if left_out > MUCH * found.rows:
            share = f"{left_out:,} of {found.rows:,} rows ({left_out / max(found.rows, 1):.0%})"
            yield f"{source}: {share} left out: {reasons(found.dropped)}"
        for reason in (reason for reason in sorted(found.dropped) if reason.startswith(FAILED)):
            (_, _, example, *_) = counts.examples[reason][0]
            step, failed = reason.removeprefix(FAILED), found.dropped[reason]
            yield f"{source}: {failed:,} documents left out because {step} failed on them, such as {example}"
        if contradicting := found.conflicting_labels:
            yield f"{source}: {contradicting:,} texts have both labels: they are kept without a label"


def of_tokens(tokenized: Tokenized, training_documents: int) -> Iterator[str]:
    """Yield a line on training documents that are not in the mix, and one for each source that is read in part."""
    if sum(tokenized.unused.values()) > MUCH * training_documents:
        yield f"documents for training that are in no source of the mix: {reasons(tokenized.unused)}"
    for source, found in tokenized.sources.items():
        if found.epochs < 1 - MUCH:
            yield f"{source}: the mix reads {found.epochs:.0%} of its training documents"


def reasons(counts: Mapping[str, int]) -> str:
    """Return names and their counts, the largest count first."""
    return ", ".join(
        f"{name} {counts[name]:,}" for name in sorted(counts, key=lambda name: (-counts[name], name))
    )
