"""The documents of a prepared data set that a stage works on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from datasets import Dataset

from jokbo.runtime.errors import InputError


def texts_from(documents: Dataset, sources: Sequence[str]) -> list[str]:
    """Return the texts of the documents that are in at least one of the sources, in the data set's order.

    Raises InputError for a source from which there is no document.
    """
    check_sources(documents, sources)
    wanted = set(sources)
    pairs = zip(documents["text"], documents["sources"], strict=True)
    return [text for text, own in pairs if wanted.intersection(own)]


def labelled_from(
    documents: Dataset, *sources: str, neutral: float | None = None
) -> tuple[list[str], list[int]]:
    """Return texts and labels, 0 negative and 1 positive, of the labelled documents of any of the sources, in the data
    set's order.

    neutral: if it is given, labels are made from ratings: 1 if their mean is above it, 0 if it is below minus it.
    Documents between are left out. Raises InputError if no document is left, and for another label.
    """
    if neutral is None:
        labels: Iterable[int | str | None] = documents["label"]
    else:
        labels = (_sign(ratings, neutral) for ratings in documents["ratings"])
    wanted = set(sources)
    rows = zip(documents["text"], documents["sources"], labels, strict=True)
    pairs = [(text, label) for text, own, label in rows if wanted & set(own) and label is not None]
    if not pairs:
        what = "a label" if neutral is None else f"ratings with a mean beyond {neutral:g} of 0"
        raise InputError(f"no document of {', '.join(sources)} has {what}: name a source that has")
    for _, label in pairs:
        if label not in (0, 1, "0", "1"):
            raise InputError(
                f"a document of {', '.join(sources)} has the label {label!r:.40}: 0 (negative) and 1 (positive) are "
                "read here; name a source with those"
            )
    return [text for text, _ in pairs], [int(label) for _, label in pairs]


def check_sources(documents: Dataset, sources: Sequence[str]) -> None:
    """Raise InputError for a source from which there is no document."""
    present = set().union(*documents["sources"])
    if missing := set(sources) - present:
        has = ", ".join(sorted(present)) or "nothing"
        raise InputError(f"no document is from {', '.join(sorted(missing))}: there are those from {has}")


def _sign(ratings: Sequence[int] | None, neutral: float) -> int | None:
    """Return 1 or 0 for a mean that is above or below 0 by more than `neutral`, and None else."""
    mean = sum(ratings) / len(ratings) if ratings else 0.0
    return int(mean > 0) if abs(mean) > neutral else None
