"""The labeller of kind ai: what it asks its judge, and what becomes of the answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import DatasetDict
from pydantic import ValidationError
from transformers import PreTrainedModel

from jokbo.data.prompts import Prompts
from jokbo.params import AiJudge, checks
from jokbo.preferences import ai, pairs
from jokbo.preferences.labeller import Given, Labelled
from jokbo.runtime.errors import InputError
from tests.feedback.planted import Planted, tokenizer
from tests.preferences.test_imported import settings as chain_settings
from tests.preferences.test_people import tokenizer as policy_tokenizer
from tests.support import adopted
from tests.support.networks import network, tokens

pytestmark = pytest.mark.usefixtures("local")
PROMPT, ANSWER, ASKED = 4, 6, 24
KEY = "preferences.labellers.judge"
SETTINGS = {
    "kind": "ai",
    "judge": {"kind": "base"},
    "chat": False,
    "minimum_mass": 0.1,
    "prompts": ASKED,
    "responses_per_prompt": 2,
    "temperature": 1.0,
    "held_out": 0.3,
    "compared": 50,
}
WORTH = {f"w{i}": (i % 7 - 3) / 2 for i in range(61)}  # of words, to the judge


def prompts(split: str, limit: int | None) -> Prompts:
    assert split == "prompts"
    return Prompts(tokens(ASKED, PROMPT + ANSWER)[:limit], torch.full((ASKED,), ANSWER)[:limit], PROMPT)


def given(judge: PreTrainedModel | None = None, **changes: Any) -> Given:
    own = {
        "name": "judge",
        "seed": 1,
        "documents": DatasetDict(),
        "prompts": prompts,
        "evaluated": lambda: [],
        "tokenizer": policy_tokenizer(),
        "policy": network,
        "judge": lambda settings, key: (judge or Planted(WORTH), tokenizer()),
        "say": lambda lines: None,
    }
    return Given(**own | changes)


def labelled(asked: Given | None = None, **changes: Any) -> Labelled:
    return ai.labelled(AiJudge.model_validate(SETTINGS | changes), asked or given())


def worth(text: str) -> float:
    return sum(WORTH[word] for word in text.split())


def test_each_pair_is_what_the_judge_finds_by_hand() -> None:
    found = labelled()
    rows = [*found.train, *found.test]
    assert len(rows) > 15
    for row in rows:
        margin = worth(row["responses"][0]) - worth(row["responses"][1])
        assert row["probability"] == pytest.approx(1 / (1 + torch.tensor(-margin).exp().item()), abs=1e-6)
        assert row["choice"] == (None if margin == 0 else int(margin < 0))
        assert (row["labeller"], row["source"], row["by_policy"]) == ("models/base", "judge", True)
    assert {row["prompt"] for row in found.train}.isdisjoint(row["prompt"] for row in found.test)
    assert labelled() == found


def test_the_probability_is_a_column_where_a_model_judged_and_nowhere_else(tmp_path: Path) -> None:
    found = labelled()
    person = {**found.train[0], "labeller": "ann"}
    del person["probability"]
    pairs.save({"train": [*found.train, person], "test": found.test}, tmp_path / "with")
    table = DatasetDict.load_from_disk(str(tmp_path / "with"))
    assert table["train"]["probability"][:-1] == [row["probability"] for row in found.train]
    assert table["train"]["probability"][-1] is None
    assert table["test"].features == table["train"].features == pairs.SOFT
    pairs.save({"train": [person], "test": []}, tmp_path / "without")
    assert DatasetDict.load_from_disk(str(tmp_path / "without"))["train"].features == pairs.FEATURES


def test_what_is_known_of_the_judge_is_measured() -> None:
    fair, biased = labelled().trust, labelled(given(Planted(WORTH, love=2.0)), held_out=0.0).trust
    assert fair
    assert fair.consistent
    assert fair.first
    assert (fair.consistent["value"], fair.first["value"]) == (
        pytest.approx(1 - fair.ties),
        pytest.approx(0.5),
    )
    assert biased
    assert biased.first
    assert biased.first["value"] > 0.6
    assert biased.ties > fair.ties


def test_a_judge_that_always_says_a_has_nothing_to_teach() -> None:
    with pytest.raises(InputError, match="pairs none but ties is left to learn from: ask for more prompts"):
        labelled(given(Planted(WORTH, love=50.0)))


def test_it_is_compared_with_the_labellers_before_it_on_their_own_pairs() -> None:
    mine = labelled()
    same = [{**row, "labeller": "ann"} for row in mine.train if row["choice"] is not None]
    opposite = [{**row, "choice": 1 - row["choice"]} for row in same]
    rated = [{**row, "prompt": ""} for row in same]
    others = {
        "ann": Labelled(same, []),
        "bo": Labelled(same, opposite),  # those that no stage learns from come first
        "ratings": Labelled([], rated),
        "nobody": Labelled([], []),
    }
    found = labelled(given(others=others)).trust
    assert found is not None
    assert set(found.agreement) == {"ann", "bo", "ratings"}
    shares = {name: each.same and each.same["value"] for name, each in found.agreement.items()}
    assert shares == {"ann": 1.0, "bo": 0.0, "ratings": 1.0}
    assert found.agreement["ann"].pairs == len(same)
    few = labelled(given(others=others), compared=5).trust
    assert few
    assert few.agreement["ann"].pairs == 5
    none = labelled(given(others=others), compared=0).trust
    assert none
    assert none.agreement == {}


def test_prompts_that_models_are_evaluated_on_are_left_out_and_counted() -> None:
    whole = labelled()
    some = {row["prompt"] for row in whole.train[:3]}
    found = labelled(given(evaluated=lambda: sorted(some)))
    assert some.isdisjoint(row["prompt"] for row in [*found.train, *found.test])
    assert found.left_out["evaluated"].count == len(some)


def test_what_has_no_verdict_is_counted() -> None:
    found = labelled(given(Planted({**WORTH, "w7": 40.0}, others=-1.0)), minimum_mass=0.3, held_out=0.0)
    rows = len(found.train) + len(found.test)
    assert found.left_out["neither"].count > 0
    assert rows + sum(left.count for left in found.left_out.values()) == ASKED
    assert found.trust
    assert found.trust.judged == rows


def test_the_policys_own_weights_may_not_judge() -> None:
    with pytest.raises(InputError) as caught:
        labelled(given(judge=network()))
    assert str(caught.value) == (
        f"{KEY}.judge has the very weights of the policy, whose responses it would judge: name another model"
    )


def test_the_special_tokens_of_the_policys_template_are_not_shown() -> None:
    reads = policy_tokenizer()
    reads.add_special_tokens({"additional_special_tokens": ["<|user|>"]})
    assert ai._plain("<|user|>w3 w4", given(tokenizer=reads)) == "w3 w4"


def chain(**changes: Any) -> Any:
    return chain_settings(judge=SETTINGS | changes)


def refused(folder: Path, **changes: Any) -> str:
    with pytest.raises(InputError) as caught:
        checks.check_files(chain(**changes), ["preferences"], folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_its_files_are_checked_before_anything_runs(local: Path) -> None:
    project = local.parent.parent
    checks.check_files(chain(), ["preferences"], project)
    (local / "empty.yaml").write_text("")
    (local / "half.jinja").write_text("{{ first }}")
    assert refused(project, constitution="empty.yaml").startswith("data/local/empty.yaml: it is empty")
    assert refused(project, constitution="none.yaml") == (
        "data/local/none.yaml: no such file: put the principles there"
    )
    assert refused(project, constitution="../x.yaml").startswith(
        f"{KEY}.constitution is '../x.yaml': give it"
    )
    assert refused(project, template="half.jinja").startswith("data/local/half.jinja leaves out prompt")


def test_a_judge_below_data_local_is_checked_before_anything_runs(local: Path) -> None:
    project, folder = (
        local.parent.parent,
        {"kind": "folder", "licence": "MIT", "context": 64, "path": "small"},
    )
    assert refused(project, judge=folder) == (
        f"data/local/small: not there: correct {KEY}.judge.path or put the model there"
    )
    adopted.save(local / "small")
    checks.check_files(chain(judge=folder), ["preferences"], project)
    for file in (local / "small").glob("tokenizer*"):
        file.unlink()
    assert refused(project, judge=folder) == (
        f"{KEY}.judge: data/local/small: it has no tokenizer: put its tokenizer.json there"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"judge": {"kind": "scratch"}},
        {"minimum_mass": 1.5},
        {"chat": "yes"},
        {"chain_of_thought": {"tokens": 9, "temperature": 1.0, "lowest": 0.5}},
        {"principles": "x.yaml"},
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AiJudge.model_validate(SETTINGS | changes)
