from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from jokbo.reporting import figures
from tests.reporting.findings import findings


@pytest.fixture(scope="module")
def made():
    return findings()


def test_one_panel_a_training_and_every_loss_in_it(made):
    charts = figures.loss_curves(
        {"pretrain": made.curves["pretrain"], "tasks/rotten_tomatoes": made.curves["tasks/rotten_tomatoes"]}
    )
    assert [chart.name for chart in charts] == ["loss-pretrain", "loss-tasks-rotten_tomatoes"]
    legend = charts[1].figure.axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["loss", "language model loss"]
    assert charts[0].figure.axes[0].get_legend() is None
    last = made.curves["pretrain"][-1]["loss"]
    assert f"ends at loss {last:.3g}" in charts[0].alt


def test_columns_without_a_loss_make_no_panel():
    assert figures.loss_curves({"reward": [{"step": 0, "accuracy": 0.5}]}) == []


def test_long_curves_show_their_running_mean():
    values = np.random.default_rng(0).normal(size=400)
    rows = [{"step": step, "loss": value} for step, value in enumerate(values)]
    faint, bold = figures.loss_curves({"x": rows})[0].figure.axes[0].lines
    np.testing.assert_allclose(faint.get_ydata(), values)
    np.testing.assert_allclose(bold.get_ydata(), np.convolve(values, np.ones(10) / 10, mode="valid"))
    np.testing.assert_array_equal(bold.get_xdata(), np.arange(5, 396))


def test_ppo_panels_are_of_the_columns_there(made):
    assert len(figures.ppo_curves(made.curves["align"])) == len(figures.PPO_PANELS)
    rows = [{"step": 0, "kl": 0.0}, {"step": 1, "kl": 2.5}]
    (chart,) = figures.ppo_curves(rows)
    assert chart.name == "ppo-kl"
    assert chart.alt.endswith("from 0 to 2.5.")
    assert figures.reward_against_kl(rows) == []


def test_bars_and_points_stand_where_the_numbers_are(made):
    (calibration,) = figures.reliability_diagram(made.metrics["reward"]["human"]["calibration"])
    heights = [bar.get_height() for bar in calibration.figure.axes[0].patches]
    assert heights == [row["accuracy"] for row in made.metrics["reward"]["human"]["calibration"]]
    models = made.evaluation.main.models
    (judged,) = figures.judged_good("words", models)
    ends = [line.get_xdata().tolist() for line in judged.figure.axes[0].lines]
    assert ends == [[model.good_low, model.good_high] for model in reversed(models.values())]


def test_svg_is_the_same_each_time_with_ids_its_own_and_colours_the_pages(made):
    reward, kl = (figures.svg(chart) for chart in figures.ppo_curves(made.curves["align"])[:2])
    assert reward == figures.svg(figures.ppo_curves(made.curves["align"])[0])
    ids = [set(re.findall(r'\bid="([^"]+)"', text)) for text in (reward, kl)]
    assert not ids[0] & ids[1]
    for text, own in zip((reward, kl), ids, strict=True):
        assert set(re.findall(r'(?:href="|url\()#([^")]+)', text)) <= own
        assert not re.search(r"#[0-9a-f]{6}", text)
        assert "var(--aligned)" in text
        assert "font-family" not in text
        assert "metadata" not in text


def test_svg_says_in_words_what_it_shows(made):
    chart = figures.Chart(
        "x", "X", 'says "less" & <more>', figures.ppo_curves(made.curves["align"])[0].figure
    )
    opening = figures.svg(chart).split(">")[0] + "/>"
    assert ElementTree.fromstring(opening).get("aria-label") == 'says "less" & <more>'
