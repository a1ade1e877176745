"""Own prompts are left out if they are those of the documents, nearly so, or share many words with them."""

from __future__ import annotations

from typing import Any

from datasets import Dataset, DatasetDict

from jokbo.data.conversations.apart import EVALUATED, NEAR, NEAR_DOCUMENT, REPEATED, SEEN, SHARED, why_not
from jokbo.data.conversations.turns import Turn, Turns
from jokbo.params import Prepare
from tests.support import miniature


def words(name: str, count: int = 60) -> list[str]:
    return [f"{name}{i}" for i in range(count)]


def changed(text: list[str]) -> str:
    """The text with another last word: of 56 shingles of 5 words 55 stay."""
    return " ".join([*text[:-1], "other"])


def asked(content: str, system: str = "") -> Turns:
    return (*((Turn("system", system),) if system else ()), Turn("user", content))


def documents(**splits: Any) -> DatasetDict:
    """A text is a document, a list of texts a conversation."""
    made = {}
    for split in ("train", "validation", "test"):
        rows = []
        for each in splits.get(split, ["nothing of it"]):
            roles = ["user", "assistant"] * 9
            turns = [] if isinstance(each, str) else zip(roles, each, strict=False)
            listed = [{"role": role, "content": content} for role, content in turns]
            text = each if isinstance(each, str) else "\n\n".join(each)
            rows.append({"text": text, "turns": listed or None})
        made[split] = Dataset.from_list(rows)
    return DatasetDict(made)


def reasons(prompts: list[Turns], found: DatasetDict, **changes: Any) -> list[str | None]:
    tree = miniature.params()["prepare"]
    for section, values in changes.items():
        tree[section] |= values
    return why_not(prompts, found, Prepare.model_validate(tree))


def test_a_question_that_a_document_answers_or_another_asks_is_left_out() -> None:
    found = documents(
        train=[["Who is it?", "I.", "And why?", "So."]],
        validation=[["When?", "Now."]],
        test=[["Where?", "Here."]],
    )
    prompts = [asked(text) for text in ("WHO is it", "And why?", "When", "Where!", "How?", "how")]
    assert reasons([*prompts, asked("How?", system="Be brief.")], found) == [
        *(SEEN, None, EVALUATED, EVALUATED, None, REPEATED, REPEATED)
    ]


def test_of_questions_that_are_nearly_the_same_the_first_stays() -> None:
    prompts = [
        asked(" ".join(words("a"))),
        asked(" ".join(words("b"))),
        asked(changed(words("a")), "Be brief."),
    ]
    assert reasons(prompts, documents(), decontaminate={"splits": []}) == [None, None, NEAR]
    kept = {"near_duplicates": {"drop": False}, "decontaminate": {"splits": []}}
    assert reasons(prompts, documents(), **kept) == [None] * 3
    assert reasons(prompts, documents(), near_duplicates={"similarity": 1.0}) == [None] * 3


def test_a_question_that_is_nearly_one_of_the_documents_is_left_out() -> None:
    prompts = [asked(" ".join(words(name))) for name in "abcd"]
    found = documents(
        train=[[changed(words("a")), "Yes."]], validation=[changed(words("b"))], test=[["No.", "c0 c1"]]
    )
    assert reasons(prompts, found) == [NEAR_DOCUMENT, NEAR_DOCUMENT, None, None]


def test_a_question_that_shares_many_words_with_a_document_is_left_out() -> None:
    prompts = [asked(" ".join(words(name))) for name in "abc"]
    quoted = " ".join(words("a")[:13])
    found = documents(train=[["Tell me.", f"He said {quoted}, no more."]], test=[" ".join(words("b")[:12])])
    assert reasons(prompts, found) == [SHARED, None, None]
    assert reasons(prompts, found, decontaminate={"ngram": 12}) == [SHARED, SHARED, None]
    assert reasons(prompts, found, decontaminate={"splits": []}) == [None] * 3
