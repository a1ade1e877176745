from __future__ import annotations

import hashlib

import pyarrow as pa
import pytest
from datasets import load_from_disk
from hypothesis import given, settings
from hypothesis import strategies as st

from jokbo.data.tables import (
    assemble,
    read_batches,
    save_tables,
    shard_files,
    write_shards,
)
from jokbo.runtime.files import atomic_write_folder


def test_whole_directory_takes_the_place_of_the_old(tmp_path):
    path = tmp_path / "deep" / "out"
    for content in ("old", "new"):
        with atomic_write_folder(path) as partial:
            (partial / content).touch()
    assert [file.name for file in path.iterdir()] == ["new"]
    assert list(path.parent.iterdir()) == [path]


def interrupted(path):
    with atomic_write_folder(path) as partial:
        (partial / "half").touch()
        raise KeyboardInterrupt


def test_failure_leaves_no_half_written_output(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_failure_keeps_what_was_there(tmp_path):
    with atomic_write_folder(tmp_path / "out") as partial:
        (partial / "old").touch()
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "out")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["old"]


def test_leftovers_of_a_killed_run_are_not_taken_over(tmp_path):
    context = atomic_write_folder(tmp_path / "out")
    (context.__enter__() / "leftover").touch()  # and then the process is gone
    with atomic_write_folder(tmp_path / "out") as partial:
        assert list(partial.iterdir()) == []


COLUMNS = {"text": ["a", "b", "c"] * 1000, "ratings": [[1, -2], None, []] * 1000}
SCHEMA = pa.schema([("text", pa.string()), ("ratings", pa.list_(pa.int64()))])


def contents(path):
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path)): hashlib.md5(file.read_bytes()).hexdigest() for file in files}


def test_saved_tables_open_and_are_the_same_bytes_every_time(tmp_path):
    whole = pa.table(COLUMNS, schema=SCHEMA)
    pieces = pa.concat_tables([whole.slice(0, 1), whole.slice(1, 1500), whole.slice(1501)])
    save_tables({"train": whole, "test": whole.slice(0, 0)}, tmp_path / "one")
    save_tables({"train": pieces, "test": whole.slice(0, 0)}, tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    opened = load_from_disk(tmp_path / "one")
    assert opened["train"].to_dict() == COLUMNS
    assert opened["test"].num_rows == 0


ROWS = st.lists(
    st.fixed_dictionaries(
        {"text": st.text(max_size=2000), "ratings": st.none() | st.lists(st.integers(-4, 4), max_size=3)}
    ),
    max_size=30,
)


@settings(max_examples=50)
@given(rows=ROWS, shard_bytes=st.integers(1, 4000))
def test_shards_hold_the_rows_in_order_and_are_the_same_bytes_every_time(tmp_path_factory, rows, shard_bytes):
    folder = tmp_path_factory.mktemp("out")
    assert write_shards(rows, folder / "one", SCHEMA, shard_bytes=shard_bytes) == len(rows)
    write_shards(iter(rows), folder / "two", SCHEMA, shard_bytes=shard_bytes)
    assemble(shard_files(folder / "one"), folder / "three", SCHEMA)
    assert contents(folder / "one") == contents(folder / "two") == contents(folder / "three")
    batches = [batch for file in shard_files(folder / "one") for batch in read_batches(file)]
    assert pa.Table.from_batches(batches, SCHEMA).to_pylist() == rows
    assert load_from_disk(folder / "one").to_list() == rows


def test_shards_and_batches_are_of_bounded_size(tmp_path):
    rows = [{"text": "x" * 1000, "ratings": None}] * 5000 + [{"text": "y" * 3_000_000, "ratings": None}] * 3
    write_shards(rows, tmp_path / "out", SCHEMA, shard_bytes=2_000_000)
    sizes = [[len(batch) for batch in read_batches(file)] for file in shard_files(tmp_path / "out")]
    assert sizes == [[1000, 1000], [1000, 1000], [1000, 1], [1], [1]]
    write_shards([{"text": "x" * 2**18, "ratings": None}] * 9, tmp_path / "wide", SCHEMA)
    (file,) = shard_files(tmp_path / "wide")
    assert [len(batch) for batch in read_batches(file)] == [4, 4, 1]


@pytest.mark.parametrize("write", [write_shards, assemble])
def test_folder_of_no_rows_opens(tmp_path, write):
    write((), tmp_path / "out", SCHEMA)
    assert load_from_disk(tmp_path / "out").column_names == ["text", "ratings"]
    assert [list(read_batches(file)) for file in shard_files(tmp_path / "out")] == [[]]


def test_assembled_shards_open_in_the_order_given_and_can_be_assembled_again(tmp_path):
    for name in "ab":
        write_shards([{"text": name, "ratings": None}], tmp_path / name, SCHEMA)
    files = [file for name in "ba" for file in shard_files(tmp_path / name)]
    for again in ("first", "second"):
        assemble(files, tmp_path / again, SCHEMA)
        assert load_from_disk(tmp_path / again)["text"][:] == ["b", "a"]
    one, two = load_from_disk(tmp_path / "a"), load_from_disk(tmp_path / "b")
    assert one._fingerprint != two._fingerprint


def test_shards_on_another_disk_are_copied(tmp_path, monkeypatch):
    def link(*arguments):
        raise OSError("Invalid cross-device link")

    monkeypatch.setattr("os.link", link)
    write_shards([{"text": "a", "ratings": None}], tmp_path / "a", SCHEMA)
    assemble(shard_files(tmp_path / "a"), tmp_path / "b", SCHEMA)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
