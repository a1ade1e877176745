"""Simulated raters: fitted to single human ratings, and as much at odds with one another as the people were.

Two things are learned from the rated texts, and kept apart:
- what people on the whole think of a text (`expected`): ridge regression of a text's mean rating on its words
  and pieces of words. Ridge shrinks, so its predictions lie closer together than human means do. Left so,
  simulated raters would find texts too alike and disagree too often: model error would pass for human noise.
  Predictions for texts the model did not see (cross-validation) are therefore mapped, quantile by quantile,
  onto the human means;
- how single ratings scatter about such a mean: one histogram over -4..4 for each of several levels of the
  mean, with linear interpolation between levels. That keeps what a normal spread would lose: ratings are
  whole numbers, ends of the scale are crowded, and texts in the middle divide people. Its mean is exactly the
  expected rating.

The ratings come without names, so what one person adds to all of his or her ratings cannot be told from
chance: a simulated rater is a fresh draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline, make_union

from jokbo.evaluation.intervals import by_unit
from jokbo.runtime.errors import InputError

if TYPE_CHECKING:
    from jokbo.evaluation.intervals import Estimated
    from jokbo.preferences.ratings import Rated

SCALE = np.arange(-4, 5)  # the ratings a person could give
FOLDS = 5
RIDGE = 2.0  # penalty on the weights of words; best of 1, 2, 4 on held-out film snippets
LEVELS = 20  # histograms of single ratings, each over an equal share of all ratings
QUANTILES = 200
WORDS = r"(?u)\b\w[\w']*\b|[!?]"


@dataclass(frozen=True)
class Raters:
    """A population of raters; make one with `fit`."""

    model: Pipeline
    predicted_Q: np.ndarray  # quantiles of cross-validated predictions
    human_Q: np.ndarray  # the same quantiles of human means
    level_L: np.ndarray  # mean rating at each level, rising
    histogram_LR: np.ndarray  # share of single ratings at each level, over SCALE

    def expected(self, texts: Sequence[str]) -> np.ndarray:
        """Return the mean rating, -4 to 4, that the population gives each text: (texts,)."""
        return np.interp(self.model.predict(list(texts)), self.predicted_Q, self.human_Q)

    def distribution(self, expected_N: np.ndarray) -> np.ndarray:
        """Return the chance of each rating of SCALE about given expected ratings: (texts, 9), rows sum to 1."""
        columns = [np.interp(expected_N, self.level_L, share_L) for share_L in self.histogram_LR.T]
        return np.stack(columns, axis=-1)

    def compare(
        self, first: Sequence[str], second: Sequence[str], *, seed: int, raters: int = 1
    ) -> np.ndarray:
        """Return which text of each pair each rater prefers: [P, raters] of 0 (first) or 1 (second).

        A rater draws a rating for either text and takes the higher; equal ratings are settled by a fair coin,
        as a person does who must choose. Row i is a function of the texts, `seed`, `raters` and i alone.
        """
        if len(first) != len(second):
            raise InputError(
                f"preference pairs: {len(first)} first texts but {len(second)} second ones; give pairs"
            )
        uniform_PR3 = np.random.default_rng(seed).random((len(first), raters, 3))
        ratings = []
        for texts, uniform_PR in ((first, uniform_PR3[..., 0]), (second, uniform_PR3[..., 1])):
            cumulative_P8 = self.distribution(self.expected(texts)).cumsum(axis=-1)[:, :-1]
            ratings.append((uniform_PR[..., None] >= cumulative_P8[:, None, :]).sum(axis=-1))
        first_PR, second_PR = ratings
        coin_PR = uniform_PR3[..., 2] < 0.5
        return np.where(first_PR == second_PR, coin_PR, second_PR > first_PR).astype(np.int64)


def fit(texts: Sequence[str], ratings: Sequence[Sequence[int]], *, seed: int) -> Raters:
    """Return raters that rate as the people did who gave `ratings[i]` to `texts[i]`.

    `seed` shuffles the folds of the cross-validation.
    Raises InputError for too few texts, or a text with fewer than two ratings or one off the scale -4..4.
    """
    _check(texts, ratings)
    mean_N = np.array([np.mean(row) for row in ratings])
    model = make_pipeline(
        make_union(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2, token_pattern=WORDS),
            TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=2),
        ),
        Ridge(alpha=RIDGE, solver="sparse_cg"),
    )
    folds = KFold(FOLDS, shuffle=True, random_state=seed)
    predicted_N = np.asarray(cross_val_predict(model, list(texts), mean_N, cv=folds))
    share_Q = np.linspace(0, 1, QUANTILES + 1)
    level_L, histogram_LR = _histograms(ratings)
    return Raters(
        model=model.fit(list(texts), mean_N),
        predicted_Q=np.quantile(predicted_N, share_Q),
        human_Q=np.quantile(mean_N, share_Q),
        level_L=level_L,
        histogram_LR=histogram_LR,
    )


def disagreements(first: Sequence[Sequence[int]], second: Sequence[Sequence[int]]) -> np.ndarray:
    """Return how often two people choose differently between the two texts of each pair, [P], from single ratings.

    `first[i]` and `second[i]` are the ratings of the two texts of pair i. A choice is one rating of either
    text, the higher wins, a tie is settled by a fair coin; the two choices share no rating, so the estimate
    has no bias. Each list needs two ratings or more.
    """
    rates = []
    for ratings_A, ratings_B in zip(first, second, strict=True):
        chosen_AB = 0.5 + 0.5 * np.sign(np.subtract.outer(np.asarray(ratings_B), np.asarray(ratings_A))).T
        # Sums over cells in different rows and different columns: all, less same row, less same column, plus
        # same cell.
        both = (
            chosen_AB.sum() ** 2
            - (chosen_AB.sum(axis=1) ** 2).sum()
            - (chosen_AB.sum(axis=0) ** 2).sum()
            + (chosen_AB**2).sum()
        )
        rows, columns = chosen_AB.shape
        rates.append(2 * (chosen_AB.mean() - both / (rows * columns * (rows - 1) * (columns - 1))))
    return np.array(rates)


def disagreement(raters: Raters, rated: Rated, *, seed: int) -> dict[str, Estimated]:
    """Return how often two raters of the same pair of texts choose differently: people, and simulated ones.

    The first half of the texts is paired with the second, so no text is of two pairs. Simulated raters must not be more
    of one mind than the people that they stand in for.
    """
    half = len(rated.texts) // 2
    pairs = (rated.texts[:half], rated.texts[half : 2 * half])
    votes_PR = raters.compare(*pairs, seed=seed, raters=2)
    differ = {
        "human": disagreements(rated.ratings[:half], rated.ratings[half : 2 * half]),
        "simulated": votes_PR[:, 0] != votes_PR[:, 1],
    }
    units = list(zip(*pairs, strict=True))
    return {name: by_unit(values, units)._asdict() for name, values in differ.items()}


def _histograms(ratings: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    # Each rating is filed under the mean of the *others* of its text: filed under a mean that it is itself
    # part of, it would look closer to that mean than a fresh rating is.
    single_M = np.concatenate([np.asarray(row) for row in ratings])
    others_M = np.concatenate([(np.sum(row) - np.asarray(row)) / (len(row) - 1) for row in ratings])
    order_M = np.argsort(others_M, kind="stable")
    levels = []
    for members in np.array_split(single_M[order_M], LEVELS):
        share_R = np.bincount(members - SCALE[0], minlength=len(SCALE)) / len(members)
        levels.append((float(share_R @ SCALE), share_R))
    # Full marks from everyone stand at either end, so that no expected rating falls outside the levels.
    levels = sorted([(-4.0, np.eye(9)[0]), *levels, (4.0, np.eye(9)[8])], key=lambda level: level[0])
    return np.array([level for level, _ in levels]), np.stack([share_R for _, share_R in levels])


def _check(texts: Sequence[str], ratings: Sequence[Sequence[int]]) -> None:
    if len(texts) != len(ratings) or len(texts) < 2 * FOLDS:
        raise InputError(
            f"raters: {len(texts)} texts with {len(ratings)} lists of ratings; give one list a text and at "
            f"least {2 * FOLDS} texts"
        )
    for i, row in enumerate(ratings):
        if len(row) < 2 or min(row) < SCALE[0] or max(row) > SCALE[-1]:
            raise InputError(
                f"raters: ratings of text {i} are {list(row)}; give two or more whole numbers from -4 to 4"
            )
