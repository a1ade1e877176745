"""Gold and proxy scores over KL: what is drawn, on rewards whose end is known."""

from __future__ import annotations

import math

import pytest
import torch

from jokbo.alignment import overoptimisation
from jokbo.alignment.overoptimisation import by_best_of_n, chart, fitted, labelled

BEST_OF_N, PPO = overoptimisation.FORMS


def test_pairs_are_labelled_by_the_gold_model_and_ties_are_left_out() -> None:
    gold = torch.tensor([[0.1, 0.9], [2.0, -1.0], [0.5, 0.5]])
    rows = labelled(["a", "b", "c"], [("1", "2"), ("3", "4"), ("5", "6")], gold)
    assert [(row["prompt"], row["responses"][row["choice"]]) for row in rows] == [("a", "2"), ("b", "3")]


def test_a_proxy_that_is_gold_loses_nothing_and_noise_gains_nothing() -> None:
    generator = torch.Generator().manual_seed(1)
    gold, noise = (torch.randn(400, 16, generator=generator) for _ in range(2))
    same, other = by_best_of_n(gold, gold), by_best_of_n(noise, gold)
    assert [point["kl"] for point in same] == pytest.approx(
        [math.log(n) - (n - 1) / n for n in (1, 2, 4, 8, 16)]
    )
    assert all(point["gold"] == pytest.approx(point["proxy"]) for point in same)
    assert same[-1]["gold"] == pytest.approx(1.766, abs=0.08)  # the largest of 16 standard normal numbers
    assert all(abs(point["gold"]) < 0.15 for point in other)
    assert other[-1]["proxy"] == pytest.approx(1.766, abs=0.08)


@pytest.mark.parametrize("form", overoptimisation.FORMS)
def test_the_law_is_found_again_with_its_peak(form: str) -> None:
    alpha, beta = 1.5, 0.4

    def law(d: float) -> float:
        return d * (alpha - beta * (d if form == BEST_OF_N else math.log(d)))

    curve = [{"kl": 0.0, "gold": 0.3, "proxy": 0.0}]
    curve += [{"kl": (i / 4) ** 2, "gold": 0.3 + law(i / 4), "proxy": 0.0} for i in range(1, 20)]
    found = fitted(curve, form)
    assert (found.alpha, found.beta) == pytest.approx((alpha, beta))
    assert found.peak is not None
    top = math.sqrt(found.peak)
    assert law(top) > law(0.99 * top)
    assert law(top) > law(1.01 * top)


def test_a_score_that_only_rises_has_no_peak() -> None:
    curve = [{"kl": i**2, "gold": i + 0.1 * i**2, "proxy": 0.0} for i in range(1, 6)]
    assert fitted([{"kl": 0.0, "gold": 0.0, "proxy": 0.0}, *curve], BEST_OF_N).peak is None


def test_the_figure_says_both_scores_in_words() -> None:
    curve = [{"kl": 0.0, "gold": 0.0, "proxy": 0.0}, {"kl": 4.0, "gold": 0.5, "proxy": 2.0}]
    drawn = chart({"1,000": curve}, PPO)
    assert "1,000 0.50 of 2.00" in drawn.alt
    lines = drawn.figure.axes[0].lines
    assert [line.get_xdata()[-1] for line in lines] == [2.0, 2.0]
