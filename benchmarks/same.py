"""`python -m benchmarks.same A B` says whether two projects made the same weights: how a refactor is proven.

A and B are folders in which the chain, or a part of it, has run on the same machine. Every safetensors file below
models/ is compared by its sha256. Exits 1 if one differs, or is in one of them alone.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

WEIGHTS = "models/**/*.safetensors"


def weights(project: Path) -> dict[str, str]:
    """Return the sha256 of each file of weights, by its path in the project."""
    found = {}
    for path in sorted(project.glob(WEIGHTS)):
        with path.open("rb") as file:
            found[path.relative_to(project).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__ and __doc__.splitlines()[0])
    parser.add_argument("projects", type=Path, nargs=2, metavar="FOLDER")
    first, second = parser.parse_args().projects
    ours, theirs = weights(first), weights(second)
    table, differ = Table("weights", str(first), str(second), ""), 0
    for path in sorted({*ours, *theirs}):
        one, other = ours.get(path), theirs.get(path)
        differ += one != other
        table.add_row(
            path, *((each or "not there")[:16] for each in (one, other)), "" if one == other else "differs"
        )
    Console(width=150).print(table)
    print(f"{len({*ours, *theirs}) - differ} files of weights are the same, {differ} differ")
    sys.exit(bool(differ) or not ours)


if __name__ == "__main__":
    main()
