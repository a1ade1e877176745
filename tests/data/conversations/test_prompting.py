"""Prompts of conversations: a table as other kinds make it, own prompts apart from what is learned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset, DatasetDict
from transformers import AutoTokenizer

from jokbo.data.conversations import apart
from jokbo.data.conversations.chat import LONG_ANSWER, LONG_PROMPT
from jokbo.data.conversations.own import own_prompts
from jokbo.data.conversations.prompting import Conversations
from jokbo.data.corpus.tokenizer import save_tokenizer
from jokbo.data.prepare.documents import DOCUMENT_SCHEMA
from jokbo.data.prompts import SHAPE, Prompts, Shape, save
from jokbo.params import ConversationPrompts, Prepare
from jokbo.runtime.errors import InputError
from tests.support import miniature
from tests.support.corpora import trained

PREPARE = Prepare.model_validate(miniature.params()["prepare"])
TALKS = [
    ["What is it?", "A film."],
    ["Who is in it?", "Nobody that I know.", "And is it any good?", "It is."],
    ["Is it long?", "It is " + "very " * 40 + "long."],
    ["Tell me " + "all " * 150 + "of it.", "No."],
    ["Was it " * 60 + "?", "It was.", "And will it be?", "It will."],
]


def document(talk: list[str], *sources: str) -> dict[str, Any]:
    roles = ["user", "assistant"] * len(talk)
    turns = [{"role": role, "content": text} for role, text in zip(roles, talk, strict=False)]
    return {"text": "\n\n".join(talk), "sources": list(sources or ["talk"]), "turns": turns, "language": "en"}


def splits(*documents: dict[str, Any]) -> DatasetDict:
    rows = [{name: each.get(name) for name in DOCUMENT_SCHEMA.names} for each in documents]
    table = Dataset.from_list(rows)
    return DatasetDict(dict.fromkeys(("train", "validation", "prompts", "test"), table))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(trained([text for talk in TALKS for text in talk], 300), path)
    return AutoTokenizer.from_pretrained(path)


@pytest.fixture
def kind(tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def made(*documents: dict[str, Any], **changes: Any) -> Conversations:
        given = {
            "kind": "conversation",
            "seed": 1,
            "sources": ["talk"],
            "prompt_tokens": 90,
            "response_tokens": 24,
        }
        return Conversations(
            tokenizer,
            splits(*(documents or [document(talk) for talk in TALKS])),
            ConversationPrompts(**{**given, **changes}),
            PREPARE,
        )

    return made


def own(content: str | list[Any], name: str = "own.jsonl") -> str:
    path = Path("data/local", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = content if isinstance(content, str) else "".join(json.dumps(each) + "\n" for each in content)
    path.write_text(lines)
    return name


def test_the_table_gives_prompts_answers_and_what_is_learned(kind, tokenizer, tmp_path: Path) -> None:
    made = kind()
    found = made.selected("train")
    assert (found.texts, found.without(1), found.shortened) == (5, 2, 1)
    assert found.left_out == {LONG_ANSWER: 1, LONG_PROMPT: 1}
    save(found, tmp_path / "prompts/train")
    Shape(90, 24, tokenizer.pad_token_id).save(tmp_path / "prompts" / SHAPE)
    prompts = Prompts.open(tmp_path / "prompts/train")
    assert prompts.response_tokens == 24
    assert prompts.prompt_tokens < 90
    texts = set()
    for row, mask, learned, real in zip(
        prompts.tokens_NS, prompts.mask_NT, prompts.targets_NT, prompts.real_NT, strict=True
    ):
        answer, said = (tokenizer.decode(row[1:][some]) for some in (mask, learned))
        texts.add((answer, said))
        assert row[1:][mask][-1] == tokenizer.eos_token_id
        assert tokenizer.decode(row[: prompts.prompt_tokens]).endswith("Assistant:")
        assert tokenizer.pad_token_id not in row[1:][real]
    end = tokenizer.eos_token
    assert texts == {
        (f" A film.{end}", f" A film.{end}"),
        (f" It is.{end}", f" Nobody that I know.{end} It is.{end}"),
        (f" It will.{end}", f" It will.{end}"),
    }
    assert torch.equal(prompts.ends_NT.sum(1), torch.ones(3, dtype=torch.long))


def test_the_order_is_a_function_of_the_seed(kind) -> None:
    documents = [document([f"What is {i}?", "A number."]) for i in range(20)]
    orders = [kind(*documents, seed=seed).selected("train").orders[0].tolist() for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


def test_own_prompts_are_apart_from_training_conversations(kind, tokenizer) -> None:
    asked = [
        {"prompt": "What's new?"},
        {"prompt": "what IS it", "system": "Be kind."},
        {"messages": document(TALKS[1])["turns"][:3]},
        {"prompt": "And is it any good?"},
        {"conversations": [{"from": "human", "value": "Whats new"}]},
        {"prompt": "Who " * 200},
    ]
    made = kind(file=own(asked))
    found = made.selected("prompts")
    assert found.left_out == {apart.SEEN: 2, apart.REPEATED: 1, LONG_PROMPT: 1}
    texts = [tokenizer.decode(row.tokens) for row in found.rows]
    assert texts == ["User: What's new?\n\nAssistant:", "User: And is it any good?\n\nAssistant:"]
    assert found.texts == 6
    assert made.selected("test").texts == 5


def test_own_prompts_of_a_text_file(kind, tokenizer) -> None:
    found = kind(file=own("What now?\n\n Why not?\n", "own.txt")).selected("prompts")
    assert len(found.rows) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{\n", r"own\.jsonl:1 is not JSON"),
        ("[]\n", r"own\.jsonl:1 holds list, not an object"),
        ('\n{"text": "Hi"}\n', r"own\.jsonl:2 has none of prompt, messages and conversations"),
        ('{"prompt": 5}\n', r"own\.jsonl:1: column 'prompt' holds int, not text"),
        ('{"prompt": " "}\n', r"own\.jsonl:1 is one with an empty turn"),
        (
            '{"messages": [{"role": "assistant", "content": "Hi"}]}\n',
            "is one with roles out of order: write turns",
        ),
        ('{"messages": [{"role": "user"}]}\n', r"own\.jsonl:1: turn 1 has not the keys"),
    ],
)
def test_a_line_that_is_no_prompt_is_refused(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "own.jsonl").write_text(content)
    with pytest.raises(InputError, match=words):
        list(own_prompts(tmp_path / "own.jsonl"))


def test_a_file_that_is_not_there_or_gives_nothing_is_refused(kind) -> None:
    with pytest.raises(InputError, match=r"prompts\.file: data/local/none\.txt cannot be read"):
        kind(file="none.txt").selected("prompts")
    with pytest.raises(
        InputError, match=r"data/local/own\.txt gives no prompt: 1 because it is asked in a training"
    ):
        kind(file=own("What is it?", "own.txt")).selected("prompts")


def test_documents_that_are_no_conversations_are_refused(kind) -> None:
    plain = {"text": "A review.", "sources": ["talk"], "language": "en"}
    with pytest.raises(
        InputError, match=r"prompts\.sources names talk, which has a text that is no conversation"
    ):
        kind(document(TALKS[0]), plain).selected("train")
    with pytest.raises(InputError, match="no document is from tlak"):
        kind(sources=["tlak"]).selected("train")


def test_if_nothing_fits_it_is_said_why(kind) -> None:
    with pytest.raises(
        InputError, match=r"split train, of talk, gives no prompt: 5 because its last answer is longer"
    ):
        kind(response_tokens=2).selected("train")
