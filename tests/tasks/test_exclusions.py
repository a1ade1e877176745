"""What is left out is counted, shown in the data card and, where it is much, said on the terminal."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from jokbo.data.counts import Counts, MixedCounts, SourceCounts, Tokenized
from jokbo.data.exclusions import of_preparation, of_tokens
from tasks.fetch import fetch
from tasks.frame.paths import DATA_CARD, DATA_CARD_PAGE
from tasks.prepare import prepare
from tasks.tokenize import tokenize
from tests.tasks.test_data_stages import MINE, SETTINGS, SHARES, stage

SOURCE = MINE | {"paths": "*.csv", "columns": {"text": "text", "label": "label", "source": "source"}}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table of two sources: of one half is too short, and one text has both labels. Beside it an empty file."""
    shutil.copy("params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    Path("data/local").mkdir(parents=True)
    rows = [f"The film number {i} is one to see.,{i % 2},films" for i in range(200)]
    rows += [f"Number {i},1,notes" for i in range(60)] + [
        f"A note of number {i} it is.,1,notes" for i in range(60)
    ]
    rows += ["Some do like this film.,1,films", "Some do like this film.,0,films"]
    Path("data/local/films.csv").write_text("\n".join(["text,label,source", *rows]) + "\n")
    Path("data/local/more.csv").write_text("")
    return tmp_path


def test_what_is_left_out_is_said_and_counted(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fetch(stage("fetch", {"sources": {"mine": SOURCE}}))
    prepare(stage("prepare", {"splits": SHARES}))
    said = capsys.readouterr().err.splitlines()
    assert "jokbo: prepare: notes: 60 of 120 rows (50%) left out: short 60" in said
    assert "jokbo: prepare: films: 1 texts have both labels: they are kept without a label" in said
    small = SETTINGS.tokenize.tokenizer.model_dump() | {"vocabulary": 300}
    tokenize(stage("tokenize", {"tokenizer": small, "mix": {"by": "epochs", "sources": {"films": 0.5}}}))
    said = capsys.readouterr().err.splitlines()
    sources = json.loads(DATA_CARD.read_text())["sources"]
    unused = sources["notes"]["not_in_the_mix"]
    assert unused > 20
    assert f"jokbo: tokenize: documents for training that are in no source of the mix: notes {unused}" in said
    assert "jokbo: tokenize: films: the mix reads 50% of its training documents" in said
    assert (sources["films"]["repeated"], sources["films"]["conflicting_labels"]) == (1, 1)
    page = DATA_CARD_PAGE.read_text()
    assert "| conflicting labels | 1 | 0 |" in page
    assert f"| not in the mix | 0 | {unused} |" in page
    assert "| mine | empty | 1 | data/local/more.csv |" in page


def test_a_step_that_failed_is_said_however_few_it_failed_on() -> None:
    found = SourceCounts(rows=1000, dropped={"failed_html": 2})
    examples = {"failed_html": [("0", "films", "mine/data-00000.arrow, row 7: ValueError: no", "A text")]}
    (line,) = of_preparation(Counts(sources={"films": found}, examples=examples))
    assert line.endswith(
        "2 documents left out because html failed on them, such as mine/data-00000.arrow, row 7: ValueError: no"
    )


def test_little_is_not_said() -> None:
    found = SourceCounts(rows=100, dropped={"short": 9})
    assert [*of_preparation(Counts(sources={"films": found}))] == []
    mixed = MixedCounts(1, 1, 1, 1, 0, 0, epochs=1.0, share=1.0)
    assert [*of_tokens(Tokenized(258, {"films": mixed}, {}, {"notes": 9}, {}), 100)] == []
