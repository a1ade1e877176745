"""Python that runs in two processes at once, as DeepSpeed's launcher would start them."""

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
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run(
        [*launcher, str(path), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        check=True,
        capture_output=True,
        timeout=300,
    )
