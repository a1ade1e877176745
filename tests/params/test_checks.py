"""What the sections need of the data is checked: on the miniature's reviews, and once on the real parameters."""

from __future__ import annotations

import copy
import operator
import random
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from jokbo import params
from jokbo.data.counts import Counts, SourceCounts
from jokbo.data.files.rows import RAW_SCHEMA
from jokbo.data.prepare import preparation
from jokbo.data.prepare.language import _detector
from jokbo.data.tables import write_shards
from jokbo.params import FamilyParams, Params, checks
from jokbo.params.data import LANGUAGES
from jokbo.runtime.errors import InputError
from tasks.frame import checks as frame_checks
from tasks.frame.paths import COUNTS, DOCUMENTS, RAW
from tests.conftest import ROOT, Project
from tests.support import miniature

STAGES = list(YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"])


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    rows = miniature.rows(random.Random(7))
    labels = ({"label": row["label"] if row["label"] is None else str(row["label"])} for row in rows)
    write_shards(map(operator.or_, rows, labels), folder / "reviews", RAW_SCHEMA)
    return folder


@pytest.fixture(scope="module")
def counts(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Counts:
    return counted(raw, tmp_path_factory.mktemp("work"), settings())


def counted(raw: Path, work: Path, chain: Params) -> Counts:
    """Return what `prepare` counts, saved and loaded again."""
    _, found = preparation.prepare({"reviews": raw / "reviews"}, chain.prepare, work)
    found.save(work / COUNTS)
    return Counts.load(work / COUNTS)


def settings(**changes: Any) -> Params:
    """Return the miniature's parameters, with values at keys such as prompts__sources."""
    return Params.model_validate(changed(miniature.params(), changes))


def of_family(**changes: Any) -> FamilyParams:
    """Return the comparison's parameters, with values at keys such as family_text__mix."""
    tree = params.family.with_defaults(params.read(ROOT / "family/params.yaml"))
    return FamilyParams.model_validate({**changed(tree, changes), "compute": settings().compute})


def changed(tree: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    made = copy.deepcopy(tree)
    for keys, value in changes.items():
        *path, last = keys.split("__")
        node = made
        for key in path:
            node = node[key]
        node[last] = value
    return made


def given(changes: dict[str, Any]) -> Params | FamilyParams:
    """Return the parameters in which these keys are."""
    return (of_family if next(iter(changes)).startswith("family") else settings)(**changes)


def test_what_the_miniature_asks_is_there(counts: Counts) -> None:
    checks.check_splits(settings(), STAGES)
    checks.check_documents(settings(), STAGES, counts)


def test_each_project_answers_for_its_own_stages(counts: Counts) -> None:
    """`make family` names stages of both to both."""
    both = {*STAGES, "family_text"}
    mix = {"by": "epochs", "sources": {"imdb": 1.0}}
    whole = of_family(family_text__mix=mix, family_text__tasks={"mine": {"sources": ["imdb"]}})
    for each in (settings(), whole):
        checks.check_documents(each, both, counts)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "prepare__quality__sources",
            ["imbd"],
            r"prepare.quality.sources: there is no source imbd: did you mean imdb\?",
        ),
        ("prepare__near_duplicates__sources", ["IMDB"], "near_duplicates.sources: there is no source IMDB"),
        (
            "tokenize__mix",
            {"by": "epochs", "sources": {"imbd": 1.0}},
            "tokenize.mix.sources: there is no source imbd",
        ),
        (
            "prompts__sources",
            ["imdb", "nosuch"],
            "prompts.sources: there is no source nosuch: there are",
        ),
        (
            "finetune__tasks__rotten_tomatoes__source",
            "nosuch",
            "finetune.tasks.rotten_tomatoes.source: there is no source nosuch",
        ),
        (
            "preferences__labellers__people__sources",
            ["icwsm2014-movie"],
            "labellers.people.sources: .* did you mean icwsm2014-movies",
        ),
        (
            "family_text__mix",
            {"by": "temperature", "sources": ["imd"], "temperature": 2.0},
            "family_text.mix.sources: .* imd:",
        ),
        (
            "family_text__tasks__imdb__sources",
            ["idmb"],
            "family_text.tasks.imdb.sources: .* did you mean imdb",
        ),
    ],
)
def test_a_name_that_is_no_source(raw: Path, key: str, value: Any, message: str) -> None:
    stage = "tasks" if "finetune__tasks" in key else key.partition("__")[0]
    with pytest.raises(InputError, match=message):
        checks.check_names(given({key: value}), [stage], ["imdb", "rotten_tomatoes", "icwsm2014-movies"])
    others = [other for other in STAGES if other != stage]
    checks.check_names(given({key: value}), others, ["imdb", "rotten_tomatoes", "icwsm2014-movies"])


