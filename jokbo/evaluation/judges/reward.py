"""The reward model as a judge: the kind `reward`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jokbo.evaluation.judges.judge import Given, Judged

if TYPE_CHECKING:
    from jokbo.params import RewardJudge

ABOUT = (
    "The chain's reward model; it has not seen these prompts. PPO trains the policy against it, and DPO learns the "
    "comparisons that it learned. So its wins say that alignment did what it was told, not that anybody else would "
    "agree."
)


def judged(settings: RewardJudge, given: Given) -> Judged:
    """Return the rewards. They compare responses, and say of none that it is good."""
    return Judged(ABOUT, given.rewards, probabilities=False)
