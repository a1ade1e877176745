"""The DVC projects of this repository: the chain's, in its root, and optional graphs, each in a folder of the root.

A plain `dvc` in the root sees the chain and nothing else. The stages of an optional graph run in its folder, and share
the chain's code, its DVC cache and its .jokbo.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jokbo import params
from jokbo.params import AnyParams, reading
from tasks.frame.paths import ALIGNMENT, FAMILY

# by the name of its folder, what reads its params.yaml, given that and the chain's
OPTIONAL: dict[str, Callable[[Path, Path], AnyParams]] = {
    FAMILY.name: params.load_family,
    ALIGNMENT.name: params.load_alignment,
}


def root(folder: Path = Path()) -> Path:
    """Return the root's folder, given that of one of the projects."""
    return Path(os.path.normpath(folder / "..")) if _is_optional(folder) else folder


def load(folder: Path = Path()) -> AnyParams:
    """Return the checked parameters of the project in the folder. InputError if they are not right."""
    if _is_optional(folder):
        return OPTIONAL[folder.resolve().name](folder / "params.yaml", root(folder) / "params.yaml")
    return params.load(folder / "params.yaml")


def stages() -> dict[str, Any]:
    """Return the stages of the chain in their order, as the root's dvc.yaml has them. InputError if it is not right."""
    return reading.read(root() / "dvc.yaml").get("stages", {})


def _is_optional(folder: Path) -> bool:
    return folder.resolve().name in OPTIONAL and (folder / ".." / ".dvc").is_dir()
