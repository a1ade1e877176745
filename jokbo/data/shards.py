"""Work cut into shards: every result is written once and whole, and found again by whoever starts anew.

A step calls one function on each of its items. Where the calls are made is up to `spread`, which is called as `map`
is: the builtin, the processes of this machine, or a cluster that sees the same folder.
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

from jokbo.runtime.files import read_json, remembered, write_text, writing
from jokbo.runtime.launcher import cores
from jokbo.runtime.progress import progress

Facts = dict[str, Any]  # what a call found out, as JSON holds it
Work = Callable[[Any, Path], Facts]  # an item, and the file or folder to write its result at
Spread = Callable[..., Iterator[Any]]


def run(
    step: str, work: Work, items: Mapping[str, Any], folder: Path, spread: Spread = map
) -> dict[str, Facts]:
    """Results of `work` on each item, at FOLDER/STEP/NAME; returns the facts of each, in the items' order.

    An item whose facts are there (FOLDER/STEP/NAME.json, written after the result) is not worked on again.
    """
    place = folder / step
    with writing(place):
        place.mkdir(parents=True, exist_ok=True)
        missing = [item for item in items.items() if remembered(_facts(place, item[0])) is None]
        results = spread(partial(_once, work, place), missing)
        for _ in progress(results, step, total=len(missing)):
            pass
    return {name: read_json(_facts(place, name)) for name in items}


def _once(work: Work, place: Path, named: tuple[str, Any]) -> None:
    name, item = named
    begun = place / f".{name}.{uuid.uuid4().hex}"  # a cluster may start an item twice
    try:
        facts = work(item, begun)
        if begun.exists():
            if (place / name).is_dir():
                shutil.rmtree(place / name)
            os.replace(begun, place / name)
        written = begun.with_suffix(".json")
        write_text(written, json.dumps(facts))
        os.replace(written, _facts(place, name))
    finally:
        shutil.rmtree(begun, ignore_errors=True)
        begun.unlink(missing_ok=True)


def _facts(place: Path, name: str) -> Path:
    return place / f"{name}.json"


@contextmanager
def processes(count: int) -> Iterator[Spread]:
    """A `spread` over `count` processes of this machine, 0 for one a core; results come in the items' order."""
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
    """Processes share the cores: none takes more than one of them."""
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
