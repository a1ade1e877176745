"""A model of the Hugging Face hub, at a commit. What was fetched before needs no network: a commit never changes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import IncompleteSnapshotError, LocalEntryNotFoundError

from jokbo.data.fetch.sources import foreign

if TYPE_CHECKING:
    from jokbo.params import FromHub

WANTED = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"]  # neither pickles nor code


@contextmanager
def files(start: FromHub, downloads: Path, key: str) -> Iterator[Path]:
    """Yield the folder of the model's files. Raises InputError if the hub cannot be reached or has no such commit."""
    name = f"{start.model}@{start.revision[:12]}"
    wanted: dict[str, Any] = {
        "revision": start.revision,
        "allow_patterns": WANTED,
        "cache_dir": downloads / "hub",
    }
    try:
        found = snapshot_download(start.model, **wanted, local_files_only=True)
        print(f"jokbo: {key}: {name} was fetched before: taken from {downloads / 'hub'}", file=sys.stderr)
    except (LocalEntryNotFoundError, IncompleteSnapshotError):
        advice = f": check the network, {key}.model and revision; `hf auth login` for a private model"
        with foreign(f"{name} cannot be fetched", advice):
            found = snapshot_download(start.model, **wanted)
    yield Path(found)
