"""Work divided into shards: each result is written once and whole, and found again by a process that starts anew.

A step calls one function on each of its items. Where the calls are made is up to `parallel_map`, which is called as
`map` is: it is the builtin, the processes of this machine, or a cluster that sees the same folder.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from jokbo.runtime.files import read_if_there, read_json, write_text, writing
from jokbo.runtime.launcher import cores
from jokbo.runtime.progress import progress

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