@pytest.mark.parametrize("split", ["prompts", "judge", "validation", "test"])
def test_a_split_that_a_stage_reads_has_a_share(split: str) -> None:
    shares = {**miniature.params()["prepare"]["splits"], split: 0.0}
    shares["train"] = 1 - sum(share for name, share in shares.items() if name != "train")
    wrong = settings(prepare__splits=shares)
    with pytest.raises(InputError, match=rf"prepare.splits.{split} is 0, but \w+ reads that split"):
        checks.check_splits(wrong, STAGES)
    reads = {stage for stage, splits in checks.SPLITS.items() if split in splits}
    checks.check_splits(wrong, set(STAGES) - reads)


@pytest.mark.parametrize(
    ("stage", "changes", "message"),
    [
        (
            "tasks",
            {"finetune__tasks__rotten_tomatoes__source": "icwsm2014-movies"},
            "tasks.rotten_tomatoes.source: icwsm2014-movies has no labelled text: a task needs texts of two classes",
        ),
        (
            "tasks",
            {"finetune__tasks__rotten_tomatoes__training__batch_size": 800},
            "tasks.rotten_tomatoes.training.batch_size is 800, but rotten_tomatoes has",
        ),
        (
            "tasks",
            {"finetune__tasks__rotten_tomatoes__curve": {"labels": [16, 900], "seeds": 2}},
            "tasks.rotten_tomatoes.curve.labels is 900, but rotten_tomatoes has",
        ),
        (
            "finetune",
            {"finetune__policy__training__batch_size": 800},
            "policy.training.batch_size is 800, but the texts of imdb in train",
        ),
        ("distill", {"distill__training__batch_size": 8000}, "distill.training.batch_size is 8000"),
        (
            "preferences",
            {"preferences__labellers__raters__sources": ["imdb"]},
            "labellers.raters.sources names imdb, which has no rated text in train",
        ),
        (
            "preferences",
            {"preferences__labellers__people__test_pairs": 3000},
            "people.test_pairs asks 3,000 pairs of each source",
        ),
        (
            "reward",
            {
                "preferences__labellers__raters__prompts": 4,
                "preferences__labellers__people__pairs": 0,
                "reward__training__batch_size": 64,
            },
            "reward.training.batch_size is 64, but preferences.labellers give 4 pairs",
        ),
        (
            "align",
            {"align__rollout_batch": 400},
            "align.rollout_batch is 400, but the texts of imdb in prompts",
        ),
        (
            "family_text",
            {"family_text__tasks": {"mine": {"sources": ["icwsm2014-movies"]}}},
            "0 texts of label 0",
        ),
        (
            "family_text",
            {"family_text__tasks": {"mine": {"sources": ["imdb"], "neutral": 0.5}}},
            "no rating in train",
        ),
    ],
)
def test_what_the_documents_cannot_give(
    counts: Counts, stage: str, changes: dict[str, Any], message: str
) -> None:
    if stage == "family_text":
        changes = {"family_text__mix": {"by": "epochs", "sources": {"imdb": 1.0}}, **changes}
    with pytest.raises(InputError, match=message) as caught:
        checks.check_documents(given(changes), [stage], counts)
    assert "\n" not in str(caught.value)


def test_a_source_that_was_left_out_says_by_what(raw: Path, tmp_path: Path) -> None:
    korean = settings(prepare__languages=["ko"])
    found = counted(raw, tmp_path, korean)
    with pytest.raises(
        InputError,
        match=r"mix.sources names imdb, but prepare left out all of its 240 rows \(240 for language\)",
    ):
        checks.check_documents(korean, ["tokenize"], found)


def test_ratings_of_one_person_alone(counts: Counts) -> None:
    found = copy.deepcopy(counts)
    ratings = found.rated["test"]["icwsm2014-movies"]
    ratings["once"] = ratings["several"]
    with pytest.raises(InputError, match="have one rating alone: each text needs two"):
        checks.check_documents(settings(), ["preferences"], found)


