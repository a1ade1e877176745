"""What the sections need of the data is checked: on the miniature's reviews, and once on the real parameters."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from jokbo.data.counts import Counts
from jokbo.data.prepare.language import _detector
from jokbo.params import checks
from jokbo.params.data import LANGUAGES
from jokbo.runtime.errors import InputError
from tests.params.settings import STAGES, counted, given, of_family, settings
from tests.support import miniature


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
            "reward",
            {
                "preferences__labellers__raters__prompts": 8,
                "preferences__labellers__raters__responses_per_prompt": 9,
                "preferences__labellers__people__pairs": 1,
                "reward__batch_of": "prompts",
                "reward__training__batch_size": 64,
            },
            "reward.training.batch_size is 64, but preferences.labellers give 9 prompts",
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


def test_several_reward_models_do_not_stand_on_one_trunk() -> None:
    lora = {"kind": "lora", "rank": 4, "alpha": 8.0, "targets": ["all-linear"], "dropout": 0.0}
    with pytest.raises(
        ValueError, match=r"reward.members is 2, but align.method.kind is lora, whose networks"
    ):
        settings(reward__members=2, align__method=lora)
    assert settings(reward__members=2, align__disagreement_cost=0.5).align.kind == "ppo"
