"""The first three stages, one after the other, on a file of a few hundred lines."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from datasets import load_from_disk
from pydantic import ValidationError
from transformers import AutoTokenizer

from jokbo import params
from jokbo.data.corpus.batches import TokenCorpus
from jokbo.data.counts import Fetched
from jokbo.runtime import tracking
from jokbo.runtime.errors import InputError
from tasks.fetch import fetch
from tasks.frame.paths import (
    DATA_CARD,
    DATA_CARD_PAGE,
    DOCUMENTS,
    JUDGE_TEXTS,
    METRICS,
    RAW,
    SOURCES,
    TOKENIZER,
    TOKENS,
)
from tasks.prepare import prepare
from tasks.tokenize import tokenize

MINE = {
    "kind": "files",
    "licence": "mine",
    "language": "en",
    "paths": "*.csv",
    "format": "csv",
    "columns": {"text": "text", "label": "label"},
}
SETTINGS = params.load(Path(__file__).parents[2] / "params.yaml")
SHARES = {"train": 0.6, "prompts": 0.1, "validation": 0.1, "test": 0.1, "judge": 0.1}


def stage(name, changes, workers=1):
    section = getattr(SETTINGS, name).model_dump() | changes
    return SimpleNamespace(
        name=name,
        params=type(getattr(SETTINGS, name)).model_validate(section),
        compute=SETTINGS.compute.model_copy(update={"workers": workers}),
        checkpoints=Path(".jokbo/checkpoints", name).resolve(),
        run=tracking.Run(),
    )


def run_all(workers=1):
    shutil.rmtree(".jokbo", ignore_errors=True)  # finished shards would only be put together again
    fetch(stage("fetch", {"sources": {"mine": MINE}}))
    prepare(stage("prepare", {"splits": SHARES}, workers))
    small = SETTINGS.tokenize.tokenizer.model_dump() | {"vocabulary": 300}
    mix = {"by": "epochs", "sources": {"mine": 1.0}}
    tokenize(stage("tokenize", {"tokenizer": small, "mix": mix, "shard_tokens": 500}, workers))


def contents(folder: Path) -> dict[str, str]:
    """Of what is not the work in progress."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and ".jokbo" not in path.parts)
    return {str(path): hashlib.md5(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def project(tmp_path, monkeypatch):
    shutil.copy("params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    Path("data/local").mkdir(parents=True)
    lines = [f"The film number {i} is one to see.,{('0', '1', '')[i % 3]}" for i in range(300)]
    Path("data/local/films.csv").write_text(
        "\n".join(["text,label", *lines, lines[0], "Too short.,1"]) + "\n"
    )
    return tmp_path


def test_from_a_file_to_packed_tokens(project):
    run_all()
    assert load_from_disk(RAW / "mine").num_rows == 302
    documents, judge = load_from_disk(DOCUMENTS), load_from_disk(JUDGE_TEXTS)
    assert set(documents) == {"train", "prompts", "validation", "test"}
    assert set(judge["label"]) == {"0", "1"}
    texts = [text for split in documents.values() for text in split["text"]] + judge["text"][:]
    assert len(set(texts)) == len(texts)
    prepared = json.loads((METRICS / "prepare.json").read_text())
    mine = prepared["sources"]["mine"]
    assert (mine["rows"], prepared["merged"], mine["dropped"]["short"]) == (302, 1, 1)
    assert prepared["splits"]["judge"]["all"] == len(judge)
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    for split in ("train", "validation", "test"):
        corpus = TokenCorpus.open(TOKENS / split)
        first = corpus.window(int(corpus.documents[0]), int(corpus.documents[1] - corpus.documents[0] - 1))
        assert tokenizer.decode(first) == documents[split]["text"][0]
    tokenized = json.loads((METRICS / "tokenize.json").read_text())
    assert tokenized["tokens/train"] == TokenCorpus.open(TOKENS / "train").total_tokens
    assert json.loads((METRICS / "fetch.json").read_text()) == {
        "rows": {"mine": 302},
        "rows_of": {"mine": 302},
        "too_long": {"mine": 0},
        "files_passed_over": {"mine": 0},
        "no_conversations": {"mine": 0},
    }


def test_the_data_card_says_what_was_counted(project):
    run_all()
    card = json.loads(DATA_CARD.read_text())
    mine, documents = card["sources"]["mine"], load_from_disk(DOCUMENTS)
    kept = [text for split in documents.values() for text in split["text"]] + load_from_disk(JUDGE_TEXTS)[
        "text"
    ][:]
    assert (mine["documents"], mine["words"]) == (len(kept), sum(len(text.split()) for text in kept))
    assert mine["tokens"] == TokenCorpus.open(TOKENS / "train").total_tokens - 1
    assert (mine["licences"], mine["origins"]) == (["mine"], ["mine: *.csv"])
    assert card["examples"]["short"] == [{"source": "mine", "texts": ["Too short."]}]
    page = DATA_CARD_PAGE.read_text()
    assert "| mine | mine: *.csv | mine |" in page
    assert f"| mine | 302 | {len(kept)} |" in page
    assert "- mine: `Too short.`" in page


def test_outputs_are_the_same_bytes_every_time(project):
    run_all()
    before = contents(project)
    run_all(workers=2)
    assert contents(project) == before


def test_a_stage_that_was_killed_goes_on_with_the_shards_that_are_done(project):
    run_all()
    before = contents(project)
    done = {path: path.stat().st_mtime_ns for path in Path(".jokbo/checkpoints").glob("*/*/*.json")}
    (lost,) = [path for path in done if path.parent.name == "split"]
    lost.unlink()
    prepare(stage("prepare", {"splits": SHARES}))
    assert contents(project) == before
    assert [path for path in done if path.stat().st_mtime_ns != done[path]] == [lost]


def test_what_fetch_leaves_out_is_counted_and_said(project, capsys):
    Path("data/local/more.csv").write_text(
        "text,label,from\nA film.,1,\nA play.,0,stage\n" + "x" * 99 + ",1,\n"
    )
    Path("data/local/empty.csv").touch()
    Path("data/local/._films.csv").write_bytes(b"\0\5\x16\7")
    Path("data/local/films.csv").write_text("text,label,from\nOnce more a film.,0,screen\n")
    columns = {"text": "text", "label": "label", "source": "from"}
    mine = MINE | {"paths": ".", "columns": columns}
    fetch(stage("fetch", {"sources": {"mine": mine}, "maximum_bytes": 50}))
    assert json.loads((METRICS / "fetch.json").read_text()) == {
        "rows": {"mine": 3},
        "rows_of": {"mine": 1, "screen": 1, "stage": 1},
        "too_long": {"mine": 1},
        "files_passed_over": {"mine": 2},
        "no_conversations": {"mine": 0},
    }
    about = Fetched.load(RAW / SOURCES).tables["mine"]
    assert about.rows == {"mine": 1, "screen": 1, "stage": 1}
    assert about.left_out == {"too long": 1, "empty": 1, "macOS's": 1}
    assert about.document == "a record"
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("jokbo: fetch.sources.mine: ")
    for part in (
        "1 text longer than fetch.maximum_bytes (data/local/more.csv)",
        "1 file passed over, empty (empty.csv)",
        "1 file passed over, macOS's (._films.csv)",
    ):
        assert part in line


def test_a_document_may_be_a_file_of_text(project):
    Path("data/local/one.txt").write_text("A film.\n\nOf two paragraphs.\n")
    whole = MINE | {"paths": "*.txt", "format": "txt", "columns": None, "documents": "file"}
    fetch(stage("fetch", {"sources": {"mine": whole}}))
    assert load_from_disk(RAW / "mine")["text"][:] == ["A film.\n\nOf two paragraphs."]
    assert Fetched.load(RAW / SOURCES).tables["mine"].document == "a file"
    with pytest.raises(ValidationError, match="documents is for txt: in csv each row is one"):
        stage("fetch", {"sources": {"mine": MINE | {"documents": "file"}}})


def test_a_source_that_is_whole_says_nothing(project, capsys):
    fetch(stage("fetch", {"sources": {"mine": MINE}}))
    assert capsys.readouterr().err == ""


def test_one_bad_source_leaves_nothing_of_the_good_ones(project):
    missing = MINE | {"paths": "*.tsv"}
    with pytest.raises(InputError, match="no file matches"):
        fetch(stage("fetch", {"sources": {"mine": MINE, "other": missing}}))
    assert not RAW.exists()
    given = {str(project / path) for path in ("data/local/films.csv", "params.yaml")}
    assert {path for path in contents(project) if "models/start" not in path} == given
