"""Labelled texts as tokens."""

from __future__ import annotations

from pathlib import Path

from datasets import Dataset, DatasetDict

from jokbo.finetuning.search import tasks_in
from tests.finetuning.test_classifier import Words
from tests.networks import PADDING


class CutWords(Words):
    def __call__(self, texts: list[str], *, max_length: int, **_: object) -> dict[str, list[list[int]]]:
        return {"input_ids": [ids[:max_length] for ids in super().__call__(texts)["input_ids"]]}


def test_tasks_are_the_first_tokens_of_texts_and_padding(tmp_path: Path) -> None:
    rows = {"text": ["ab", "abcdefgh", ""], "label": [1, 0, 1]}
    for name in ("snippets", "imdb"):
        splits = {split: Dataset.from_dict(rows) for split in ("train", "test")}
        DatasetDict(splits).save_to_disk(str(tmp_path / name))
    imdb, snippets = tasks_in(tmp_path, CutWords(), 4)
    assert (imdb.name, snippets.name) == ("imdb", "snippets")
    whole = Words()(rows["text"])["input_ids"]
    assert imdb.tokens["test"].tolist() == [whole[0] + [PADDING] * 2, whole[1][:4], [PADDING] * 4]
    assert imdb.labels["test"].tolist() == [1, 0, 1]
