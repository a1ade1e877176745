"""A task's file: what it makes of rows, and one line for each thing that is wrong in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jokbo.prompting import task as tasks
from jokbo.prompting.task import Row
from jokbo.runtime.errors import InputError
from tests.prompting.conftest import OPTIONS, ROWS

Given = Callable[..., Path]


def test_rows_and_prompts(given: Given) -> None:
    found = tasks.load(given(question="{{text}}\nIt was", description="Say how it was.\n"))
    first, second = found.rows[:2]
    assert first == Row("The film was warm and\nIt was", tuple(OPTIONS.values()), 0)
    assert found.prompt(second, []) == "Say how it was.\nThey say the plot was\nIt was"
    assert found.prompt(second, [first]) == (
        "Say how it was.\nThe film was warm and\nIt was good\n\nThey say the plot was\nIt was"
    )
    assert [row.question for row in found.content_free] == ["N/A\nIt was", "\nIt was", "[MASK]\nIt was"]
    assert len(tasks.load(given(), limit=3).rows) == 3
    assert len(tasks.load(given(), limit=3).pool) == len(ROWS)


def test_labels_as_numbers_and_options_as_a_list(given: Given) -> None:
    """A label is compared as text; a list's options are the labels."""
    rows = [{"text": "a", "label": 1}, {"text": "b", "label": 0}]
    found = tasks.load(given(rows, options={0: "no", 1: "yes"}))
    assert [(row.options, row.right) for row in found.rows] == [(("no", "yes"), 1), (("no", "yes"), 0)]
    assert [row.right for row in tasks.load(given(rows, options=["1", "0"])).rows] == [0, 1]


def test_options_of_each_row(given: Given) -> None:
    rows = [{"text": "a", "label": 1, "o": ["x", "y"]}, {"text": "b", "label": "u", "o": ["u", "v", "w"]}]
    found = tasks.load(given(rows, options="o"))
    assert [row[1:] for row in found.rows] == [(("x", "y"), 1), (("u", "v", "w"), 0)]
    assert not found.fixed
    assert not found.content_free


@pytest.mark.parametrize("format", ["csv", "parquet", "jsonl"])
def test_formats(tmp_path: Path, format: str) -> None:
    texts, labels = ["one, two", "three"], ["pos", "neg"]
    if format == "csv":
        (tmp_path / "all.csv").write_text('text,more,label\n"one, two",,pos\nthree,,neg\n')
    elif format == "parquet":
        pq.write_table(pa.table({"text": texts, "label": labels}), tmp_path / "all.parquet")
    else:
        (tmp_path / "all.jsonl").write_text(
            '{"text": "one, two", "label": "pos"}\n{"text": "three", "label": "neg"}'
        )
    found = tasks.load(_named(tmp_path, f"all.{format}"))
    assert [(row.question, row.right) for row in found.rows] == [("one, two", 0), ("three", 1)]


def _named(folder: Path, rows: str) -> Path:
    file = folder / "named.yaml"
    file.write_text(f"rows: {rows}\nquestion: '{{{{text}}}}'\noptions: {{pos: good, neg: bad}}\n")
    return file


def test_a_template_runs_in_the_sandbox(given: Given) -> None:
    attack = "{{ text.__class__.__mro__[1].__subclasses__() }}"
    with pytest.raises(InputError, match=r"rows\.jsonl:1: question of .*task\.yaml fails .*unsafe"):
        tasks.load(given(question=attack))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"question": "{{txt}}"},
            r"rows\.jsonl:1: no column 'txt', which question of .*: there are text, label",
        ),
        ({"label": "class"}, r"rows\.jsonl:1: no column 'class', which label of"),
        ({"options": "choices"}, r"rows\.jsonl:1: no column 'choices', which options of"),
        ({"question": "always the same"}, "question names no column"),
        ({"question": "{{text"}, "question is no template of Jinja: .*: correct it"),
        ({"question": "{{text.upper(1)}}"}, r"rows\.jsonl:1: question of .* fails .*: correct it"),
        (
            {"options": {"pos": "good", "neg": "bad"}},
            r"rows\.jsonl:2: the label 'mixed' is none of the options",
        ),
        ({"options": {**OPTIONS, "none": " "}}, "options: one is empty"),
        ({"options": {**OPTIONS, "fine": "goodness"}}, "'good' is how 'goodness' begins"),
        ({"options": {**OPTIONS, "fine": "good"}}, "'good' is there twice"),
        ({"options": {"pos": "good"}}, "options"),
        ({"rows": "gone.jsonl"}, r"gone\.jsonl: no such file"),
        ({"rows": "task.yaml"}, "are csv, jsonl or parquet"),
        ({"rows": None}, "rows is missing: add it"),
        ({"shots": 3}, "shots is not a known key"),
    ],
)
def test_bad_tasks(given: Given, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as raised:
        tasks.load(given(ROWS, changes))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"text": "a", "label": 2, "o": ["x", "y"]}, "the label 2 is none of its 2 options"),
        ({"text": "a", "label": True, "o": ["x", "y"]}, "the label True is none of its 2 options"),
        ({"text": "a", "label": 0, "o": "xy"}, "it must be a list of two texts or more"),
        ({"text": "a", "label": 0, "o": ["x", "xy"]}, "'x' is how 'xy' begins"),
    ],
)
def test_bad_options_of_a_row(given: Given, row: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=rf"rows\.jsonl:1: .*{said}"):
        tasks.load(given([row], options="o"))


def test_no_rows(given: Given) -> None:
    with pytest.raises(InputError, match="there is no row"):
        tasks.load(given([]))
