"""The DVC project of PPO and its baselines: its folder, and where its stages leave what later ones read.

Whatever works on it imports this file, which puts it beside the optional graphs of tasks/frame/projects.py.
"""

from __future__ import annotations

from pathlib import Path

from jokbo import params
from tasks.frame import paths, projects

ALIGNMENT = Path("alignment")
ABOVE = Path("..")  # the chain, whose outputs its stages read
MODELS = Path("models")  # a folder a baseline
RESPONSES = Path("responses")  # to the held-out prompts, a file a baseline
TABLE = Path("reports/alignment.md")
TABLE_PAGE = TABLE.with_suffix(".html")

projects.OPTIONAL[ALIGNMENT.name] = params.load_alignment  # pyright: ignore[reportArgumentType]  # of another schema


def of_chain(path: Path) -> Path:
    """Return where an output of the chain stands, seen from a stage of this project."""
    return ABOVE / path


POLICY, REWARD, PROMPTS, DOCUMENTS, JUDGE_TEXTS = map(
    of_chain, (paths.POLICY, paths.REWARD, paths.PROMPTS, paths.DOCUMENTS, paths.JUDGE_TEXTS)
)
