"""Does a reward model like length, or the same words again?

Reward models take length for quality (Singhal et al. 2023), and policies that learn from them repeat themselves. So
each response is read in three forms: whole, its first half, and its first half twice. A second half says something
new and a repetition does not; both make a response longer.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from jokbo.alignment.ensembles import rewards
from jokbo.alignment.results import Probes
from jokbo.evaluation.intervals import Estimated, by_unit
from jokbo.models import heads

if TYPE_CHECKING:
    from jokbo.data.tables import Row

WORDS = 4  # least number of a response that has halves


def probed(
    members: Sequence[PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Row],
    context: int,
) -> Probes:
    """Return how the reward moves with length and with repetition, over the distinct responses of preference pairs.

    Responses to one prompt share a unit; a text that answers none is one by itself.
    """
    distinct = dict.fromkeys((row["prompt"], response) for row in rows for response in row["responses"])
    forms: list[tuple[str, str, str]] = []
    lengths: list[int] = []
    units: list[tuple[str]] = []
    for prompt, text in distinct:
        half = first_half(text)
        form = (prompt + text, prompt + half, f"{prompt}{half} {half.lstrip()}")
        whole, _, twice = (len(ids) for ids in tokenizer(list(form), add_special_tokens=False)["input_ids"])
        if len(text.split()) >= WORDS and max(whole, twice) < context:  # the end of text comes after it
            forms.append(form)
            lengths.append(whole)
            units.append((prompt or text,))
    if len(set(units)) < 2:
        return Probes(len(forms), len(distinct) - len(forms), None, None, None)
    whole_N, half_N, twice_N = (
        rewards(members, heads.encode(tokenizer, list(texts), context)).double().numpy()
        for texts in zip(*forms, strict=True)
    )
    return Probes(
        responses=len(forms),
        left_out=len(distinct) - len(forms),
        length_correlation=rank_correlation(np.array(lengths), whole_N, units),
        second_half=by_unit(whole_N - half_N, units)._asdict(),
        repetition=by_unit(twice_N - half_N, units)._asdict(),
    )


def first_half(text: str) -> str:
    """Return the first half of a text's words, with the spaces between and before them."""
    words = text.split()
    rest = text
    for word in words[: len(words) // 2]:
        rest = rest[rest.index(word) + len(word) :]
    return text[: len(text) - len(rest)]


def rank_correlation(
    first_N: np.ndarray, second_N: np.ndarray, units: Sequence[Sequence[Hashable]]
) -> Estimated | None:
    """Return Spearman's correlation with its interval by unit, the ranks taken as known; None if either is constant.

    It is the mean of the products of the standardised ranks.
    """
    ranks = [rankdata(values_N) for values_N in (first_N, second_N)]
    if any(np.ptp(rank_N) == 0 for rank_N in ranks):
        return None
    one_N, other_N = ((rank_N - rank_N.mean()) / rank_N.std() for rank_N in ranks)
    return by_unit(one_N * other_N, units)._asdict()
