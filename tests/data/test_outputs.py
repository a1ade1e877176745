from __future__ import annotations

import hashlib

import pyarrow as pa
import pytest
from datasets import load_from_disk

from jokbo.data.outputs import save_table, save_tables, whole_directory


def test_whole_directory_takes_the_place_of_the_old(tmp_path):
    path = tmp_path / "deep" / "out"
    for content in ("old", "new"):
        with whole_directory(path) as partial:
            (partial / content).touch()
    assert [file.name for file in path.iterdir()] == ["new"]
    assert list(path.parent.iterdir()) == [path]


def interrupted(path):
    with whole_directory(path) as partial:
        (partial / "half").touch()
        raise KeyboardInterrupt


def test_failure_leaves_no_half_written_output(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_failure_keeps_what_was_there(tmp_path):
    with whole_directory(tmp_path / "out") as partial:
        (partial / "old").touch()
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "out")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["old"]


def test_leftovers_of_a_killed_run_are_not_taken_over(tmp_path):
    context = whole_directory(tmp_path / "out")
    (context.__enter__() / "leftover").touch()  # and then the process is gone
    with whole_directory(tmp_path / "out") as partial:
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


def test_saved_table_opens_with_a_fingerprint_of_its_content(tmp_path):
    table = pa.table(COLUMNS, schema=SCHEMA)
    save_table(table, tmp_path / "one")
    save_table(table.slice(0, 0), tmp_path / "two")
    one, two = load_from_disk(tmp_path / "one"), load_from_disk(tmp_path / "two")
    assert one.to_dict() == COLUMNS
    assert two.num_rows == 0
    assert one._fingerprint != two._fingerprint
