from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from jokbo.data import shards
from jokbo.runtime.errors import InputError


def doubled(fails: str, item: int, path: Path) -> dict[str, int]:
    """Write twice the item, and leave a trace of each call."""
    with open(path.parent / "calls", "a") as calls:
        calls.write(f"{item}\n")
    path.write_text(str(2 * item))
    if fails == str(item):
        raise InputError(f"{item} is bad")
    return {"item": item, "pid": os.getpid()}


ITEMS = {f"item-{i}": i for i in range(5)}


def run(folder: Path, fails: str = "", workers: int = 1) -> dict[str, dict]:
    with shards.processes(workers) as parallel_map:
        return shards.run("doubled", partial(doubled, fails), ITEMS, folder, parallel_map)


def results(folder: Path) -> dict[str, str]:
    paths = (folder / "doubled").iterdir()
    return {path.name: path.read_text() for path in paths if path.suffix != ".json" and path.name != "calls"}


@pytest.mark.parametrize("workers", [1, 2])
def test_results_and_counts_are_there_in_the_order_of_the_items(tmp_path: Path, workers: int) -> None:
    counts = run(tmp_path, workers=workers)
    assert [each["item"] for each in counts.values()] == [0, 1, 2, 3, 4]
    assert results(tmp_path) == {f"item-{i}": str(2 * i) for i in range(5)}
    assert (os.getpid() in {each["pid"] for each in counts.values()}) == (workers == 1)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_is_done_is_not_done_again(tmp_path: Path, workers: int) -> None:
    with pytest.raises(InputError, match="3 is bad"):
        run(tmp_path, fails="3", workers=workers)
    assert "item-3" not in results(tmp_path)
    assert not [path for path in (tmp_path / "doubled").iterdir() if path.name.startswith(".")]
    before = (tmp_path / "doubled/calls").read_text().split()
    run(tmp_path, workers=workers)
    calls = (tmp_path / "doubled/calls").read_text().split()
    assert sorted(set(calls)) == ["0", "1", "2", "3", "4"]
    assert sorted(calls[len(before) :]) == sorted({"0", "1", "2", "3", "4"} - set(before) | {"3"})


def test_a_result_without_counts_is_made_again(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "doubled/item-2.json").unlink()
    (tmp_path / "doubled/item-2").write_text("torn")
    run(tmp_path)
    assert results(tmp_path)["item-2"] == "4"
