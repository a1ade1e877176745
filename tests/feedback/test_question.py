"""The template of questions: what it is given, and what it may not do."""

from __future__ import annotations

from pathlib import Path

import pytest

from jokbo.feedback.question import Questions
from jokbo.runtime.errors import InputError

ASKED = {"prompt": "The film", "first": "was good.", "second": "was bad.", "principle": "Which is kinder?"}
ALL = "{{ prompt }} {{ first }} {{ second }} {{ principle }}"


def test_ours_shows_all_and_leads_to_a_letter() -> None:
    found = Questions.of().ask(**ASKED)
    begin, a, b, principle = (
        found.text.index(each) for each in ("The film", "A: was good.", "B: was", "Which")
    )
    assert begin < a < b < principle
    assert (found.lead, found.thinking) == ("Answer:", "Let us think step by step.")


def test_ours_speaks_of_no_beginning_where_there_is_none() -> None:
    assert "begins" not in Questions.of().ask(**ASKED | {"prompt": ""}).text


def test_one_of_ones_own_may_set_what_the_answer_begins_with(tmp_path: Path) -> None:
    file = tmp_path / "mine.jinja"
    file.write_text("{% set lead = '답:' %}" + ALL)
    found = Questions.of(file).ask(**ASKED)
    assert found == ("The film was good. was bad. Which is kinder?", "답:", "Let us think step by step.")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "mine.jinja leaves out prompt: write {{ prompt }} in it"),
        ("{{ prompt }} {{ first }} {{ principle }}", "leaves out second: write {{ second }} in it"),
        (ALL + "{{ answer }}", "mine.jinja fails ('answer' is undefined): correct it"),
        (ALL + "\n{% if %}", "mine.jinja:2: no template of Jinja: "),
        (ALL + "{{ ''.__class__.__mro__ }}", "mine.jinja fails (access to attribute '__class__'"),
        (ALL + "{{ 1 / 0 }}", "mine.jinja fails (division by zero)"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "mine.jinja"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        Questions.of(file)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere.jinja cannot be read .*: put a UTF-8 file there"):
        Questions.of(tmp_path / "nowhere.jinja")


def test_what_a_response_says_is_no_template() -> None:
    assert "{{ principle }}" in Questions.of().ask(**ASKED | {"first": "{{ principle }}"}).text
