"""How far a proxy of a reward can be raised before the reward itself falls (Gao et al. 2022).

A reward model is taken for true: the gold one. Proxies learn from pairs that it labelled. Then responses are optimised
against a proxy, by best-of-n or by PPO, and the gold one says what they are worth. Both scores are drawn over the
root of the KL from the supervised policy, as in the paper's figures.

Shapes: N prompts, M responses to each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from torch import Tensor

from jokbo.alignment.baselines.best_of_n import best_of, kl
from jokbo.reporting.figures import CYCLE, Chart, panel

if TYPE_CHECKING:
    from jokbo.data.tables import Row

Point = dict[str, float]  # `kl`, nats a response, and the mean `proxy` and `gold` scores there
Curve = Sequence[Point]
FORMS = ("best-of-n", "PPO")


def labelled(prompts: Sequence[str], pairs: Sequence[Sequence[str]], gold_N2: Tensor) -> list[Row]:
    """Return preference pairs: of two responses to a prompt the gold model's choice; ties are left out."""
    return [
        {"prompt": prompt, "responses": list(two), "choice": int(gold[1] > gold[0]), "agreement": 1.0}
        for prompt, two, gold in zip(prompts, pairs, gold_N2.tolist(), strict=True)
        if gold[0] != gold[1]
    ]


def by_best_of_n(proxy_NM: Tensor, gold_NM: Tensor) -> list[Point]:
    """Return what the best of 1, 2, 4 ... M by the proxy is worth, a mean over prompts and all choices of so many."""
    count = proxy_NM.shape[1]
    numbers = [2**power for power in range(count.bit_length()) if 2**power <= count]
    return [
        {
            "kl": kl(n),
            "proxy": best_of(proxy_NM, n).mean().item(),
            "gold": best_of(proxy_NM, n, gold_NM).mean().item(),
        }
        for n in numbers
    ]


class Fit(NamedTuple):
    """A gold score over d, the root of the KL: d (alpha - beta d), or for RL d (alpha - beta log d)."""

    alpha: float
    beta: float
    peak: float | None  # the KL at which the law is highest; None: it rises for ever


def fitted(curve: Curve, form: str) -> Fit:
    """Return the paper's law that fits the gold scores, as gains over the first point, best."""
    d_P = np.sqrt([max(point["kl"], 0.0) for point in curve])
    gain_P = np.array([point["gold"] for point in curve]) - curve[0]["gold"]
    there = d_P > 0
    d_P, gain_P = d_P[there], gain_P[there]
    bend_P = d_P if form == FORMS[0] else np.log(d_P)
    alpha, beta = np.linalg.lstsq(np.stack([d_P, -d_P * bend_P], axis=1), gain_P, rcond=None)[0].tolist()
    if beta <= 0:
        return Fit(alpha, beta, None)
    top = alpha / (2 * beta) if form == FORMS[0] else np.exp(alpha / beta - 1)
    return Fit(alpha, beta, float(top) ** 2 if top > 0 else 0.0)


def chart(curves: Mapping[str, Curve], form: str) -> Chart:
    """Return the scores of the proxies, dashed, and the gold ones of the same responses, over the root of the KL."""
    with panel("root of the KL, nats a response", "score") as (figure, axes):
        for (name, curve), colour in zip(curves.items(), cycle(CYCLE), strict=False):
            roots = [max(point["kl"], 0.0) ** 0.5 for point in curve]
            axes.plot(roots, [point["gold"] for point in curve], color=colour, label=name)
            axes.plot(roots, [point["proxy"] for point in curve], color=colour, linestyle="--", linewidth=1)
    ends = ", ".join(
        f"{name} {curve[-1]['gold']:.2f} of {curve[-1]['proxy']:.2f}" for name, curve in curves.items()
    )
    alt = f"Gold score (of proxy score, dashed) by {form} at the end, by weights of the proxy: {ends}."
    return Chart(f"overoptimisation-{form.lower()}", f"Gold and proxy by {form}", alt, figure)
