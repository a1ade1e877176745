"""Reading a YAML file that a person wrote, in bounded time and memory. What is wrong with it is one short line."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import ConstructorError, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    ScalarEvent,
)
from ruamel.yaml.reader import ReaderError

from jokbo.runtime.errors import InputError
from jokbo.runtime.text import printable

BYTES = 1_000_000  # most bytes of a file
VALUES = 100_000  # most keys and values of a file; those of an anchor count at every alias
DEPTH = 50  # most sections in one another
SHOWN = 80  # most characters of what was found

HINTS = {
    "mapping values are not allowed in this context": " (a colon is followed by a space, and once on a line)",
    "found unhashable key": ": a key must be a word",
}

_short = reprlib.Repr()
_short.maxlevel, _short.maxstring, _short.maxlong, _short.maxother = 3, SHOWN, SHOWN, SHOWN


def read(path: Path, must: str = "it must hold sections, as params.yaml of git does") -> dict[str, Any]:
    """Return the sections that the file holds, by name. Raises InputError, one line with file and line number.

    must: what it says of a file that holds no sections.
    """
    text = _text(path)
    yaml = YAML(typ="safe")  # as DVC reads it
    yaml.Constructor = _Constructor
    try:
        _measure(path, yaml.parse(text))
        tree = yaml.load(text)
    except ReaderError as error:
        found = f"a control character, U+{error.character:04X}: remove it"
        raise _wrong(path, text.count("\n", 0, error.position), found) from error
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        tab = text[mark.index : mark.index + 1] == "\t"
        begun = error.context_mark and error.context_mark.line != mark.line
        where = f", {error.context} from line {error.context_mark.line + 1}" if begun else ""
        problem = f"{error.problem}{HINTS.get(error.problem, '')}"
        if not isinstance(
            error, ConstructorError
        ):  # a ConstructorError is of YAML with a value that cannot be
            problem = f"not YAML: {problem}{where}"
        found = "a tab: indent with spaces" if tab else preview(problem, 2 * SHOWN)
        raise _wrong(path, mark.line, found) from error
    except YAMLError as error:
        raise InputError(f"{path}: not YAML: {preview(str(error))}") from error
    if not isinstance(tree, dict):
        found = "it is empty" if tree is None else f"it holds {found_as(tree)}"
        raise InputError(f"{path}: {found}: {must}")
    return tree


def found_as(value: Any) -> str:
    """Return a value as a message shows it: short, even if it is large."""
    return "nothing" if value is None else preview(_short.repr(value))


def preview(text: str, most: int = SHOWN) -> str:
    """Return the text on one line of at most so many characters."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= most else f"{line[: most - 3]}..."


def _text(path: Path) -> str:
    try:
        if not path.is_file():
            what = "not a file" if path.exists() else "no such file"
            raise InputError(f"{path}: {what}: run from the project's folder, or restore it from git")
        with path.open("rb") as file:
            content = file.read(BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}: make it a file that you may read") from error
    if len(content) > BYTES:
        raise InputError(f"{path}: longer than {BYTES:,} bytes: it must hold only parameters, no data")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}: line {line}: byte {error.start} is not UTF-8: save the file as UTF-8"
        ) from error


def _measure(path: Path, events: Iterable[Event]) -> None:
    """Raise InputError for a file that could take forever to build or to show.

    Such are aliases that multiply, deep nesting, and a value that contains itself. Explicit types are refused too: no
    parameter needs one.
    """
    sizes: dict[str | None, int | None] = {}  # values of what an anchor names; None: it has not ended
    open_ones: list[tuple[str | None, int]] = []  # anchors of what has not ended, and the values before it
    total = documents = 0
    for event in events:
        line = event.start_mark.line
        if isinstance(event, AliasEvent):
            name = preview(event.anchor)
            if event.anchor not in sizes:
                raise _wrong(path, line, f"*{name} names nothing: put &{name} before it")
            size = sizes[event.anchor]
            if size is None:
                raise _wrong(path, line, f"*{name} is inside what it names: write the value out")
            total += size
        elif isinstance(event, DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise _wrong(path, line, "a second document begins (---): keep one")
        elif isinstance(event, ScalarEvent | CollectionStartEvent):
            if event.tag not in (None, "!"):
                raise _wrong(path, line, f"a type, {preview(str(event.tag))}: write the value without it")
            total += 1
            sizes[event.anchor] = 1
            if isinstance(event, CollectionStartEvent):
                open_ones.append((event.anchor, total - 1))
                sizes[event.anchor] = None
        elif isinstance(event, CollectionEndEvent):
            anchor, before = open_ones.pop()
            sizes[anchor] = total - before
        if total > VALUES:
            raise _wrong(path, line, f"more than {VALUES:,} values, aliases written out: it must hold fewer")
        if len(open_ones) > DEPTH:
            raise _wrong(
                path, line, f"more than {DEPTH} lists or sections in one another: no section is so deep"
            )


def _wrong(path: Path, line: int, found: str) -> InputError:
    return InputError(f"{path}: line {line + 1}: {found}")


class _Constructor(SafeConstructor):
    """It names the line of a value that Python cannot hold. It names a key that comes twice, without its value."""

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            made = super().construct_object(node, deep)
            if isinstance(made, int) and made.bit_length() > 64:
                raise ValueError("larger than 64 bits")
        except (ValueError, OverflowError) as error:
            problem = f"{preview(node.value, 30)} cannot be read: correct it, or put it in quotes ({error})"
            raise ConstructorError(problem=problem, problem_mark=node.start_mark) from error
        return made

    def check_mapping_key(self, node: Any, key_node: Any, mapping: Any, key: Any, value: Any) -> bool:
        if key in mapping:
            problem = f"the key {found_as(key)} stands a second time in its section: remove one"
            raise ConstructorError(problem=problem, problem_mark=key_node.start_mark)
        return True
