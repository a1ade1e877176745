"""A model leaves the house: a folder with its weights in one of three forms, its card and its ancestry.

An export is whole or not there. It needs nothing of the project that it comes from.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from jokbo.exporting import Kind, Precision, card
from jokbo.exporting.licences import licences
from jokbo.exporting.lineage import lineage
from jokbo.exporting.opening import opened
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import atomic_write_folder, write_text

NEEDS = {"folder": (), "gguf": ("gguf",), "onnx": ("onnx", "onnxscript")}  # packages
RECORD = "ancestry.json"
# what of a model's folder goes along: no code, no pickles, no checkpoints
PARTS = (
    "config.json",
    "generation_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "chat_template.jinja",
)


@dataclass(frozen=True)
class Target:
    """Where to, and as what."""

    folder: Path
    kind: Kind
    precision: Precision = "fp32"  # of GGUF
    force: bool = False  # whether an export that is there already is replaced


def export(model: Path, target: Target, commit_of: Callable[[str], str | None]) -> None:
    """Write a model as the target says. `commit_of` maps a stage's key to a git commit.

    Raises InputError if the model or the target cannot be used; then nothing is left at the target.
    """
    model = model if model.name else model.resolve()  # `.` has no name
    _check(model, target)
    found = opened(model)
    descent = lineage(model, commit_of)
    allowed = licences(model) if descent.records else {}
    with atomic_write_folder(target.folder) as folder:
        if target.kind == "folder":
            _copy(model, folder)
        elif target.kind == "gguf":
            from jokbo.exporting import gguf_file

            gguf_file.write(found, folder / "model.gguf", target.precision, descent.json())
        else:
            from jokbo.exporting import onnx_file

            onnx_file.write(found, folder / "model.onnx")
            found.tokenizer.save_pretrained(folder)
        forms = {"kind": target.kind, "precision": target.precision}
        write_text(folder / "README.md", card.text(found, descent, allowed, **forms))
        write_text(folder / RECORD, descent.json() + "\n")


def _check(model: Path, target: Target) -> None:
    """Raise InputError if the target stands in the way, or a package is missing."""
    folder = target.folder
    if model.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{folder}: the model itself is there: name another --out")
    if folder.exists():
        if not target.force:
            raise InputError(f"{folder}: there already: name another --out, or replace it by --force")
        if not (folder / RECORD).is_file():
            raise InputError(f"{folder}: not an export (it has no {RECORD}): --force replaces nothing else")
    missing = [name for name in NEEDS[target.kind] if not find_spec(name)]
    if missing:
        raise InputError(f"--to {target.kind} needs packages: pip install {' '.join(missing)}")


def _copy(model: Path, folder: Path) -> None:
    for pattern in PARTS:
        for file in model.glob(pattern):
            if file.is_file():
                shutil.copyfile(file, folder / file.name)
