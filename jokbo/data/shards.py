"""Work divided into shards: each result is written once and whole, and found again by a process that starts anew.

A step calls one function on each of its items. Where the calls are made is up to `parallel_map`, which is called as
`map` is: it is the builtin, the processes of this machine, or a cluster that sees the same folder.

What the calls count, and the examples that they keep, is a `Tally` each; `total` makes one of many.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from jokbo.runtime.files import read_if_there, read_json, write_text, writing
from jokbo.runtime.launcher import cores
from jokbo.runtime.progress import progress

EXAMPLES = 5  # kept of each reason
EXCERPT = 300  # characters kept of a text

Example = tuple[str, ...]  # its rank, its source, and one or more texts
Counted = dict[str, Any]  # what a call counted, as JSON holds it
Work = Callable[[Any, Path], Counted]  # takes an item, and the file or folder to write its result at
ParallelMap = Callable[..., Iterator[Any]]


def run(
    step: str, work: Work, items: Mapping[str, Any], folder: Path, parallel_map: ParallelMap = map
) -> dict[str, Counted]:
    """Return what `work` counted on each item, in the items' order. Its results are at FOLDER/STEP/NAME.

    An item is not worked on again if its counts are there: FOLDER/STEP/NAME.json is written after the result.
    """
    results_folder = folder / step
    with writing(results_folder):
        results_folder.mkdir(parents=True, exist_ok=True)
        missing = [
            item for item in items.items() if read_if_there(_counts_file(results_folder, item[0])) is None
        ]
        results = parallel_map(partial(_once, work, results_folder), missing)
        for _ in progress(results, step, total=len(missing)):
            pass
    return {name: read_json(_counts_file(results_folder, name)) for name in items}


def _once(work: Work, folder: Path, named: tuple[str, Any]) -> None:
    name, item = named
    begun = folder / f".{name}.{uuid.uuid4().hex}"  # a cluster may start an item twice
    try:
        counts = work(item, begun)
        if begun.exists():
            if (folder / name).is_dir():
                shutil.rmtree(folder / name)
            os.replace(begun, folder / name)
        written = begun.with_suffix(".json")
        write_text(written, json.dumps(counts))
        os.replace(written, _counts_file(folder, name))
    finally:
        shutil.rmtree(begun, ignore_errors=True)
        begun.unlink(missing_ok=True)


def _counts_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"


@contextmanager
def processes(count: int) -> Iterator[ParallelMap]:
    """Yield a map over `count` processes of this machine (0: one a core); results come in the items' order."""
    count = count or cores()
    if count == 1:
        yield map
        return
    # forked from a process that has imported what they need and started no thread
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(count, mp_context=context, initializer=_one_thread) as pool:
        try:
            yield pool.map
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _one_thread() -> None:
    """Keep each process to one thread, for the processes share the cores."""
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


class Tally:
    """Counts under paths of names, and of each reason the examples of the lowest rank.

    preview: returns what may be shown of a text. It is called on the texts of examples only.
    """

    def __init__(self, preview: Callable[[str], str] = str) -> None:
        self._preview = preview
        self._counts: Counter[tuple[str, ...]] = Counter()
        self._examples: dict[str, list[Example]] = defaultdict(list)

    def add(self, *path: str, count: int = 1) -> None:
        """Add to the count under a path of names."""
        self._counts[path] += count

    def example(self, reason: str, rank: bytes, source: str, *texts: str) -> None:
        """Keep an example if its rank is among the lowest of its reason.

        The rank is a hash of the example. So which examples stay does not depend on where they were found.
        """
        examples = self._examples[reason]
        if len(examples) < EXAMPLES or rank.hex() <= examples[-1][0]:
            one = (rank.hex(), source, *(_excerpt(self._preview(text)) for text in texts))
            self._examples[reason] = _lowest([*examples, one])

    def counts(self) -> dict[str, Any]:
        """Return the counts as nested dicts, and under `examples` a list for each reason."""
        tree: dict[str, Any] = {}
        for path, count in self._counts.items():
            node = tree
            for name in path[:-1]:
                node = node.setdefault(name, {})
            node[path[-1]] = int(count)
        return {**tree, "examples": self._examples}


def total(counts: Sequence[Any]) -> Any:
    """Return the counts of parts as counts of the whole: numbers add up, the lowest examples stay.

    The order of the parts does not matter.
    """
    if isinstance(counts[0], dict):
        names = sorted({name for each in counts for name in each})
        return {name: total([each[name] for each in counts if name in each]) for name in names}
    if isinstance(counts[0], list):
        return _lowest(example for each in counts for example in each)
    return sum(counts)


def _lowest(examples: Iterable[Sequence[str]]) -> list[Example]:
    return sorted({tuple(example) for example in examples})[:EXAMPLES]


def _excerpt(text: str) -> str:
    return text if len(text) <= EXCERPT else f"{text[:EXCERPT]} [...]"
