"""The stage on made-up metrics, with a real tokenizer, real text and a real RNNsearch."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from jokbo.comparison.search import parted
from jokbo.data.corpus.tokenizer import save_tokenizer, train_tokenizer
from jokbo.params import Tokenizer
from jokbo.runtime.errors import InputError
from jokbo.runtime.tracking import Run, Subject, open_run
from jokbo.systems import bahdanau
from jokbo.systems.common import Size, SpecialTokens, save
from tasks import family_table
from tasks.frame import paths
from tasks.frame.records import write_curves, write_metrics
from tasks.frame.stage import Stage
from tests.comparison import made_up
from tests.comparison.test_claims import verdict_of

RUN = ("bert", "electra", "roberta", "transformer", "transformer_pre")
SENTENCE = "the film was slow , and nobody in it seems to know why . "


def stage(name: str, run: Run | None = None) -> Stage:
    labels = [SimpleNamespace(count=made_up.LABELS)]
    params = SimpleNamespace(systems=dict.fromkeys(RUN), finetune=SimpleNamespace(labels=labels))
    return Stage(name, params, None, "key", run or Run(), Path("none"))


def left(name: str, of: str, whole: dict) -> None:
    """Writes what a stage leaves: numbers, and beside them what came of each text."""
    numbers, texts = parted(whole)
    write_metrics(stage(of), numbers)
    paths.FAMILY_RIGHT.mkdir(exist_ok=True)
    (paths.FAMILY_RIGHT / f"{name}.json").write_text(json.dumps(texts))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder in which all stages before this one have run."""
    monkeypatch.chdir(tmp_path)
    for folder in (paths.METRICS / "family", paths.PLOTS / "family"):
        folder.mkdir(parents=True)
    for name in RUN:
        left(name, f"family/{name}", made_up.systems()[name])
        write_curves(
            stage(f"family/{name}"), {name: made_up.curve(), f"{name} other": [{"step": 0, "masked": 99.0}]}
        )
    left("baselines", "family_baselines", made_up.baselines())
    tasks = {
        task: {split: {"rows": rows, "positive": 0.4} for split in ("train", "test")}
        for task, rows in made_up.TEST_ROWS.items()
    }
    write_metrics(stage("family_text"), {"tasks": tasks})
    tokenizer = train_tokenizer(
        [SENTENCE] * 20,
        Tokenizer(
            kind="wordpiece",
            vocabulary=300,
            normalisation="none",
            lowercase=True,
            sample_bytes=9999,
            maximum_unknown=1.0,
        ),
    )
    save_tokenizer(tokenizer, family_table.WORDS / "tokenizer")
    words = tokenizer.encode(SENTENCE, add_special_tokens=False).ids
    corpus = family_table.WORDS / "validation"
    corpus.mkdir()
    tokens = np.array([0, *(words * 200), 0], np.uint16)
    for name, values in {
        "shard-00000": tokens,
        "documents": np.array([1, len(tokens)]),
        "rows": np.array([0]),
        "sources": np.array([0], np.uint16),
    }.items():
        np.save(corpus / f"{name}.npy", values)
    (corpus / "sources.json").write_text('["imdb"]')
    size = Size(tokenizer.get_vocab_size(), 1, 16, 1, 64, more={"embedding": 8})
    save(bahdanau.network(size, SpecialTokens(0, 1, 2, 3, 4, 5), 0), family_table.LOOKING)


def test_writes_the_table_the_pages_and_the_artifacts(project) -> None:
    store = f"sqlite:///{Path('mlflow.db').absolute()}"
    with open_run(Subject("family_table", "key", {}, {}), tracking_uri=store) as run:
        family_table.family_table(stage("family_table", run))
    found = json.loads((paths.METRICS / "family_table.json").read_text())
    assert {row["name"] for row in found["rows"]} == {*RUN, *made_up.baselines()}
    assert set(found["curves"]) == set(RUN)
    assert found["curves"]["bert"]["nats"][-1] < 5  # of its own training, not of another in the file
    verdicts = {claim["claim"]: claim["verdict"] for claim in found["claims"]}
    assert verdicts["RoBERTa over BERT"] == "within noise"
    assert verdicts["XLNet over BERT"] == "not measured"
    for norm in ("post", "pre"):
        assert [len(norms) for norms in found["gradients"][norm].values()] == [6, 6]
    looked = found["alignment"]
    assert set(looked["source"]) <= {*SENTENCE.split(), *"abcdefghijklmnopqrstuvwxyz,."} | {
        word for word in looked["source"] if word.startswith("##")
    }
    np.testing.assert_allclose(np.sum(looked["weights"], axis=1), 1, atol=0.01)
    assert paths.FAMILY_TABLE.read_text().count("| BERT |") == 2
    assert "The systems compared" in paths.FAMILY_TABLE.with_suffix(".html").read_text()
    artifacts = {path.name for path in Path("mlartifacts").rglob("*") if path.is_file()}
    assert {"family.md", "family.html", "family-downstream.png", "family-claims.json"} <= artifacts


def test_gradients_of_fresh_networks_are_as_the_paper_says(project) -> None:
    gradients = family_table.measured()["gradients"]
    evidence = made_up.claims.Evidence(made_up.systems(), made_up.MAJORITY, gradients, made_up.LABELS)
    assert verdict_of("At initialisation", evidence) == "seen"


@pytest.mark.parametrize(
    "path",
    [
        paths.METRICS / "family_text.json",
        paths.METRICS / "family/bert.json",
        paths.FAMILY_RIGHT / "bert.json",
        paths.METRICS / "family_baselines.json",
        paths.PLOTS / "family/bert.csv",
        family_table.LOOKING / "model.safetensors",
    ],
)
def test_what_is_missing_is_one_line(project, path: Path) -> None:
    path.unlink()
    with pytest.raises(InputError, match="run `make family`") as raised:
        family_table.compared(list(RUN), made_up.LABELS)
    assert str(path.parent) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_system_that_params_yaml_no_longer_names_is_not_in_the_table(project) -> None:
    found = family_table.compared(["bert", "electra"], made_up.LABELS)
    assert {row["name"] for row in found["rows"]} == {"bert", "electra", *made_up.baselines()}
    assert set(found["curves"]) == {"bert", "electra"}
