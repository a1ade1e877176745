from __future__ import annotations

import json
import re

import numpy as np
import pytest

from jokbo.comparison import figures, table
from jokbo.reporting.tables import DASH, large
from tests.comparison import made_up
from tests.reporting.test_report import Page


@pytest.fixture(scope="module")
def comparison():
    return made_up.comparison()


@pytest.fixture(scope="module")
def tables(comparison):
    return {each.name: each for each in table.tables(comparison)}


@pytest.fixture(scope="module")
def few():
    return made_up.comparison("bert", "fast_weights")


@pytest.fixture(scope="module")
def html(few):
    return table.html(few)


def test_everyone_has_one_row_by_year(comparison, tables) -> None:
    names = [row["name"] for row in comparison["rows"]]
    assert sorted(names) == sorted([*made_up.systems(), *made_up.baselines(), "gpt1_last"])
    assert [row["year"] for row in comparison["rows"]] == sorted(row["year"] for row in comparison["rows"])
    for each in ("family", "family-tasks"):
        assert [row[0] for row in tables[each].rows] == [row["label"] for row in comparison["rows"]]


def test_the_accuracies_by_task_say_how_often_the_pretrained_network_is_better(tables) -> None:
    found = tables["family-tasks"]
    for column, task in enumerate(found.header[1:], 1):
        pairs = [row[column].split(" / ") for row in found.rows]
        better = [float(pair[0]) > float(pair[-1]) for pair in pairs if pair[0] != DASH]
        assert f"on {task} for {sum(better)} of {len(better)}" in found.caption


def test_a_row_is_the_metrics_that_were_given(comparison) -> None:
    for row in comparison["rows"]:
        given = {**made_up.systems(), **made_up.baselines()}.get(row["name"])
        if given is None:  # the second row of GPT
            assert row["pretrained"]["mean"] == made_up.result(0.7)["mean"]
        elif row["name"] in made_up.systems():
            assert row["nats"] == given["pretraining"]["nats"]
            assert row["flops"] == given["flops"]
            for start, result in given["downstream"][made_up.LABELS].items():
                assert row[start]["mean"] == result["mean"]
                assert row[start]["tasks"]["imdb"] == result["tasks"]["imdb"]["mean"]
            assert (row["random"] is None) == (row["name"] != "sentiment_neuron")
            gained = row["pretrained"]["mean"] - row["scratch"]["mean"]
            assert row["gain"]["value"] == pytest.approx(gained)
        else:
            assert row["scratch"]["mean"] == given["downstream"]["mean"]
            assert row["pretrained"] is row["gain"] is row["nats"] is row["tokens"] is None


def test_two_of_one_title_are_told_apart(tables) -> None:
    labels = [row[0] for row in tables["family"].rows]
    assert {"Transformer (transformer)", "Transformer (transformer_pre)", "BERT"} <= set(labels)
    assert len(labels) == len(set(labels))


def test_whether_pretraining_helps_is_said_of_every_system() -> None:
    changed = made_up.systems() | {"bert": made_up.system("bert", 0.6, 0.7)}
    rows = table.rows(changed, made_up.baselines(), made_up.LABELS)
    (whole, *_) = table.tables({"rows": rows, "claims": []})
    said = {record["System"]: record["Pretraining helps"] for record in whole.records()}
    assert said["BERT"] == "no"
    assert said["gpt1"] == "yes"
    assert said["sentiment_neuron"] == "within noise"
    assert said["LSTM"] == DASH
    assert said["gpt1, read at its last token"] == "within noise"
    assert "21 yes, 1 no, 2 within noise" in whole.caption


def test_one_sentence_says_what_is_not_seen() -> None:
    changed = made_up.systems() | {"bert": made_up.system("bert", 0.6, 0.7)}
    changed["elmo"]["pretraining"]["context"] |= {"gain": 0.19}  # below two errors
    rows = table.rows(changed, made_up.baselines(), made_up.LABELS)
    sentence = table.unseen({"rows": rows, "claims": [{"claim": "BERT over GPT", "verdict": "not seen"}]})
    assert "pretraining helps (3 of 24): sentiment_neuron, gpt1, read at its last token, BERT;" in sentence
    assert "learned of context (1 of 24): elmo;" in sentence
    assert sentence.endswith("what the papers claim (1 of 1): BERT over GPT.")
    assert sentence.count(".") == 1


def test_the_comparison_is_plain_data_and_comes_back_the_same(few, html) -> None:
    again = json.loads(json.dumps(few, sort_keys=True))
    assert table.html(again) == html
    assert table.markdown(again) == table.markdown(few)


def test_markdown_has_every_cell_in_its_column(tables) -> None:
    for each in tables.values():
        lines = [re.split(r"(?<!\\)\|", line)[1:-1] for line in each.markdown().splitlines()]
        cells = [[cell.strip().replace(r"\|", "|") for cell in line] for line in lines]
        assert cells[0] == list(each.header)
        assert cells[2:] == [list(row) for row in each.rows]


def test_the_page_shows_all_and_loads_nothing(few, html) -> None:
    page = Page(html)
    for each in table.tables(few):
        assert all(" ".join(cell.split()) in page.text for row in each.rows for cell in row)
    assert len(page.pictures) == sum(len(charts) for charts in figures.charts(few).values())
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert not re.search(r"@import|url\((?!#)|<script", html)
    assert len(page.ids) == len(set(page.ids))


def test_thinning_keeps_the_mean_and_the_end() -> None:
    rows = [
        {"step": step, "masked": float(value)}
        for step, value in enumerate(np.random.default_rng(0).random(300))
    ]
    thin = table.thinned([*rows, {"step": 300, "loss": 1.0}], "masked")
    assert len(thin["step"]) == len(thin["nats"]) == table.CURVE_POINTS
    assert thin["step"][-1] == 299
    assert np.mean(thin["nats"]) == pytest.approx(np.mean([row["masked"] for row in rows]), abs=1e-3)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, DASH), (7, "7"), (7506, "7.51k"), (999_900, "1.00M"), (122_880, "123k"), (5e12, "5.00T")],
)
def test_large_numbers_keep_three_digits(value: float | None, shown: str) -> None:
    assert large(value) == shown
