"""Python that runs in two processes at once, as a stage's launcher starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def in_two_ranks(script: str, folder: Path, *arguments: object) -> None:
    """Raises CalledProcessError if one of them fails."""
    path = folder / "ranks.py"
    path.write_text(script)
    launch = "import sys; from jokbo.runtime import launcher; sys.exit(launcher.launch(sys.argv[1:], 2))"
    subprocess.run(
        [sys.executable, "-c", launch, sys.executable, str(path), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
    )
