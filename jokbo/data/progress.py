"""Progress of long loops: seen by a person at a terminal, silent in logs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")


def progress(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """Yield the items, with a bar named `what` on stderr if that is a terminal."""
    console = Console(file=sys.stderr)
    yield from track(
        items, what, total=total, console=console, disable=not console.is_terminal, transient=True
    )
