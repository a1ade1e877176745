"""Runs whose losses follow a law that is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

THETA = np.array(
    [np.log(1.69), np.log(406.4), np.log(410.7), 0.34, 0.28]
)  # Hoffmann et al. 2022, equation 10
SIZES, TOKENS = np.geomspace(4e7, 1e10, 15), np.geomspace(1e9, 4e11, 16)


def loss(parameters: Any, tokens: Any) -> Any:
    return 1.69 + 406.4 / parameters**0.34 + 410.7 / tokens**0.28


def rows(seed: int, noise: float = 0.02, sizes: Any = SIZES, tokens: Any = TOKENS) -> list[dict[str, float]]:
    """A run of each size on each number of tokens."""
    rng = np.random.default_rng(seed)
    return [
        {
            "parameters": size,
            "tokens": data,
            "loss": loss(size, data) * np.exp(noise * rng.standard_normal()),
        }
        for size in sizes
        for data in tokens
    ]


def write(path: Path, runs: list[dict[str, Any]]) -> Path:
    lines = [",".join(runs[0]), *(",".join(str(value) for value in row.values()) for row in runs)]
    path.write_text("\n".join(lines) + "\n")
    return path
