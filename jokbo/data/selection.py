"""Which documents of a prepared data set a stage works on."""

from __future__ import annotations

from collections.abc import Sequence

from datasets import Dataset

from jokbo.errors import InputError


def texts_from(documents: Dataset, sources: Sequence[str]) -> list[str]:
    """The texts of the documents that stand in at least one of the sources, in the data set's order.

    Raises InputError for a source from which there is no document.
    """
    wanted, held = set(sources), set().union(*documents["sources"])
    if missing := wanted - held:
        has = ", ".join(sorted(held)) or "nothing"
        raise InputError(f"no document is from {', '.join(sorted(missing))}: there are those from {has}")
    pairs = zip(documents["text"], documents["sources"], strict=True)
    return [text for text, origins in pairs if wanted.intersection(origins)]


def labelled_from(documents: Dataset, source: str) -> tuple[list[str], list[int]]:
    """Texts and labels of the labelled documents of a source, in the data set's order.

    Raises InputError if the source has none.
    """
    rows = zip(documents["text"], documents["sources"], documents["label"], strict=True)
    pairs = [(text, label) for text, origins, label in rows if source in origins and label is not None]
    if not pairs:
        raise InputError(
            f"no document of {source} has a label: name a source that has in finetune.classifier.source"
        )
    texts, labels = zip(*pairs, strict=True)
    return list(texts), list(labels)
