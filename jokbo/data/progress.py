"""Progress of long loops: seen by a person at a terminal, silent in logs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")


def progress(items: Sequence[Item], what: str) -> Iterator[Item]:
    """Yield the items, with a bar named `what` on stderr if that is a terminal."""
    console = Console(file=sys.stderr)
    yield from track(items, what, console=console, disable=not console.is_terminal, transient=True)
