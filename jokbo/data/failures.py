"""A document that a step fails on is left out, counted and named. A step that fails on too many is at fault itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

from jokbo.data.counts import Counts
from jokbo.runtime.errors import InputError

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


def check(counts: Counts, share: float) -> None:
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
