"""One stream out of several sources: how often each is gone through, and which document comes when.

A document that stands in several sources of a mix belongs to the first of them, by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jokbo.data.outputs import read_batches
from jokbo.runtime.errors import InputError

if TYPE_CHECKING:
    from jokbo.params import Mix

Document = TypeVar("Document")
PIECE = 2**18  # about so many entries of the stream are worked out at a time


def source_names(mix: Mix) -> list[str]:
    """The sources that the mix takes anything from, by name."""
    weights = mix.sources if mix.by != "temperature" else dict.fromkeys(mix.sources, 1)
    return sorted(name for name, weight in weights.items() if weight)


def owners(batch: pa.RecordBatch, names: Sequence[str]) -> np.ndarray:
    """Which of the sources each document of a batch belongs to: its place in `names`, -1 for none. int64 [rows]."""
    places = {name: place for place, name in enumerate(names)}
    found = (
        min((places[name] for name in origins if name in places), default=-1)
        for origins in batch["sources"].to_pylist()
    )
    return np.fromiter(found, np.int64, len(batch))


def epochs_of(mix: Mix, sizes: Mapping[str, int]) -> dict[str, float]:
    """Passes over each source of the mix.

    sizes: of all documents of each source, in tokens. `epochs` are as given. By `weights` and by `temperature` the
    mix is as large as its sources together. By temperature T a source's share is proportional to size ** (1 / T): 1
    leaves them as they are, and the higher, the more alike (Arivazhagan et al. 2019, section 4.1; 1 / T is the
    exponent of multilingual BERT, of XLM, Conneau and Lample 2019, section 3.1, and of mT5, Xue et al. 2021,
    section 3.2).

    Raises InputError for a source that has no document of its own.
    """
    names = source_names(mix)
    if missing := [name for name in names if not sizes.get(name)]:
        held = ", ".join(sorted(name for name in sizes if sizes[name])) or "none"
        raise InputError(
            f"mix: no document is of {', '.join(missing)} (one that stands in several sources of the mix "
            f"is of the first by name); with documents of their own: {held}"
        )
    if mix.by == "epochs":
        return {name: float(mix.sources[name]) for name in names}
    if mix.by == "weights":
        weights = {name: mix.sources[name] for name in names}
    else:
        weights = {name: sizes[name] ** (1 / mix.temperature) for name in names}
    whole, weight = sum(sizes[name] for name in names), sum(weights.values())
    return {name: weights[name] / weight * whole / sizes[name] for name in names}


def entry_count(documents: int, epochs: float) -> int:
    """Entries that a source has in the stream: whole passes, and the first documents for what is left of one."""
    whole = int(epochs)
    return whole * documents + round((epochs - whole) * documents)


def entries(
    documents: Mapping[str, int], epochs: Mapping[str, float]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The stream, piece after piece: for each entry its source (place in the sorted names), document and pass.

    Of its source's K entries, entry k lies at (k + 0.5) / K of the stream, at the same place the first name first: so
    sources are spread evenly, and the passes of a document as far apart as they can be.
    """
    names = sorted(documents)
    counts = [entry_count(documents[name], epochs[name]) for name in names]
    pieces = -(-sum(counts) // PIECE)
    for piece in range(pieces):
        sources, numbers, places = [], [], []
        for source, total in enumerate(counts):
            # the first entry at or after piece / pieces, in whole numbers: (2k + 1) / 2K >= piece / pieces
            first, end = (-(-(2 * total * edge - pieces) // (2 * pieces)) for edge in (piece, piece + 1))
            mine = np.arange(first, end)
            sources.append(np.full(len(mine), source))
            numbers.append(mine)
            places.append((2 * mine + 1) / (2 * max(total, 1)))
        order = np.argsort(np.concatenate(places), kind="stable")
        source, number = np.concatenate(sources)[order], np.concatenate(numbers)[order]
        passes, document = np.divmod(number, np.array([max(documents[name], 1) for name in names])[source])
        yield source, document, passes


def interleaved(
    read: Callable[[str], Iterator[Document]], documents: Mapping[str, int], epochs: Mapping[str, float]
) -> Iterator[tuple[str, Document]]:
    """The stream itself. `read` begins a pass over the documents of a source; each pass is read but once, in order."""
    names = sorted(documents)
    streams = [chain.from_iterable(map(read, repeat(name))) for name in names]
    for sources, _, _ in entries(documents, epochs):
        for source in sources.tolist():
            yield names[source], next(streams[source])


class Sample:
    """Texts of the mix, the same each time they are gone through: all of it, or as large an even part of it as has
    about `most_bytes` of UTF-8; and after them those of `more`. Files are Arrow files of documents."""

    def __init__(self, files: Sequence[Path], mix: Mix, most_bytes: int, more: Sequence[str] = ()) -> None:
        self.files, self.names, self.more = files, source_names(mix), more
        self.documents, sizes = dict.fromkeys(self.names, 0), dict.fromkeys(self.names, 0)
        for file in files:
            for batch in read_batches(file):
                places = owners(batch, self.names)
                # pyarrow makes this function when it is imported
                lengths = pc.binary_length(batch["text"]).to_numpy()  # pyright: ignore[reportAttributeAccessIssue]
                for place, name in enumerate(self.names):
                    self.documents[name] += int((places == place).sum())
                    sizes[name] += int(lengths[places == place].sum())
        epochs = epochs_of(mix, sizes)
        part = min(1.0, most_bytes / sum(epochs[name] * sizes[name] for name in self.names))
        self.epochs = {name: part * epochs[name] for name in self.names}

    def __iter__(self) -> Iterator[str]:
        mixed = interleaved(self._texts, self.documents, self.epochs)
        return chain((text for _, text in mixed), self.more)

    def _texts(self, name: str) -> Iterator[str]:
        for file in self.files:
            for batch in read_batches(file):
                mine = owners(batch, self.names) == self.names.index(name)
                yield from batch["text"].filter(pa.array(mine)).to_pylist()
