"""Preferences of simulated raters between responses of the policy: the labeller of kind `simulated`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from jokbo.preferences import raters as fitted
from jokbo.preferences.labeller import Given, Labelled, LeftOut
from jokbo.preferences.pairs import Pair
from jokbo.preferences.raters import Raters
from jokbo.preferences.ratings import rated
from jokbo.preferences.responses import prompts_of, sampled
from jokbo.runtime.errors import InputError

if TYPE_CHECKING:
    from jokbo.params import Simulated

NO_TIME = "1970-01-01T00:00:00Z"  # a simulated rater has no clock, and a rerun must write the same bytes


def labelled(settings: Simulated, given: Given) -> Labelled:
    """Return simulated raters' choices between responses that the policy samples, several to each prompt."""
    train = [rated(given.documents["train"], source) for source in settings.sources]
    texts = [text for source in train for text in source.texts]
    raters = fitted.fit(texts, [row for source in train for row in source.ratings], seed=given.seed)
    prompts, each = prompts_of(settings, given), settings.responses_per_prompt
    asked, several = sampled(settings, given, given.policy(), prompts)
    found = pairs_of(asked, several, raters, seed=given.seed, source=given.name)
    whole = len(prompts) * each * (each - 1) // 2
    alike = LeftOut(
        whole - len(found), whole, "pairs of responses are alike or have an empty one: not compared"
    )
    held_out = rated(given.documents["test"], settings.sources[0])
    return Labelled(found, [], {"alike": alike}, fitted.disagreement(raters, held_out, seed=given.seed))


def pairs_of(
    prompts: Sequence[str],
    responses: Sequence[Sequence[str]],
    raters: Raters,
    *,
    seed: int,
    source: str,
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
            "time": NO_TIME,
            "source": source,
            "agreement": 1.0,
            "by_policy": True,
        }
        for (prompt, first, second), choice in zip(found, choices[:, 0], strict=True)
    ]
