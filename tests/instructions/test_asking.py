"""What is read of the lists and instances that a model writes."""

from __future__ import annotations

import pytest

from jokbo.instructions import asking
from jokbo.instructions.asking import Example
from jokbo.instructions.seeds import Instance, Task
from jokbo.instructions.writing import Written


@pytest.mark.parametrize(
    ("text", "ended", "found", "cut"),
    [
        (" Name a fruit.\n10. Sing  a song.", True, ["Name a fruit.", "Sing a song."], 0),
        (" Name a fruit.\n10. Sing a so", False, ["Name a fruit."], 1),
        (" Name a fruit.\n10) Sing.\nThat was all.\n11. No", False, ["Name a fruit.", "Sing."], 0),
        (" Name a fruit.\n10 . Sing.\n11.", True, ["Name a fruit.", "Sing.", ""], 0),
        ("", False, [], 1),
    ],
)
def test_a_list_ends_at_the_first_line_without_a_number(
    text: str, ended: bool, found: list[str], cut: int
) -> None:
    assert asking.listed(Written(text, ended)) == (found, cut)


@pytest.mark.parametrize(
    ("text", "ended", "found", "cut"),
    [
        ("Output: Bonjour.", True, [Example("", "Bonjour.")], 0),
        ("Input: a\nb\nOutput: c\n\nd", True, [Example("a\nb", "c\n\nd")], 0),
        ("Input: a\nOutput: b\nInput: c\nOutput: d", True, [Example("a", "b"), Example("c", "d")], 0),
        ("Input: a\nOutput: b\nOutput: c", True, [Example("a", "b"), Example("", "c")], 0),
        ("Paragraph: a\nOutput: b", True, [Example("Paragraph: a", "b")], 0),
        ("Input: a\nOutput: b\nInput: c\nOutput: d e", False, [Example("a", "b")], 1),
        ("Input: a\nOutput: b\nInput: c", False, [Example("a", "b")], 1),
        ("Input: a\nOutput: b\nInput: c", True, [Example("a", "b")], 1),
        ("What do you mean?", True, [], 0),
    ],
)
def test_an_input_stands_before_its_output(text: str, ended: bool, found: list[Example], cut: int) -> None:
    assert asking.with_inputs(Written(text, ended)) == (found, cut)


def test_a_label_stands_before_its_input_and_in_the_list_of_labels() -> None:
    text = " Spam, Not spam.\nLabel: Spam\nInput: Buy!\nLabel: Not spam\nInput: See you\nat ten"
    whole = [Example("Buy!", "Spam"), Example("See you\nat ten", "Not spam")]
    assert asking.with_labels(Written(text, True)) == (["Spam", "Not spam"], whole, 0)
    assert asking.with_labels(Written(text, False)) == (["Spam", "Not spam"], whole[:1], 1)
    assert asking.with_labels(Written(" Spam\nLabel: Spam", True)) == (["Spam"], [], 1)


def test_what_a_seed_shows_is_read_as_that_seed() -> None:
    """So a model that does as it is shown is understood."""
    given = [Instance(input="a", output="Yes"), Instance(input="b", output="No")]
    task = Task(instruction="Is it so:", is_classification=True, instances=given)
    pairs = [Example(each.input, each.output) for each in given]
    begins = asking.asked_output_first(task.line)
    assert asking.with_labels(Written(asking.output_first(task)[len(begins) :], True)) == (
        ["Yes", "No"],
        pairs,
        0,
    )
    begins = asking.asked_input_first(task.line)
    assert asking.with_inputs(Written(asking.input_first(task)[len(begins) :], True)) == (pairs, 0)
    assert asking.more([task.line, "Name a fruit."]) == "1. Is it so\n2. Name a fruit.\n3."
