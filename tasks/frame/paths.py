"""Where stages leave what later stages read. dvc.yaml names the same paths; tests hold the two together."""

import os
import sys
from pathlib import Path

STATE = Path(".jokbo")  # of the root: checkpoints, the MLflow store, Prefect's home: never under DVC or git

RAW = Path("data/raw")
SOURCES = "sources.json"  # in RAW: what `fetch` read
DOCUMENTS = Path("data/documents")
COUNTS = "counts.json"  # in DOCUMENTS: what `prepare` counted
JUDGE_TEXTS = Path("data/judge")
TOKENIZER = Path("data/tokenizer")
TOKENS = Path("data/tokens")
PROMPTS = Path("data/prompts")  # a folder a split
PREFERENCES = Path("data/preferences")
ROLLOUTS = Path("data/rollouts")
EVALUATION = Path("data/evaluation")

START = Path("models/start")  # the model that pretrain.start adopts, or that there is none
BASE = Path("models/base")
POLICY = Path("models/policy")
TASKS = Path("models/tasks")  # a folder a labelled task
STUDENT = Path("models/student")
REWARD = Path("models/reward")
ALIGNED = Path("models/aligned")

ABOVE = Path("..")  # the root, seen from a stage of an optional graph
KEPT_TABLE = "table.json"  # in an optional graph's folder, and in git: what its last run measured

# of the comparison, whose stages run in FAMILY
FAMILY = Path("family")
FAMILY_DOCUMENTS = ABOVE / DOCUMENTS
FAMILY_DATA = Path("data")
FAMILY_MODELS = Path("models")  # a folder a system
FAMILY_RIGHT = Path(
    "right"
)  # of each system and of the baselines, how many seeds were right about each test text
FAMILY_TABLE = Path("reports/family.md")

# of PPO and its baselines, whose stages run in ALIGNMENT
ALIGNMENT = Path("alignment")
BASELINE_MODELS = Path("models")  # a folder a baseline
BASELINE_RESPONSES = Path("responses")  # to the held-out prompts, a file a baseline
BASELINE_TABLE = Path("reports/alignment.md")

REPORT = Path("reports/report.html")
DATA_CARD, DATA_CARD_PAGE = Path("reports/data-card.json"), Path("reports/data-card.md")
PROFILES = Path("profiles")  # other corpora: NAME.yaml, and what was measured, NAME.json
METRICS = Path("metrics")
RESULT = REPORT.with_name("result.json")  # the few numbers that runs are compared by
PLOTS = Path("plots")
FIGURES = REPORT.with_name("figures")  # images, since `dvc plots show` draws curves with what the network has


def search_path() -> str:
    """Return PATH with this python's folder in front: where DVC finds the `python` of a stage's command."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
