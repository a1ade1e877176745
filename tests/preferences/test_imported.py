"""What a file of judgements becomes: pairs to learn from, pairs for the test, and what is left out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, DatasetDict
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from jokbo.data.conversations.chat import PLAIN, Chat
from jokbo.params import ComparisonFile, Params, checks
from jokbo.preferences import imported
from jokbo.preferences.labeller import Given, Labelled
from jokbo.runtime.errors import InputError
from tasks.frame import checks as frame_checks
from tests.data.conversations.templates import GOOD
from tests.data.conversations.test_chat import opened
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


def own(local: Path, *prompts: dict[str, Any]) -> str:
    (local / "own.jsonl").write_text("".join(json.dumps(prompt) + "\n" for prompt in prompts))
    return "own.jsonl"


def test_judgements_of_other_prompts_than_those_of_the_file_of_prompts_are_counted(local: Path) -> None:
    write(local, [row(prompt) for prompt in PROMPTS])
    file = own(local, *({"prompt": prompt.upper()} for prompt in PROMPTS[:60]))
    found = labelled(prompts=file)
    assert prompts([*found.train, *found.test]) == set(PROMPTS[:60])
    assert found.left_out["of_another_prompt"][:2] == (40, 100)


def test_the_file_of_prompts_is_read_once(local: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(local, [row(prompt) for prompt in PROMPTS])
    read, of_file = [], imported.own_prompts
    monkeypatch.setattr(imported, "own_prompts", lambda file: [*map(read.append, [file]), of_file(file)][-1])
    labelled(prompts=own(local, *({"prompt": prompt} for prompt in PROMPTS)))
    assert len(read) == 1


def test_a_file_of_other_prompts_is_refused_before_anything_runs(local: Path) -> None:
    write(local, [row("What is tea?"), row("What is rice?")])
    words = r"mine.jsonl:1: the prompt 'What is tea\?' is not in own.jsonl, nor is that of any of the 2 judgements"
    file = own(local, {"prompt": "Question number 1?"})
    with pytest.raises(InputError, match=words):
        checks.check_files(settings(mine=MINE | {"prompts": file}), ["preferences"], local.parent.parent)
    with pytest.raises(
        InputError, match=r"labellers.mine.prompts is none.txt: put that file into data/local"
    ):
        checks.check_files(
            settings(mine=MINE | {"prompts": "none.txt"}), ["preferences"], local.parent.parent
        )


@pytest.mark.parametrize("mark", ["<|im_start|>", "[INST]", "<start_of_turn>"])
def test_prompts_of_a_chat_template_are_refused_where_the_policy_goes_on_with_texts(
    local: Path, mark: str
) -> None:
    write(local, [row("A film"), row(f"{mark}user Why?")])
    with pytest.raises(InputError) as error:
        checks.check_files(settings(mine=MINE), ["preferences"], local.parent.parent)
    assert str(error.value).startswith(
        f"data/local/mine.jsonl:2: the prompt holds {mark}, which a chat template"
    )
    assert "prompts.kind is continuation" in str(error.value)


def of_conversations(**prompts: Any) -> Params:
    tree = miniature.params()
    tree["fetch"]["sources"]["talk"] = tree["fetch"]["sources"]["reviews"] | {
        "columns": {"messages": "messages"}
    }
    tree["prompts"] = {"kind": "conversation", "seed": 1, "sources": ["talk"], "prompt_tokens": 30} | prompts
    tree["prompts"]["response_tokens"] = 20
    tree["distill"]["prompts_per_text"] = 1
    tree["preferences"]["labellers"] |= {"mine": MINE}
    return Params.model_validate(tree)


def test_the_marks_of_the_policys_own_template_may_stand_in_a_prompt(local: Path) -> None:
    write(local, [row("<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n")])
    with pytest.raises(InputError, match="but the policy's template writes none"):
        checks.check_files(of_conversations(), ["preferences"], local.parent.parent)
    (local / "chatml.jinja").write_text(GOOD["chatml"] or "")
    checks.check_files(of_conversations(template="chatml.jinja"), ["preferences"], local.parent.parent)


def talking(folder: Path, name: str, evaluated: list[str], *talks: list[str]) -> Given:
    """Who labels for a policy that is asked by a chat template."""
    tokenizer = opened(folder)
    roles = ["user", "assistant"] * 9
    turns = [
        [{"role": role, "content": text} for role, text in zip(roles, talk, strict=False)] for talk in talks
    ]
    documents = DatasetDict(test=Dataset.from_dict({"turns": [None, *turns]}))
    chat = Chat(tokenizer, GOOD[name] or PLAIN.read_text(), name)
    return replace(GIVEN, tokenizer=tokenizer, chat=chat, documents=documents, evaluated=lambda: evaluated)


CHATML = ("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n", "<|im_end|>\n")


def test_a_question_becomes_what_the_policy_is_asked_by_the_template(local: Path, tmp_path: Path) -> None:
    written = "User: And why?\n\nAssistant:"
    write(local, [row("Why?"), row(written)])
    found = labelled(talking(tmp_path / "t", "plain", []), held_out=0.0).train
    assert [each["prompt"] for each in found] == ["User: Why?\n\nAssistant:", written]
    assert [each["responses"] for each in found] == [[" yes", " no"]] * 2
    chatml = talking(tmp_path / "t", "chatml", [])
    write(local, [{**row("Why?"), "responses": [" yes \n", "no"]}])
    (found,) = labelled(chatml, held_out=0.0).train
    assert found["prompt"] == f"{CHATML[0]}Why?{CHATML[1]}<|im_start|>assistant\n"
    assert found["responses"] == ["yes", "no"]
    file = own(local, {"prompt": "why", "system": "Be brief."})
    (found,) = labelled(chatml, held_out=0.0, prompts=file).train
    assert found["prompt"].startswith(
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nwhy<|im_end|>"
    )


def test_questions_that_models_are_evaluated_on_are_found_behind_the_template(
    local: Path, tmp_path: Path
) -> None:
    write(local, [row(prompt) for prompt in PROMPTS] + [row("What is <|im_end|>?")])
    asked = f"{CHATML[0]}{PROMPTS[3]}{CHATML[1]}<|im_start|>assistant\n"
    found = labelled(talking(tmp_path / "t", "chatml", [asked], [PROMPTS[5].upper(), "Five."]))
    assert found.left_out["evaluated"][:2] == (2, 101)
    assert found.left_out["it_spells_a_special_token"][:2] == (1, 101)
    there = "".join(prompts([*found.train, *found.test]))
    assert all((prompt in there) != (prompt in (PROMPTS[3], PROMPTS[5])) for prompt in PROMPTS)


def test_a_prompt_that_another_template_wrote_is_refused(local: Path, tmp_path: Path) -> None:
    write(local, [row("<start_of_turn>user Why?")])
    with pytest.raises(InputError, match=r"mine.jsonl:1: the prompt holds <start_of_turn>, which a chat"):
        labelled(talking(tmp_path / "t", "chatml", []))
