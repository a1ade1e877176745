"""A model of the user's own, below data/local: a GGUF file, or a folder that transformers opens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from jokbo.data.fetch.sources import LOCAL
from jokbo.runtime.errors import InputError

if TYPE_CHECKING:
    from jokbo.params import FromFolder


@contextmanager
def files(start: FromFolder, downloads: Path) -> Iterator[Path]:
    """Yield the path. Raises InputError if nothing is there, or if it is not below data/local."""
    path = Path(start.path)
    if path.is_absolute() or ".." in path.parts:
        advice = f"give it relative to {LOCAL}, the folder whose changes DVC sees, and put the model there"
        raise InputError(f"pretrain.start.path is {start.path!r}: {advice}")
    if not (LOCAL / path).exists():
        raise InputError(f"{LOCAL / path}: not there: correct pretrain.start.path or put the model there")
    yield LOCAL / path
