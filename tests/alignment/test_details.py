"""docs/ppo.md: each detail of PPO has a source, a place in the code and a test. tests/test_readme.py looks for them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs/ppo.md").read_text()
HERE = PAGE.partition("## What is here")[2].partition("\n## ")[0]
ROWS = [re.split(r"(?<!\\) \| ", line[2:-2]) for line in HERE.splitlines() if line.startswith("| ")]


def test_the_table_is_there() -> None:
    assert ROWS[0] == ["detail", "source", "where", "test"]
    assert len(ROWS) > 20


@pytest.mark.parametrize("row", ROWS[1:], ids=lambda row: row[0][:40])
def test_a_detail_has_a_source_a_place_in_the_code_and_a_test(row: list[str]) -> None:
    detail, source, where, test = row
    assert detail
    assert source
    assert re.fullmatch(r"`(?:jokbo|tasks)/[\w/]+\.py::\w+`", where)
    assert re.fullmatch(r"`tests/[\w/]+\.py::test_\w+`", test)
