"""Where stages leave what later stages read. dvc.yaml names the same paths; tests hold the two together."""

from pathlib import Path

STATE = Path(".jokbo")  # checkpoints, the MLflow store, Prefect's home: never under DVC or git

RAW = Path("data/raw")
DOCUMENTS = Path("data/documents")
JUDGE_TEXTS = Path("data/judge")
TOKENIZER = Path("data/tokenizer")
TOKENS = Path("data/tokens")
PREFERENCES = Path("data/preferences")
EVALUATION = Path("data/evaluation")

BASE = Path("models/base")
POLICY = Path("models/policy")
CLASSIFIER = Path("models/classifier")
STUDENT = Path("models/student")
REWARD = Path("models/reward")
ALIGNED = Path("models/aligned")

REPORT = Path("reports/report.html")
METRICS = Path("metrics")
PLOTS = Path("plots")
