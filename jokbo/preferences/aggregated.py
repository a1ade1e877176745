"""One label from those of several people: what most of them say, or what they say by how often each of them errs.

A label is 0 or 1, the response that is preferred, or None, a tie. Dawid and Skene (1979) fit to each person how often
they give which label where another is true; so who often errs counts for less. crowd-kit has their model.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jokbo.preferences.pairs import Pair

if TYPE_CHECKING:
    import pandas as pd

Comparison = tuple[str, ...]  # which two responses are compared
Label = int | None
Given = Mapping[Comparison, Mapping[str, Label]]  # what each person says of a comparison
TIE = 2  # a tie among the labels that crowd-kit is given
EVEN = 1e-6  # labels whose probabilities differ by less are equally likely


@dataclass(frozen=True)
class Estimated:
    """What Dawid and Skene's model finds, or why it cannot be fitted."""

    labels: Mapping[Comparison, Label] = field(default_factory=dict)
    probability: Mapping[Comparison, float] = field(default_factory=dict)  # of that label
    reliability: Mapping[str, float] = field(
        default_factory=dict
    )  # by person: how often they give the true label
    why_none: str = ""


def majority(given: Given) -> dict[Comparison, Label]:
    """Return what most people say of each comparison; where two labels are said as often, a tie."""
    found = {}
    for comparison, labels in given.items():
        (first, most), *others = Counter(labels.values()).most_common()
        found[comparison] = None if others and others[0][1] == most else first
    return found


def dawid_skene(given: Given) -> Estimated:
    """Return the label of each comparison that is likeliest by what people say and how often each of them errs."""
    if why := _too_little(given):
        return Estimated(why_none=why)
    import pandas as pd  # takes seconds, and few runs need it
    from crowdkit.aggregation.classification.dawid_skene import DawidSkene

    order = sorted(given)
    rows = [
        (number, name, TIE if label is None else label)
        for number, comparison in enumerate(order)
        for name, label in sorted(given[comparison].items())
    ]
    model = DawidSkene(n_iter=1000)
    likely = model.fit_predict_proba(pd.DataFrame(rows, columns=["task", "worker", "label"])).fillna(0.0)
    assert model.priors_ is not None
    labels, probability = {}, {}
    for number, comparison in enumerate(order):
        (second, first), best = likely.loc[number].nlargest(2)[::-1], likely.loc[number].idxmax()
        labels[comparison] = None if best == TIE or first - second < EVEN else int(best)
        probability[comparison] = float(first)
    reliability = {
        name: float(sum(_right(model.errors_, name, label) * prior for label, prior in model.priors_.items()))
        for name in sorted({name for _, name, _ in rows})
    }
    return Estimated(labels, probability, reliability)


def _right(errors: pd.DataFrame | None, name: str, label: object) -> float:
    """Return how often a person gives a label where it is the true one."""
    assert errors is not None
    return float(errors.at[(name, label), label]) if (name, label) in errors.index else 0.0


def _too_little(given: Given) -> str:
    """Return why no model of who errs how often can be fitted; nothing if it can."""
    if len({name for labels in given.values() for name in labels}) < 2:
        return "it needs two people or more"
    if all(len(labels) < 2 for labels in given.values()):
        return "no two people have judged the same responses"
    if len({label for labels in given.values() for label in labels.values()}) < 2:
        return "all said the same of all comparisons"
    return ""


def given_by(pairs: Iterable[Pair]) -> dict[Comparison, dict[str, Label]]:
    """Return what people say of the two responses of each pair."""
    found = defaultdict(dict)
    for pair in pairs:
        found[pair["prompt"], *pair["responses"]][pair["labeller"]] = pair["choice"]
    return found


def one_of_each(pairs: Sequence[Pair], labels: Mapping[Comparison, Label]) -> list[Pair]:
    """Return a pair for each comparison, with its label in the place of people's. Agreement is the share of them that
    says so."""
    several = defaultdict(list)
    for pair in pairs:
        several[pair["prompt"], *pair["responses"]].append(pair)
    found = []
    for comparison, of_both in several.items():
        choice = labels[comparison]
        agreement = sum(pair["choice"] == choice for pair in of_both) / len(of_both)
        found.append({**of_both[0], "choice": choice, "labeller": None, "time": None, "agreement": agreement})
    return found