@pytest.mark.parametrize(
    ("split", "labels", "message"),
    [
        (
            None,
            {"spam": 30},
            "all labelled texts of rotten_tomatoes are of class 'spam': a task needs texts of two",
        ),
        (
            "validation",
            {"0": 3, "1": 4},
            "none of the 2 texts of rotten_tomatoes with label 'rare' is in validation",
        ),
    ],
)
def test_a_task_needs_two_classes_and_each_of_them_in_each_split(
    counts: Counts, split: str | None, labels: dict[str, int], message: str
) -> None:
    found = copy.deepcopy(counts)
    for name in ("train", "validation", "test"):
        found.labelled[name]["rotten_tomatoes"] = {
            **labels,
            **({"rare": 1} if split not in (None, name) else {}),
        }
    with pytest.raises(InputError, match=message):
        checks.check_documents(settings(), ["tasks"], found)


def test_a_kind_reads_what_its_source_has() -> None:
    task = miniature.params()["finetune"]["tasks"]["rotten_tomatoes"]
    own = {"finetune__tasks": {"mine": {**task, "source": "reviews"}}}
    columns = {"text": "text", "others": ["a", "b"], "label": "label"}
    with pytest.raises(
        ValueError, match=r"mine.kind is classification, but fetch.sources.reviews has others"
    ):
        settings(**own, fetch__sources__reviews__columns=columns)
    own["finetune__tasks"]["mine"]["kind"] = "choice"
    assert settings(**own, fetch__sources__reviews__columns=columns).finetune.tasks["mine"].kind == "choice"
    with pytest.raises(ValueError, match=r"mine.kind is choice, but fetch.sources.reviews has none"):
        settings(**own)


def with_judges(**judges: Any) -> Params:
    """Return the miniature's parameters with these judges; those of kind classifier by their sources and `good`."""
    kinds = {
        name: {"kind": "reward"} if own is None else {"kind": "classifier", "sources": own[0], "good": own[1]}
        for name, own in judges.items()
    }
    return settings(evaluate__judges=kinds, evaluate__headline=next(iter(kinds), None))


@pytest.mark.parametrize(("label", "said"), [("1", "has label '1'"), ("0", "has another label than '1'")])
def test_a_judge_needs_texts_that_are_good_and_others(counts: Counts, label: str, said: str) -> None:
    found = copy.deepcopy(counts)
    for labels in found.labelled["judge"].values():
        labels.pop(label, None)
    message = rf"prepare.splits.judge is 0.15, but no text of imdb or rotten_tomatoes in that split {said}"
    with pytest.raises(InputError, match=message):
        checks.check_documents(settings(), ["evaluate"], found)
    checks.check_documents(with_judges(rewards=None), ["evaluate"], found)


def test_a_judge_is_tried_on_two_texts_of_each_source_at_least(counts: Counts) -> None:
    found = copy.deepcopy(counts)
    found.labelled["test"]["rotten_tomatoes"] = {"0": 1}
    with pytest.raises(
        InputError, match="two or more labelled texts of rotten_tomatoes in test, but there are 1"
    ):
        checks.check_documents(settings(), ["evaluate"], found)
    checks.check_documents(with_judges(mine=(["imdb"], "1")), ["evaluate"], found)


