"""The judges of `evaluate.judges`, by kind."""

from __future__ import annotations

from jokbo.evaluation.judges import classifier, reward
from jokbo.evaluation.judges.judge import Judge

JUDGES: dict[str, Judge] = {"classifier": classifier.judged, "reward": reward.judged}
