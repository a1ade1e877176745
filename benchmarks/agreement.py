"""`python -m benchmarks.agreement`: how often people, simulated raters, a language model as judge, the reward model and
the classifier agree about the same pairs of texts that people rated.

It reads what the last run of this folder left: data/documents, models/reward. The pairs are of the split test, which no
stage learns from. Each text has fifteen ratings or more. They are dealt to two halves of the people at random, so that
people can be compared with people. `one person` gave one rating of either text, and is of the first half: so these two
are not compared. Where somebody finds both texts alike, the pair does not count for them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from rich.console import Console
from rich.table import Table
from transformers import AutoTokenizer

from benchmarks.judge import PRINCIPLE, SMOL, rated_by_people
from flows.command import one_line
from jokbo import params
from jokbo.alignment import ensembles
from jokbo.data.tables import open_splits, open_table
from jokbo.evaluation import intervals
from jokbo.evaluation.judges import classifier
from jokbo.feedback.judge import Judge
from jokbo.feedback.question import Questions
from jokbo.feedback.verdicts import Method, Pair, Unjudged
from jokbo.models import access, heads
from jokbo.preferences import raters
from jokbo.preferences.ratings import Rated, pairs_over, rated
from jokbo.start import adopt
from tasks.frame.paths import DOCUMENTS, JUDGE_TEXTS, REWARD, STATE

if TYPE_CHECKING:
    from datasets import Dataset

KEY, SEED = "benchmarks.agreement", 1
HALF, OTHER_HALF, PERSON = "people, one half", "people, the other half", "one person"
Scores = np.ndarray  # by how much the second text of each pair is preferred, [P]; 0: neither


def main(count: int, asks_judge: bool) -> None:
    settings = params.load()
    by_people, sources = rated_by_people(KEY)
    # of all pairs that are no draw: where people agree is not to be chosen by what they say
    rows = pairs_over(sources, pairs=count, seed=SEED, minimum_agreement=0.5)
    pairs = [Pair(row["prompt"], *row["responses"]) for row in rows]
    said = people(pairs, sources)
    said["simulated rater"] = simulated(pairs, open_splits(DOCUMENTS)["train"], by_people.sources)
    if settings.reward.kind == "model" and REWARD.is_dir():
        said["reward model"] = rewarded(pairs, settings.reward.context)
    for name, each in settings.evaluate.judges.items():
        if each.kind == "classifier":
            key = f"evaluate.judges.{name}"
            learned = classifier.labelled(open_table(JUDGE_TEXTS), each.sources, str(each.good))
            said[name] = apart(classifier.fit(learned, key).good, pairs)
    if asks_judge:
        said["SmolLM2-135M"] = judged(pairs)
    show(said, pairs)


def people(pairs: Sequence[Pair], sources: Sequence[Rated]) -> dict[str, Scores]:
    """Return what two halves of the people prefer, by their mean ratings, and what one of the first half does."""
    drawn = np.random.default_rng(SEED)
    halves: dict[str, tuple[float, float, float]] = {}
    for source in sources:
        for text, ratings in zip(source.texts, source.ratings, strict=True):
            dealt = drawn.permutation(ratings)
            half = len(dealt) // 2
            halves[text] = float(dealt[:half].mean()), float(dealt[half:].mean()), float(dealt[0])
    return {
        name: np.array([halves[pair.second][part] - halves[pair.first][part] for pair in pairs])
        for part, name in enumerate((HALF, OTHER_HALF, PERSON))
    }


def simulated(pairs: Sequence[Pair], documents: Dataset, sources: Sequence[str]) -> Scores:
    """Return what one simulated rater a pair prefers, of raters fitted to the training texts."""
    train = [rated(documents, source) for source in sources]
    texts = [text for source in train for text in source.texts]
    fitted = raters.fit(texts, [row for source in train for row in source.ratings], seed=SEED)
    chosen_P = fitted.compare([pair.first for pair in pairs], [pair.second for pair in pairs], seed=SEED)[
        :, 0
    ]
    return chosen_P - 0.5


def rewarded(pairs: Sequence[Pair], context: int) -> Scores:
    members = [access.accelerated(member) for member in ensembles.opened(REWARD)]
    tokenizer = AutoTokenizer.from_pretrained(REWARD)
    return apart(
        lambda texts: ensembles.rewards(members, heads.encode(tokenizer, texts, context)).numpy(), pairs
    )


def apart(score: Callable[[list[str]], ArrayLike], pairs: Sequence[Pair]) -> Scores:
    """Return by how much a score of single texts is higher for the second of each pair."""
    first_P, second_P = (
        np.asarray(score(list(texts)))
        for texts in zip(*((pair.first, pair.second) for pair in pairs), strict=True)
    )
    return second_P - first_P


def judged(pairs: Sequence[Pair]) -> Scores:
    """Return what the judge finds more probable, the mean of both orders."""
    network, tokenizer, _ = adopt.opened(SMOL, STATE / "downloads", KEY)
    judge = Judge(access.accelerated(network), tokenizer, True, KEY)
    found = Method(judge, Questions.of(), [PRINCIPLE], None, 0.0, SEED).verdicts(list(pairs))
    return np.array([0.0 if isinstance(each, Unjudged) else 0.5 - each.probability for each in found])


def agreements(said: Mapping[str, Scores], pairs: Sequence[Pair]) -> dict[tuple[str, str], tuple[int, str]]:
    """Return for every two of them how many pairs both have an opinion on, and the share on which it is the same."""
    found = {}
    for one, other in combinations(said, 2):
        if (one, other) == (HALF, PERSON):
            continue
        both = np.flatnonzero((said[one] != 0) & (said[other] != 0)).tolist()
        same = (said[one][both] > 0) == (said[other][both] > 0)
        share = intervals.by_unit(same, [(pairs[p].first, pairs[p].second) for p in both])
        found[one, other] = len(both), f"{share.value:.2f} ({share.low:.2f} to {share.high:.2f})"
    return found


def show(said: Mapping[str, Scores], pairs: Sequence[Pair]) -> None:
    table = Table("", *list(said)[:-1], title="Share of the pairs on which both prefer the same text")
    found = agreements(said, pairs)
    for other in list(said)[1:]:
        table.add_row(
            other, *(found[one, other][1] if (one, other) in found else "" for one in list(said)[:-1])
        )
    least = min(number for number, _ in found.values())
    Console(width=150).print(
        table,
        f"{len(pairs)} pairs, of each two labellers {least} or more; 95% intervals by text; 0.5 is chance",
    )


def _arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=600)
    parser.add_argument(
        "--judge", action="store_true", help="ask SmolLM2-135M as well: minutes for 600 pairs"
    )
    return parser.parse_args(words)


if __name__ == "__main__":
    options = _arguments()
    with one_line():
        main(options.pairs, options.judge)
