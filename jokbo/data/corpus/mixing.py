"""One stream out of several sources: how often each is read, and which document comes when.

A document that is in several sources of a mix belongs to the first of them by name. A document occurs in the stream as
often as its source is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jokbo.data.tables import read_batches
from jokbo.runtime.errors import InputError

if TYPE_CHECKING:
    from jokbo.params import Mix

Document = TypeVar("Document")
PIECE = 2**18  # occurrences of the stream that are computed at a time, about


def source_names(mix: Mix) -> list[str]:
    """Return the names of the sources that the mix reads, sorted."""
    weights = mix.sources if mix.by != "temperature" else dict.fromkeys(mix.sources, 1)
    return sorted(name for name, weight in weights.items() if weight)


def source_indices(batch: pa.RecordBatch, names: Sequence[str]) -> np.ndarray:
    """Return the source that each document of a batch belongs to: its index in `names`, -1 for none. int64 [rows]."""
    indices = {name: index for index, name in enumerate(names)}
    found = (
        min((indices[name] for name in sources if name in indices), default=-1)
        for sources in batch["sources"].to_pylist()
    )
    return np.fromiter(found, np.int64, len(batch))


def epochs_of(mix: Mix, sizes: Mapping[str, int]) -> dict[str, float]:
    """Return the number of passes over each source of the mix.

    sizes: tokens of all documents of each source. `epochs` are as given. By `weights` and by `temperature` the mix has
    as many tokens as its sources together. By temperature T a source's share is proportional to size ** (1 / T): with 1
    the shares are those of the sizes, and the higher T is, the more alike they become (Arivazhagan et al. 2019, section
    4.1). 1 / T is the exponent of multilingual BERT, of XLM (Conneau and Lample 2019, section 3.1) and of mT5 (Xue et
    al. 2021, section 3.2).

    Raises InputError for a source that has no document of its own.
    """
    names = source_names(mix)
    if missing := [name for name in names if not sizes.get(name)]:
        held = ", ".join(sorted(name for name in sizes if sizes[name])) or "none"
        raise InputError(
            f"mix: no document is of {', '.join(missing)} (a document in several sources of the mix belongs "
            f"to the first by name): take it out of the mix; with documents of their own: {held}"
        )
    if mix.by == "epochs":
        return {name: float(mix.sources[name]) for name in names}
    if mix.by == "weights":
        weights = {name: mix.sources[name] for name in names}
    else:
        weights = {name: sizes[name] ** (1 / mix.temperature) for name in names}
    whole, weight = sum(sizes[name] for name in names), sum(weights.values())
    return {name: weights[name] / weight * whole / sizes[name] for name in names}


def occurrence_count(documents: int, epochs: float) -> int:
    """Return how many occurrences a source has in the stream: whole passes, and its first documents for the rest."""
    whole = int(epochs)
    return whole * documents + round((epochs - whole) * documents)


def occurrences(
    documents: Mapping[str, int], epochs: Mapping[str, float]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield the stream, piece after piece: source (index in the sorted names), document and pass of each occurrence.

    Occurrence k of a source's K lies at (k + 0.5) / K of the stream; of several at one location the first name comes
    first. So sources are mixed evenly, and the passes of a document are as far apart as they can be. Each of the three
    is int64 [occurrences of the piece].
    """
    names = sorted(documents)
    counts = [occurrence_count(documents[name], epochs[name]) for name in names]
    pieces = -(-sum(counts) // PIECE)
    for piece in range(pieces):
        sources, numbers, locations = [], [], []
        for source, total in enumerate(counts):
            # the first occurrence at or after piece / pieces, in whole numbers: (2k + 1) / 2K >= piece / pieces
            first, end = (-(-(2 * total * edge - pieces) // (2 * pieces)) for edge in (piece, piece + 1))
            mine = np.arange(first, end)
            sources.append(np.full(len(mine), source))
            numbers.append(mine)
            locations.append((2 * mine + 1) / (2 * max(total, 1)))
        order = np.argsort(np.concatenate(locations), kind="stable")
        source, number = np.concatenate(sources)[order], np.concatenate(numbers)[order]
        passes, document = np.divmod(number, np.array([max(documents[name], 1) for name in names])[source])
        yield source, document, passes


def interleaved(
    read: Callable[[str], Iterator[Document]], documents: Mapping[str, int], epochs: Mapping[str, float]
) -> Iterator[tuple[str, Document]]:
    """Yield the stream itself: name of the source, and document.

    `read` begins a pass over the documents of a source. Each pass is read once, in order.
    """
    names = sorted(documents)
    streams = [chain.from_iterable(map(read, repeat(name))) for name in names]
    for sources, _, _ in occurrences(documents, epochs):
        for source in sources.tolist():
            yield names[source], next(streams[source])


class Sample:
    """Texts of the mix, and after them those of `more`: the same each time they are iterated over.

    It is the whole mix, or an even part of it of about `most_bytes` of UTF-8. files: Arrow files of documents.
    """

    def __init__(self, files: Sequence[Path], mix: Mix, most_bytes: int, more: Sequence[str] = ()) -> None:
        self.files, self.names, self.more = files, source_names(mix), more
        self.documents, sizes = dict.fromkeys(self.names, 0), dict.fromkeys(self.names, 0)
        for file in files:
            for batch in read_batches(file):
                indices = source_indices(batch, self.names)
                # pyarrow makes this function when it is imported
                lengths = pc.binary_length(batch["text"]).to_numpy()  # pyright: ignore[reportAttributeAccessIssue]
                for index, name in enumerate(self.names):
                    self.documents[name] += int((indices == index).sum())
                    sizes[name] += int(lengths[indices == index].sum())
        epochs = epochs_of(mix, sizes)
        share = min(1.0, most_bytes / sum(epochs[name] * sizes[name] for name in self.names))
        self.epochs = {name: share * epochs[name] for name in self.names}

    def __iter__(self) -> Iterator[str]:
        mixed = interleaved(self._texts, self.documents, self.epochs)
        return chain((text for _, text in mixed), self.more)

    def _texts(self, name: str) -> Iterator[str]:
        for file in self.files:
            for batch in read_batches(file):
                mine = source_indices(batch, self.names) == self.names.index(name)
                yield from batch["text"].filter(pa.array(mine)).to_pylist()
