"""Seed tasks: ours, and what is refused of others."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from jokbo.instructions import filters, seeds
from jokbo.runtime.errors import InputError


def test_ours_are_few_and_would_pass_the_filters() -> None:
    tasks = seeds.read()
    assert 100 <= len(tasks) <= 175  # no more than the paper's
    assert not any(filters.unfit(task.line, ascii_only=True) for task in tasks)
    pairs = combinations([task.line for task in tasks], 2)
    assert max(filters.rouge(*pair) for pair in pairs) < filters.MOST_ALIKE
    for task in tasks:
        examples = [filters.Example(each.input, each.output) for each in task.instances]
        labels = [each.output for each in task.instances] if task.is_classification else None
        assert filters.fit(examples, labels) == (examples, {})


def test_the_papers_own_form_is_read(tmp_path: Path) -> None:
    more = {"id": "seed_task_0", "name": "breakfast"}
    rows = [task.model_dump() | more for task in seeds.read()]
    (tmp_path / "seeds.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert seeds.read(tmp_path / "seeds.jsonl") == seeds.read()


GOOD: dict[str, Any] = {"instruction": "Sing", "is_classification": False, "instances": [{"output": "La"}]}
WITHOUT = {key: value for key, value in GOOD.items() if key != "instruction"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Sing", ":2 is not JSON: "),
        (json.dumps(WITHOUT), ":2: instruction is missing: add it"),
        (json.dumps(GOOD | {"instruction": " "}), ":2: instruction is ' ': String should match"),
        (json.dumps(GOOD | {"is_classification": "no"}), ":2: is_classification is 'no': Input should"),
        (json.dumps(GOOD | {"instances": [{"input": "a"}]}), ":2: instances.0.output is missing: add it"),
        (json.dumps(GOOD | {"instances": []}), ":2: instances is []: List should have at least 1 item"),
        (json.dumps(GOOD), ": 2 seed tasks: give at least 8, as so many are shown at once"),
        ("\n".join([json.dumps(GOOD)] * 8), ": is_classification is true in 0 seed tasks: give at least 2"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(tmp_path: Path, line: str, said: str) -> None:
    file = tmp_path / "seeds.jsonl"
    file.write_text(f"{json.dumps(GOOD)}\n{line}\n")
    with pytest.raises(InputError) as refused:
        seeds.read(file)
    assert str(refused.value).startswith(f"{file}{said}")
    assert "\n" not in str(refused.value)


def test_no_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.jsonl: no such file: put seed tasks there"):
        seeds.read(tmp_path / "none.jsonl")
