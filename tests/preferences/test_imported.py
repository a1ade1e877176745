"""What a file of judgements becomes: pairs to learn from, pairs for the test, and what is left out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datasets import DatasetDict
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from jokbo.params import ComparisonFile, Params, checks
from jokbo.preferences import imported
from jokbo.preferences.labeller import Given, Labelled
from jokbo.runtime.errors import InputError
from tasks.frame import checks as frame_checks
from tests.support import miniature

pytestmark = pytest.mark.usefixtures("local")
PROMPTS = [f"Question number {i}?" for i in range(100)]
MINE = {"kind": "file", "form": "choices", "paths": "mine.jsonl", "held_out": 0.2}


def no_policy() -> PreTrainedModel:
    raise AssertionError("a file needs no policy")


GIVEN = Given(
    name="mine",
    seed=1,
    documents=DatasetDict(),
    prompts=lambda split, limit: pytest.fail("a file needs no prompts to respond to"),
    evaluated=lambda: [],
    tokenizer=PreTrainedTokenizerFast.__new__(PreTrainedTokenizerFast),
    policy=no_policy,
    judge=lambda settings, key: pytest.fail("a file needs no judge"),
    say=lambda lines: None,
)


def write(local: Path, rows: list[dict[str, Any]]) -> None:
    (local / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def labelled(given: Given = GIVEN, **changes: Any) -> Labelled:
    return imported.labelled(ComparisonFile.model_validate(MINE | changes), given)


def row(prompt: str, choice: Any = 0) -> dict[str, Any]:
    return {"prompt": prompt, "responses": [" yes", " no"], "choice": choice, "labeller": "ann"}


def prompts(rows: list[Any]) -> set[str]:
    return {each["prompt"] for each in rows}


def test_the_share_that_is_held_out_goes_by_the_normalised_prompt(local: Path) -> None:
    write(local, [row(prompt) for prompt in PROMPTS] + [row(prompt.upper() + " !") for prompt in PROMPTS])
    found = labelled()
    assert 10 <= len(prompts(found.test)) / 2 <= 30
    test = {prompt.upper().rstrip(" !?") for prompt in prompts(found.test)}
    assert test.isdisjoint(prompt.upper().rstrip(" !?") for prompt in prompts(found.train))
    assert len(found.test) + len(found.train) == 200
    assert labelled() == found
    assert prompts(labelled(replace(GIVEN, seed=2)).test) != prompts(found.test)


def test_nothing_is_held_out_if_nothing_is_asked_for(local: Path) -> None:
    write(local, [row(prompt) for prompt in PROMPTS])
    assert labelled(held_out=0.0).test == []


def test_prompts_that_models_are_evaluated_on_are_counted_and_left_out(local: Path) -> None:
    write(local, [row(prompt) for prompt in PROMPTS])
    found = labelled(
        replace(GIVEN, evaluated=lambda: ["question number 7", "QUESTION NUMBER 8?!", "another"])
    )
    assert not {PROMPTS[7], PROMPTS[8]} & prompts([*found.train, *found.test])
    assert found.left_out["evaluated"][:2] == (2, 100)
    with pytest.raises(InputError, match="none of its 100 judgements is left to learn from"):
        labelled(replace(GIVEN, evaluated=lambda: PROMPTS))


def test_a_tie_is_kept_as_data_and_is_no_test(local: Path) -> None:
    write(local, [row(prompt, "tie") for prompt in PROMPTS])
    assert {each["choice"] for each in labelled(held_out=0.0).train} == {None}
    with pytest.raises(
        InputError, match=r"labellers.mine.held_out is 0.2: no judgement but ties is held out"
    ):
        labelled()


def settings(**labellers: Any) -> Params:
    tree = miniature.params()
    tree["preferences"]["labellers"] |= labellers
    return Params.model_validate(tree)


def test_the_file_is_checked_before_anything_runs(local: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(local, [row("Q?"), row("Q?", 2)])
    wrong = settings(mine=MINE)
    (local.parent.parent / "dvc.yaml").write_text("stages: {fetch: {}, prepare: {}, preferences: {}}")
    for stage in ("fetch", "prepare"):
        monkeypatch.setenv(frame_checks.STAGES, "fetch,prepare,preferences")
        with pytest.raises(
            InputError, match=r"data/local/mine.jsonl:2: the choice is 2: it must be 0, 1, tie"
        ):
            frame_checks.check_before(stage, wrong)
        monkeypatch.setenv(frame_checks.STAGES, "fetch,prepare")
        frame_checks.check_before(stage, wrong)
    with pytest.raises(InputError, match=r"mine.jsonl:2"):
        frame_checks.check(wrong, ["preferences"], ["fetch", "prepare"])
    checks.check_files(settings(), ["preferences"], local.parent.parent)
