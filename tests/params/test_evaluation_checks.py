"""What judges and benchmarks need of the data is checked, on the miniature's reviews."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import pytest

from jokbo.data.counts import Counts
from jokbo.params import Params, checks
from jokbo.runtime.errors import InputError
from tests.params.settings import STAGES, settings
from tests.support import miniature


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
    by_template = settings(evaluate__benchmarks={"mine": {"file": "task.yaml", "apply_chat_template": True}})
    with pytest.raises(
        InputError, match=r"mine.apply_chat_template is true, but the models begin from scratch"
    ):
        checks.check_files(by_template, ["evaluate"], tmp_path)
    with pytest.raises(ValueError, match="fewshot_as_multiturn is for apply_chat_template"):
        settings(evaluate__benchmarks={"mine": {"file": "task.yaml", "fewshot_as_multiturn": True}})
    monkeypatch.setitem(sys.modules, "lm_eval", None)  # as if it were not installed
    with pytest.raises(InputError, match=r"evaluate.benchmarks needs lm-evaluation-harness: pip install"):
        checks.check_files(asked, ["evaluate"], tmp_path)
