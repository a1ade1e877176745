"""What `jokbo doctor` says of each thing that it looks at: whether it is right, what was found, and what to do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jokbo.runtime.errors import line_of
from jokbo.runtime.secrets import hidden
from jokbo.runtime.text import printable

Level = Literal["ok", "warning", "wrong"]
COLOURS: Mapping[Level, str] = {"ok": "green", "warning": "yellow", "wrong": "red"}


@dataclass(frozen=True)
class Finding:
    level: Level
    found: str
    do: str = ""  # in one line


Check = Callable[[], Iterable[Finding]]


def ok(found: str) -> Finding:
    return Finding("ok", found)


def warning(found: str, do: str) -> Finding:
    return Finding("warning", found, do)


def wrong(found: str, do: str) -> Finding:
    return Finding("wrong", found, do)


def refused(error: Exception) -> Finding:
    """Return what one line of ours says is wrong: what comes last in it is what to do."""
    found, _, do = line_of(error).rpartition(": ")
    return wrong(found or do, do)


def examined(checks: Mapping[str, Check]) -> Iterator[tuple[str, Finding]]:
    """Yield what each check finds, with its name and without secrets. A check that fails is a finding itself."""
    for name, check in checks.items():
        for finding in _found_by(check):
            yield name, Finding(finding.level, _shown(finding.found), _shown(finding.do))


def _found_by(check: Check) -> Iterator[Finding]:
    try:
        yield from check()
    except Exception as error:
        kind = type(error).__name__
        yield wrong(f"this could not be looked at ({kind}: {line_of(error)})", "tell us, with this line")


def _shown(text: str) -> str:
    return printable(hidden(text))


def is_right(found: Iterable[tuple[str, Finding]]) -> bool:
    """Return whether nothing is wrong; warnings may be there."""
    return all(finding.level != "wrong" for _, finding in found)


def as_json(found: Iterable[tuple[str, Finding]]) -> str:
    return json.dumps(
        [{"check": name, **asdict(finding)} for name, finding in found], indent=1, ensure_ascii=False
    )


def show(found: Iterable[tuple[str, Finding]]) -> None:
    """Print a table of what was found; below each what to do about it."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, finding in found:
        said = Text(finding.found)
        if finding.do:
            said.append(f"\n-> {finding.do}", style="bold")
        table.add_row(Text(finding.level, style=COLOURS[finding.level]), name, said)
    Console().print(table)
