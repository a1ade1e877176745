"""A document that a step cannot take is left out, counted and named; a step that takes too few is itself at fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from jokbo.runtime.errors import InputError

Result = TypeVar("Result")
FAILED = "failed_"  # before a step's name: why a document was left out
FEW = 10  # so many documents, be they most of a small corpus, are their own fault and not the step's


class Failed(Exception):
    """A step raised an exception on one document."""

    def __init__(self, step: str, error: Exception) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.reason = FAILED + step


def tried(step: str, work: Callable[..., Result], *given: Any) -> Result:
    """What `work` returns. Raises Failed for whatever it raises but MemoryError, which is no document's fault."""
    try:
        return work(*given)
    except MemoryError:
        raise
    except Exception as error:
        raise Failed(step, error) from error


def check(facts: Mapping[str, Any], share: float) -> None:
    """Raises InputError if a step failed on every document, or on more than FEW and more than `share` of them.

    facts: of each source its `rows`, and the `dropped` ones by reason; and `examples` by reason.
    """
    sources = facts.get("sources", {}).values()
    rows = sum(found["rows"] for found in sources)
    reasons: Counter[str] = Counter()
    for found in sources:
        reasons.update(found.get("dropped", {}))
    for reason, failed in reasons.items():
        if reason.startswith(FAILED) and (failed == rows or failed > max(FEW, share * rows)):
            step, (_, _, what, *_) = reason.removeprefix(FAILED), facts["examples"][reason][0]
            raise InputError(
                f"the step {step} failed on {failed:,} of {rows:,} documents, such as {what}: mend or take out the "
                f"step, or, if it is the documents, raise prepare.maximum_failed, which is {share:g}"
            )
