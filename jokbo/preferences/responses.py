"""What the policy writes for a labeller: several responses to each of its prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jokbo.data.prompts import Prompts
from jokbo.preferences.labeller import Given
from jokbo.sampling import sample

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from jokbo.params import AiJudge, People, Simulated

    Asking = AiJudge | People | Simulated


def prompts_of(settings: Asking, given: Given) -> Prompts:
    """Return the prompts that are asked for, or all that there are, which is said."""
    found = given.prompts("prompts", settings.prompts)
    if len(found) < settings.prompts:
        given.say([f"{settings.prompts:,} prompts are asked for, and there are {len(found):,}"])
    return found


def sampled(
    settings: Asking, given: Given, policy: PreTrainedModel, prompts: Prompts
) -> tuple[list[str], list[list[str]]]:
    """Return the prompts as texts, and the policy's responses to each."""
    each = settings.responses_per_prompt
    given.say([f"the policy gives {each} responses to each of {len(prompts):,} prompts"])
    rollout = sample(
        policy,
        prompts.prompts_NP.repeat_interleave(each, dim=0),
        response_tokens=prompts.response_tokens,
        temperature=settings.temperature,
        seed=given.seed,
    )
    texts = rollout.texts(given.tokenizer)
    several = [texts[i : i + each] for i in range(0, len(texts), each)]
    return rollout.prompts(given.tokenizer)[::each], several
