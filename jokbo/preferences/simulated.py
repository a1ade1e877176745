"""Preferences of simulated raters between responses of a policy to the same prompt."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from jokbo.models.sampling import sample
from jokbo.preferences.pairs import Pair
from jokbo.preferences.raters import Raters
from jokbo.runtime.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from jokbo.data.prompts import Prompts
    from jokbo.params import Preferences

NO_TIME = "1970-01-01T00:00:00Z"  # a simulated rater has no clock, and a rerun must write the same bytes


def pairs(
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Prompts,
    raters: Raters,
    settings: Preferences,
) -> list[Pair]:
    """Return simulated raters' choices between responses that the policy samples, several to each prompt."""
    each = settings.responses_per_prompt
    rollout = sample(
        policy,
        prompts.prompts_NP.repeat_interleave(each, dim=0),
        response_tokens=prompts.response_tokens,
        temperature=settings.temperature,
        seed=settings.seed,
    )
    responses = rollout.texts(tokenizer)
    return pairs_of(
        rollout.prompts(tokenizer)[::each],
        [responses[i : i + each] for i in range(0, len(responses), each)],
        raters,
        seed=settings.seed,
    )


def pairs_of(
    prompts: Sequence[str],
    responses: Sequence[Sequence[str]],
    raters: Raters,
    *,
    seed: int,
) -> list[Pair]:
    """Return simulated raters' choices between responses to the same prompt, one rater a pair.

    All pairs of the responses to a prompt are asked about. The rater reads the responses alone: the prompt is common to
    both. Pairs of equal texts, or with an empty one, are left out: nobody could choose between them.
    """
    found = []
    for prompt, several in zip(prompts, responses, strict=True):
        stripped = [each.strip() for each in several]
        found += [
            (prompt, several[i], several[j])
            for i, j in combinations(range(len(several)), 2)
            if stripped[i] and stripped[j] and stripped[i] != stripped[j]
        ]
    if not found:
        raise InputError("simulated preferences: no prompt has two different responses; sample more of them")
    choices = raters.compare([first for _, first, _ in found], [second for _, _, second in found], seed=seed)
    return [
        {
            "prompt": prompt,
            "responses": [first, second],
            "choice": int(choice),
            "labeller": "simulated rater",
            "kind": "simulated",
            "agreement": 1.0,
            "time": NO_TIME,
        }
        for (prompt, first, second), choice in zip(found, choices[:, 0], strict=True)
    ]
