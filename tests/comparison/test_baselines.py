"""What is left of a text for those who count words, where networks read its beginning."""

from __future__ import annotations

import pytest

from jokbo.comparison.baselines import as_read, cut
from tests.support import corpora


class Offsets:
    """A tokenizer that says of each token where in the text it stands."""

    def __init__(self, texts: list[str]) -> None:
        self.tokenizer = corpora.trained(texts, 60, "wordpiece", normalisation="nfkc", lowercase=True)

    def __call__(self, text: str, **_: object) -> dict[str, list[tuple[int, int]]]:
        return {"offset_mapping": self.tokenizer.encode(text, add_special_tokens=False).offsets}


TEXT = "A good film, a Very good film indeed."


@pytest.mark.parametrize("length", [1, 3, 8, 1000])
def test_a_text_is_cut_behind_its_last_token_that_is_read(length: int) -> None:
    tokenizer = Offsets([TEXT])
    ids = tokenizer.tokenizer.encode(TEXT, add_special_tokens=False).ids
    found = cut(TEXT, tokenizer, length)
    assert TEXT.startswith(found)
    assert tokenizer.tokenizer.encode(found, add_special_tokens=False).ids == ids[:length]


def test_an_empty_text_stays_one_and_labels_stay() -> None:
    assert as_read({"test": (["", TEXT], [0, 1])}, Offsets([TEXT]), 2) == {
        "test": (["", cut(TEXT, Offsets([TEXT]), 2)], [0, 1])
    }
