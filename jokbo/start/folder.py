"""A model of the user's own, below data/local: a GGUF file, or a folder that transformers opens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from jokbo.data.files.files import below_local
from jokbo.runtime.errors import InputError

if TYPE_CHECKING:
    from jokbo.params import FromFolder


@contextmanager
def files(start: FromFolder, downloads: Path, key: str) -> Iterator[Path]:
    """Yield the path. Raises InputError if nothing is there, or if it is not below data/local."""
    path = below_local(f"{key}.path", start.path, "the model")
    if not path.exists():
        raise InputError(f"{path}: not there: correct {key}.path or put the model there")
    yield path
