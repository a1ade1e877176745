"""A task that is asked by prompts alone: labelled rows, a template that makes a question of a row, and the options.

A YAML file says it (docs/prompting.md). Templates run in the sandbox of chat templates.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from jinja2 import StrictUndefined, Template, TemplateError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import Field, ValidationError, field_validator

from jokbo.data.files import not_data
from jokbo.data.files.compression import UNREADABLE, opened
from jokbo.data.files.formats import READERS, fits
from jokbo.params.base import Section
from jokbo.params.faults import explain
from jokbo.params.reading import preview, read
from jokbo.runtime.errors import InputError, line_of

FORMATS = ("csv", "jsonl", "parquet")
MAXIMUM = 2**24  # bytes of a row
CONTENT_FREE = ("N/A", "", "[MASK]")  # Zhao et al. 2021, section 4
SANDBOX = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
Text = Annotated[str, Field(pattern=r"\S")]


class TaskFile(Section):
    """What the YAML file of a task says."""

    rows: Text
    """The rows that are asked: a csv, jsonl or parquet file, named from where the task's file is."""
    question: Text
    """A Jinja template of a row's columns: what stands before the answer."""
    options: Annotated[dict[str, str], Field(min_length=2)] | Annotated[list[str], Field(min_length=2)] | str
    """What is written for each label; or the labels, which are written as they are; or the column that holds a list of
    a row's own options."""
    label: Text = "label"
    """The column of the label; where a row has its own options, of the right one's number from 0, or its text."""
    examples: Text | None = None
    """A file of rows from which answered examples are drawn; not given: the other rows of `rows`."""
    description: str = ""
    """What stands before examples and question."""
    target_delimiter: str = " "
    """What stands between a question and an option."""
    fewshot_delimiter: str = "\n\n"
    """What stands after an answered example."""
    unconditional: str = "Answer:"
    """The text after which an option's likelihood is its unconditional one (Brown et al. 2020, section 2.4)."""
    content_free: list[str] = Field(default=[*CONTENT_FREE], min_length=1)
    """What stands in place of every column in the questions that calibrate (Zhao et al. 2021)."""

    @field_validator("options", mode="before")
    @classmethod
    def _labels_are_text(cls, found: Any) -> Any:
        if isinstance(found, Mapping):
            return {str(label): text for label, text in found.items()}
        return [str(each) for each in found] if isinstance(found, list) else found


class Row(NamedTuple):
    """A row as a model is asked it."""

    question: str
    options: tuple[str, ...]  # without the delimiter
    right: int  # which option


@dataclass(frozen=True)
class Task:
    """A task, its rows written by its template."""

    own: TaskFile
    name: str
    rows: Sequence[Row]
    pool: Sequence[Row]  # of examples
    content_free: Sequence[Row]  # questions without content; none where each row has options of its own

    @property
    def fixed(self) -> bool:
        """Whether all rows have the same options."""
        return not isinstance(self.own.options, str)

    def prompt(self, row: Row, examples: Iterable[Row]) -> str:
        """Return what stands before an option: the description, answered examples and the question."""
        shown = (
            f"{each.question}{self.answer(each.options[each.right])}{self.own.fewshot_delimiter}"
            for each in examples
        )
        return f"{self.own.description}{''.join(shown)}{row.question}"

    def answer(self, option: str) -> str:
        """Return an option as it stands after a question."""
        return f"{self.own.target_delimiter}{option}"


def load(file: Path, limit: int | None = None) -> Task:
    """Return the task in a file, and the first `limit` of its rows. InputError, one line, for what is wrong in it.

    All rows are gone through, and a row names its line.
    """
    tree = read(file, "it must hold a task, as docs/prompting.md says")
    try:
        own = TaskFile.model_validate(tree)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise InputError(f"{file}: {preview(explain(fault, TaskFile, tree, tree), 400)}") from error
    template = _template(file, own.question)
    columns = meta.find_undeclared_variables(SANDBOX.parse(own.question)) - set(SANDBOX.globals)
    if not columns:
        raise InputError(
            f"{file}: question names no column, so all rows would be asked alike: write {{{{ text }}}}"
        )
    if not isinstance(own.options, str):
        _check_options(f"{file}: options", _written(own))
    reader = _Rows(own, template, sorted(columns), str(file))
    rows = list(reader.of(file.parent / own.rows))
    pool = list(reader.of(file.parent / own.examples)) if own.examples else rows
    free = (
        [reader.content_free(text) for text in own.content_free] if not isinstance(own.options, str) else []
    )
    return Task(own, file.stem, rows[:limit], pool, free)


