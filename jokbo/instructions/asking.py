"""The prompts of Self-Instruct (Wang et al. 2022, appendix A), and how what a model writes after them is read.

The wording is ours, and shorter than theirs, as a small model reads few tokens. The examples in it are seed tasks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from jokbo.instructions.seeds import Task
from jokbo.instructions.writing import Written

SHOWN, ASKED = 8, 8  # instructions in a prompt, and the most that are read after it
MORE = "Come up with a series of tasks:\n"
KIND = "Say of each task whether its answer is one of a few fixed labels.\n\n"
INPUT_FIRST = (
    "Write an example of each task. If the task needs an input, write the input first and then the output. "
    "If it needs none, write the output alone.\n\n"
)
OUTPUT_FIRST = (
    "For each task list the labels that its answer may be. "
    "Then write for each label an input whose answer it is.\n\n"
)
YES, NO = " Yes", " No"
MORE_STOPS = ("\n\n", f"\n{SHOWN + ASKED + 1}.")
TASK_STOPS = ("\nTask:",)
_NUMBERED = re.compile(r"\s*\d+\s?[.)](.*)")
_FIELD = re.compile(r"^(Input|Output|Label):", re.M)


class Example(NamedTuple):
    input: str
    output: str


def more(instructions: Sequence[str]) -> str:
    """Return a numbered list of instructions that the model is to go on with."""
    lines = (f"{number}. {each}\n" for number, each in enumerate(instructions, start=1))
    return "".join((*lines, f"{len(instructions) + 1}."))


def kind(task: Task) -> str:
    """Return a seed task with what is to be said of its kind."""
    return f"{asked_kind(task.line)}{YES if task.is_classification else NO}\n\n"


def asked_kind(instruction: str) -> str:
    return f"Task: {instruction}\nFixed labels:"


def input_first(task: Task) -> str:
    """Return a seed task with its instances, each input before its output."""
    pairs = (
        (f"Input: {each.input}\n" if each.input else "") + f"Output: {each.output}\n"
        for each in task.instances
    )
    return asked_input_first(task.line) + "".join(pairs) + "\n"


def asked_input_first(instruction: str) -> str:
    return f"Task: {instruction}\n"


def output_first(task: Task) -> str:
    """Return a seed task with its labels, then its instances, each label before its input."""
    labels = dict.fromkeys(each.output for each in task.instances)
    pairs = (f"Label: {each.output}\nInput: {each.input}\n" for each in task.instances)
    return f"{asked_output_first(task.line)} {', '.join(labels)}\n{''.join(pairs)}\n"


def asked_output_first(instruction: str) -> str:
    return f"Task: {instruction}\nLabels:"


def listed(written: Written) -> tuple[list[str], int]:
    """Return the instructions of a numbered list that a model went on with, and how many were cut off.

    The list ends at the first line without a number. The last instruction is cut off where the model was.
    """
    first, *others = written.text.split("\n")
    found, whole = [first], written.ended
    for line in others:
        if not (numbered := _NUMBERED.fullmatch(line)):
            whole = True
            break
        found.append(numbered[1])
    cut = [] if whole else [found.pop()]
    return [" ".join(each.split()) for each in found], len(cut)


def with_inputs(written: Written) -> tuple[list[Example], int]:
    """Return the inputs and outputs that a model wrote, an input before its output, and how many were cut off."""
    before, *parts = _FIELD.split(written.text)
    found, given = [], before.strip()
    for field, text in zip(parts[::2], parts[1::2], strict=True):
        if field == "Output":
            found.append(Example(given, text.strip()))
            given = ""
        else:
            given = text.strip()
    return _whole(found, written, parts[-2:-1], "Output")


def with_labels(written: Written) -> tuple[list[str], list[Example], int]:
    """Return the labels that a model listed, then the inputs that it wrote, each with its label, and how many were cut
    off."""
    before, *parts = _FIELD.split(written.text)
    labels = [label for each in before.split(",") if (label := each.strip(" \n."))]
    found, label = [], ""
    for field, text in zip(parts[::2], parts[1::2], strict=True):
        if field == "Input":
            found.append(Example(text.strip(), label))
        else:
            label = text.strip(" \n.")
    return labels, *_whole(found, written, parts[-2:-1], "Input")


def _whole(
    found: list[Example], written: Written, last: list[str], closing: str
) -> tuple[list[Example], int]:
    """Return the examples that the model finished, and how many it did not: at most the last one."""
    if last == [closing] and not written.ended:
        return found[:-1], 1
    return found, int(not written.ended or last not in ([], [closing]))