@pytest.mark.parametrize(
    ("judge", "said"),
    [
        ((["imbd"], "1"), r"evaluate.judges.mine.sources: there is no source imbd: did you mean imdb\?"),
        (
            (["imdb"], "pos"),
            r"evaluate.judges.mine.good is 'pos', but no text of imdb has that label: there are 0, 1",
        ),
        ((["imdb"], 2), r"evaluate.judges.mine.good is '2', but no text of imdb has that label"),
        ((["icwsm2014-movies"], "1"), "mine.sources names icwsm2014-movies, which has no labelled text"),
    ],
)
def test_a_judge_names_a_source_and_a_class_that_are_there(counts: Counts, judge: Any, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        checks.check_documents(with_judges(good=(["imdb"], 1), mine=judge), ["evaluate"], counts)
    assert "\n" not in str(caught.value)


def test_the_split_of_judges_needs_no_share_where_none_learns() -> None:
    shares = {**miniature.params()["prepare"]["splits"], "judge": 0.0, "train": 0.55}
    for judges in ({}, {"rewards": {"kind": "reward"}}):
        chosen = {"evaluate__judges": judges, "evaluate__headline": next(iter(judges), None)}
        checks.check_splits(settings(prepare__splits=shares, **chosen), STAGES)


def test_a_reward_model_judges_only_where_there_is_one() -> None:
    training = miniature.params()["finetune"]["policy"]["training"]
    dpo = {"kind": "dpo", "seed": 1, "beta": 0.5, "training": training}
    judges = {"evaluate__judges": {"rewards": {"kind": "reward"}}, "evaluate__headline": "rewards"}
    with pytest.raises(ValueError, match=r"evaluate.judges.rewards.kind is reward, but reward.kind is none"):
        settings(align=dpo, reward={"kind": "none"}, **judges)
    assert list(settings(**judges).evaluate.judges) == ["rewards"]


@pytest.mark.parametrize(
    ("judges", "headline", "message"),
    [
        ({"rewards": {"kind": "reward"}}, "words", "headline is words: name one of judges, rewards"),
        ({"rewards": {"kind": "reward"}}, None, "headline is null: name one of judges, rewards"),
        ({}, "words", "headline is words, but judges names none: set it to null"),
    ],
)
def test_the_headline_is_a_judge_that_there_is(judges: dict, headline: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings(evaluate__judges=judges, evaluate__headline=headline)


def test_the_languages_are_those_of_the_model() -> None:
    _detector().detect("a text")
    (model,) = _detector()._models.values()
    labels, _ = model.predict("a text", k=1000, threshold=-1.0)
    assert sorted(label.removeprefix("__label__") for label in labels) == LANGUAGES.split()


@pytest.mark.parametrize(
    ("code", "meant"), [("kr", "ko"), ("EN", "en"), ("en-US", "en"), ("english", "en"), ("jp", "ja")]
)
def test_a_language_is_one_that_can_be_told(code: str, meant: str) -> None:
    with pytest.raises(ValueError, match=rf"{code} is no language that can be told: did you mean {meant}\?"):
        settings(prepare__languages=[code])


def test_dvc_repro_is_held_to_what_it_was_asked_for(project: Project) -> None:
    project.edit("params.yaml", "splits: {train: 0.65,", "splits: {train: 0.80,")
    project.edit("params.yaml", "judge: 0.15}", "judge: 0.0}")
    with Path("dvc.yaml").open("a") as file:
        file.write("  evaluate: {cmd: python -m standin evaluate, deps: [models/finetune]}\n")
    status, output = project.run("dvc", "repro")
    assert (
        "jokbo: params.yaml: prepare.splits.judge is 0, but evaluate reads that split: give it a share"
        in output
    )
    assert (status, Path("models/pretrain").exists()) == (255, False)
    status, output = project.run("dvc", "repro", "pretrain")
    assert (status, Path("models/pretrain").exists()) == (0, True), output


@pytest.fixture
def prepared(raw: Path, counts: Counts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with raw rows and their counts in it."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    RAW.parent.mkdir()
    RAW.symlink_to(raw)
    DOCUMENTS.mkdir()
    counts.save(DOCUMENTS / COUNTS)
    return tmp_path


def test_a_stage_looks_at_what_those_after_it_ask(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = settings(finetune__tasks__rotten_tomatoes__source="nosuch")
    monkeypatch.setenv(frame_checks.STAGES, ",".join(STAGES))
    for stage in ("prepare", "tokenize", "pretrain", "tasks"):
        with pytest.raises(InputError, match="nosuch"):
            frame_checks.check_before(stage, wrong)
    frame_checks.check_before("distill", wrong)
    frame_checks.check_before("fetch", wrong)
    monkeypatch.setenv(frame_checks.STAGES, "fetch,prepare,tokenize,pretrain")
    frame_checks.check_before("prepare", wrong)
    frame_checks.check_before("pretrain", wrong)


def test_what_is_stale_says_nothing(prepared: Path) -> None:
    wrong = settings(finetune__tasks__rotten_tomatoes__source="nosuch")
    frame_checks.check(wrong, STAGES, ["fetch", "prepare"])
    with pytest.raises(InputError, match="nosuch"):
        frame_checks.check(wrong, STAGES, ["prepare"])
    Counts(sources={"nosuch": SourceCounts(rows=0)}).save(DOCUMENTS / COUNTS)
    with pytest.raises(InputError, match="there is no source nosuch"):
        frame_checks.check(wrong, STAGES, ["prepare"])


def test_benchmarks_are_checked_before_a_stage_that_leads_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = settings(evaluate__benchmarks={"mine": {"file": "task.yaml"}})
    checks.check_files(asked, ["fetch", "align"], tmp_path)
    with pytest.raises(
        InputError, match=r"params.yaml: evaluate.benchmarks.mine: file is task.yaml: put that"
    ):
        checks.check_files(asked, ["fetch", "evaluate"], tmp_path)
    monkeypatch.setitem(sys.modules, "lm_eval", None)  # as if it were not installed
    with pytest.raises(InputError, match=r"evaluate.benchmarks needs lm-evaluation-harness: pip install"):
        checks.check_files(asked, ["evaluate"], tmp_path)
