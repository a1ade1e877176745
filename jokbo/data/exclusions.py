"""What was left out on the way to the corpus, in lines for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from jokbo.data.counts import Counts, Tokenized
from jokbo.data.failures import FAILED
from jokbo.runtime.errors import MUCH


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