def _template(file: Path, question: str) -> Template:
    try:
        return SANDBOX.from_string(question)
    except TemplateError as error:
        raise InputError(f"{file}: question is no template of Jinja: {line_of(error)}: correct it") from error


def _written(own: TaskFile) -> tuple[str, ...]:
    return tuple(own.options.values() if isinstance(own.options, dict) else own.options)


def _check_options(where: str, options: Sequence[str]) -> None:
    """Raise InputError for an option that is empty, or with which another begins: it could not be less likely."""
    for option in options:
        if not option.strip():
            raise InputError(f"{where}: one is empty: a model is asked how likely each is: write some text")
    for number, option in enumerate(options):
        for other in (*options[:number], *options[number + 1 :]):
            if other.startswith(option):
                longer = "is there twice" if other == option else f"is how {preview(other, 40)!r} begins"
                raise InputError(
                    f"{where}: {preview(option, 40)!r} {longer}, so it would always be as likely: write another"
                )


@dataclass(frozen=True)
class _Rows:
    """Files of rows, as a task writes them."""

    own: TaskFile
    template: Template
    columns: Sequence[str]  # that the question names
    task: str  # its file, for messages

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(self.own.options)

    def of(self, file: Path) -> Iterator[Row]:
        """Yield the rows of a file. InputError if it has none, or one that is wrong."""
        format = next((each for each in FORMATS if fits(file.name, each)), None)
        if not file.is_file():
            raise InputError(f"{file}: no such file: {self.task} names it; put the rows there")
        if format is None:
            raise InputError(
                f"{file}: the rows of a task are csv, jsonl or parquet: name such a file in {self.task}"
            )
        found = False
        for place, record in _records(file, format):
            found = True
            yield self._row(place, record)
        if not found:
            raise InputError(f"{file}: there is no row: write some")

    def content_free(self, text: str) -> Row:
        return Row(self._question(self.task, dict.fromkeys(self.columns, text)), _written(self.own), 0)

    def _row(self, place: str, record: Mapping[str, Any]) -> Row:
        own = self.own
        for name, key in (
            *((each, "question") for each in self.columns),
            (own.label, "label"),
            *([(own.options, "options")] if isinstance(own.options, str) else []),
        ):
            if name not in record:
                there = ", ".join(preview(str(each), 40) for each in list(record)[:10])
                raise InputError(
                    f"{place}: no column {name!r}, which {key} of {self.task} names: there are {there}"
                )
        question = self._question(place, record)
        if isinstance(own.options, str):
            return Row(question, *self._own_options(place, record))
        label = str(record[own.label]).strip()
        if label not in self.labels:
            known = ", ".join(map(preview, self.labels[:10]))
            raise InputError(
                f"{place}: the label {preview(label, 40)!r} is none of the options of {self.task} ({known}): "
                "correct the row, or name it there"
            )
        return Row(question, _written(own), self.labels.index(label))

    def _own_options(self, place: str, record: Mapping[str, Any]) -> tuple[tuple[str, ...], int]:
        own = self.own
        options, label = record[str(own.options)], record[own.label]
        if not isinstance(options, list) or len(options) < 2 or not all(isinstance(o, str) for o in options):
            raise InputError(
                f"{place}: {own.options} is {preview(repr(options), 40)}: it must be a list of two texts or more, "
                "in jsonl or parquet"
            )
        _check_options(place, options)
        number = options.index(label) if label in options else label
        if not (type(number) is int and 0 <= number < len(options)):
            raise InputError(
                f"{place}: the label {preview(repr(label), 40)} is none of its {len(options)} options: write one of "
                "them, or its number from 0"
            )
        return tuple(options), number

    def _question(self, place: str, record: Mapping[str, Any]) -> str:
        try:
            return self.template.render({name: record[name] for name in self.columns})
        except Exception as error:  # whatever the template's own code raises
            raise InputError(
                f"{place}: question of {self.task} fails ({line_of(error)}): correct it"
            ) from error


def _records(file: Path, format: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the records of a file, each with where it stands."""
    location = str(file)
    try:
        columns = dict.fromkeys(pq.read_schema(file).names) if format == "parquet" else {}
        with opened(file, location, seeks=format == "parquet") as stream:
            kind = "Parquet" if format == "parquet" else "text"
            not_data.check_kind(stream.peek(not_data.HEAD)[: not_data.HEAD], location, kind)
            for record in READERS[format](stream, location, {name: name for name in columns}, MAXIMUM):
                if record is None:
                    raise InputError(f"{file}: a row has more than {MAXIMUM:,} bytes: take it out")
                yield record
    except (pa.ArrowException, *UNREADABLE) as error:
        raise InputError(f"{file} cannot be read ({line_of(error)}): write it again") from error
