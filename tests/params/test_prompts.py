"""What the schema says of conversations: their columns, and the kinds of `prompts`."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from flows.profile import merged
from jokbo import params
from jokbo.params import checks
from jokbo.runtime.errors import InputError
from tests.support import miniature

TALK = {"kind": "files", "licence": "mine", "language": "en", "paths": "talk.jsonl", "format": "jsonl"}
ASKED = {"kind": "conversation", "seed": 1, "sources": ["talk"], "prompt_tokens": 30, "response_tokens": 20}


def tree(*, talk: dict[str, Any] | None = None, once: bool = True, **asked: Any) -> dict[str, Any]:
    found = miniature.params()
    found["fetch"]["sources"]["talk"] = {**TALK, "columns": {"messages": "said"}, **(talk or {})}
    found["prompts"] = {**ASKED, **asked}
    found["distill"]["prompts_per_text"] = 1 if once else 2
    return found


def test_conversations_are_a_kind_of_what_is_asked() -> None:
    found = params.checked(tree(template="chat.jinja", file="own.txt"), "params.yaml").prompts
    assert (found.kind, found.prompts_per_text) == ("conversation", 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompts_per_text": 1}, "prompts.prompts_per_text is not a known key"),
        ({"kind": "conversations"}, "prompts.kind is conversations: did you mean conversation?"),
        ({"once": False}, "distill.prompts_per_text is 2: it must be 1, for a conversation gives one prompt"),
        ({"file": "own.csv"}, "prompts.file is 'own.csv'"),
        ({"file": "../own.txt"}, "'../own.txt' is not below data/local"),
        ({"template": "/etc/chat.jinja"}, "'/etc/chat.jinja' is not below data/local"),
        ({"prompt_tokens": 60}, "prompts.prompt_tokens + response_tokens is 80"),
        ({"talk": {"columns": {"text": "said"}}}, "fetch.sources.talk.columns names no field of one"),
        ({"talk": {"columns": None}}, "fetch.sources.talk.columns names no field of one"),
        (
            {"talk": {"columns": {"messages": "a", "label": "b"}}},
            "fetch.sources.talk.columns: label cannot stand beside those of messages",
        ),
        ({"talk": {"format": "txt"}}, "txt has no fields: write conversations as jsonl, csv or parquet"),
    ],
)
def test_a_mistake_is_named_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as raised:
        params.checked(tree(**changes), "params.yaml")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_split_for_prompts_is_not_needed_beside_own_ones() -> None:
    given = tree(file="own.txt")
    given["prepare"]["splits"] |= {"train": 0.6, "prompts": 0.0}
    checks.check_splits(params.checked(given, "params.yaml"), ["prompts", "align"])
    del given["prompts"]["file"]
    with pytest.raises(InputError, match=r"prepare\.splits\.prompts is 0"):
        checks.check_splits(params.checked(given, "params.yaml"), ["prompts", "align"])


def test_files_are_checked_before_anything_runs(tmp_path: Path) -> None:
    given = params.checked(tree(template="chat.jinja", file="own.txt"), "params.yaml")
    local = tmp_path / "data/local"
    local.mkdir(parents=True)
    with pytest.raises(InputError, match=r"prompts\.template is chat\.jinja: put that file into data/local"):
        checks.check_files(given, ["prompts"], tmp_path)
    (local / "chat.jinja").write_text("")
    with pytest.raises(InputError, match=r"prompts\.file is own\.txt: put that file"):
        checks.check_files(given, ["prompts"], tmp_path)
    (local / "own.txt").write_text("Why?\n")
    checks.check_files(given, ["prompts"], tmp_path)
    (local / "own.jsonl").write_text('{"prompt": "Why?"}\n{"prompt": 7}\n')
    given = params.checked(tree(file="own.jsonl"), "params.yaml")
    with pytest.raises(InputError, match=r"own\.jsonl:2: column 'prompt' holds int"):
        checks.check_files(given, ["prompts"], tmp_path)
    checks.check_files(given, ["align"], tmp_path)


def test_a_profile_of_another_kind_replaces_the_whole_answer(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("prompts: {kind: continuation, prompts_per_text: 2, seed: 1}\n")
    (tmp_path / "talk.yaml").write_text("prompts: {kind: conversation, seed: 2}\n")
    (tmp_path / "more.yaml").write_text("prompts: {prompts_per_text: 3}\n")
    assert merged(tmp_path / "base.yaml", tmp_path / "talk.yaml")["prompts"] == {
        "kind": "conversation",
        "seed": 2,
    }
    assert merged(tmp_path / "base.yaml", tmp_path / "more.yaml")["prompts"]["seed"] == 1


def test_conversations_of_the_miniature_are_conversations() -> None:
    made = miniature.conversations(random.Random(1), 4)
    assert [len(each["messages"]) for each in made] == [2, 3, 4, 3]
