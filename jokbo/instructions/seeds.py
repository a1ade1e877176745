"""Seed tasks: a jsonl file of tasks that people wrote, in the form of Self-Instruct's own `seed_tasks.jsonl`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jokbo.runtime.errors import InputError

OURS = Path(__file__).with_suffix(".jsonl")
LEAST, LEAST_OF_A_KIND = 8, 2  # so many are shown at once
Words = Annotated[str, Field(pattern=r"\S")]


class Instance(BaseModel):
    """An input, empty where the task needs none, and the output that is right for it."""

    model_config = ConfigDict(frozen=True, strict=True)
    input: str = ""
    output: Words


class Task(BaseModel):
    """What a model is told to do, whether that is to choose among a few labels, and instances of it."""

    model_config = ConfigDict(frozen=True, strict=True)
    instruction: Words
    is_classification: bool
    instances: Annotated[list[Instance], Field(min_length=1)]

    @property
    def line(self) -> str:
        """The instruction in one line, as prompts show it."""
        return " ".join(self.instruction.split()).rstrip(":")


def read(file: Path = OURS) -> list[Task]:
    """Return the seed tasks of a file, a JSON object a line.

    Raises InputError, one line, for a file that cannot be read, for the first line that is no task, and for too few.
    """
    if not file.is_file():
        raise InputError(f"{file}: no such file: put seed tasks there, as in jokbo/instructions/seeds.jsonl")
    try:
        lines = file.read_text("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read ({error}): put a UTF-8 file there") from error
    tasks = [_task(line, f"{file}:{number}") for number, line in enumerate(lines, start=1) if line.strip()]
    if len(tasks) < LEAST:
        raise InputError(
            f"{file}: {len(tasks)} seed tasks: give at least {LEAST}, as so many are shown at once"
        )
    for kind, what in ((True, "true"), (False, "false")):
        found = sum(task.is_classification is kind for task in tasks)
        if found < LEAST_OF_A_KIND:
            raise InputError(
                f"{file}: is_classification is {what} in {found} seed tasks: give at least {LEAST_OF_A_KIND}"
            )
    return tasks


def _task(line: str, location: str) -> Task:
    try:
        return Task.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "json_invalid":
            raise InputError(f"{location} is not JSON: {first['msg']}; correct or remove the line") from error
        key = ".".join(map(str, first["loc"])) or "the line"
        if first["type"] == "missing":
            raise InputError(f"{location}: {key} is missing: add it") from error
        raise InputError(
            f"{location}: {key} is {first['input']!r:.60}: {first['msg']}: correct it"
        ) from error
