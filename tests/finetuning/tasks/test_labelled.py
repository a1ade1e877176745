"""Rows of a labelled task: which classes there are, what becomes tokens, and what is drawn for a curve."""

from __future__ import annotations

import pytest
import torch
from datasets import Dataset, DatasetDict

from jokbo.finetuning.tasks.classification import Classification
from jokbo.finetuning.tasks.labelled import SPLITS, Labelled, SpecialTokens, encode, in_order, shortened
from jokbo.runtime.errors import InputError
from tests.finetuning.tasks.test_classifier import SPECIAL, Words
from tests.support.networks import END, PADDING

TICKETS = {
    "refund please": "billing",
    "it crashes": "bug",
    "how do I log in": "question",
    "charged twice": "billing",
}


def documents(**changed: dict[str, str]) -> DatasetDict:
    """Documents by split, with a text of another source and one without a label."""
    splits = {split: changed.get(split, TICKETS) for split in SPLITS}
    return DatasetDict(
        {
            split: Dataset.from_dict(
                {
                    "text": [*rows, "another's", "unlabelled"],
                    "others": [None] * (len(rows) + 2),
                    "sources": [*[["tickets"]] * len(rows), ["imdb"], ["tickets"]],
                    "label": [*rows.values(), "1", None],
                }
            )
            for split, rows in splits.items()
        }
    )


def data(**changed: dict[str, str]) -> Labelled:
    return Labelled.of(documents(**changed), "tickets", Classification(), Words(), 12)


def test_rows_are_the_labelled_ones_of_the_source() -> None:
    found = data()
    assert found.classes == ["billing", "bug", "question"]
    assert found.texts("test") == [*TICKETS]
    assert found.labels["test"].tolist() == [0, 1, 2, 0]
    assert found.cut == dict.fromkeys(SPLITS, 3)
    letters = Words()(["it crashes"])["input_ids"][0]
    assert found.tokens["train"][1, 0].tolist() == [*letters, END, PADDING]
    assert found.tokens["train"][0, 0, -1] == END


def test_classes_stand_in_the_order_of_their_numbers_or_by_name() -> None:
    assert in_order(["10", "2", "-1"]) == ["-1", "2", "10"]
    assert in_order(["10", "2", "x"]) == ["10", "2", "x"]


def test_one_class_only_and_a_class_of_no_training_row_are_refused() -> None:
    with pytest.raises(InputError, match="tickets has training rows of 1 classes"):
        data(train={"a": "bug", "b": "bug"})
    with pytest.raises(InputError, match="tickets, test, label 'other': no training row has its label"):
        data(test={**TICKETS, "new": "other"})


def test_what_is_drawn_has_each_class_and_follows_from_the_seed() -> None:
    rows = {f"text {i}": "rare" if i == 70 else str(i % 2) for i in range(100)}
    many = data(train=rows, validation=rows, test=rows)
    few = many.first(10, seed=3)
    assert len(few.rows["train"]) == len(few.labels["train"]) == len(few.tokens["train"]) == 10
    assert set(few.labels["train"].tolist()) == {0, 1, 2}
    assert few.rows["test"] == many.rows["test"]
    for row, label in zip(few.rows["train"], few.labels["train"].tolist(), strict=True):
        assert few.classes[label] == row.label
    assert few.rows["train"] == many.first(10, seed=3).rows["train"] != many.first(10, seed=4).rows["train"]


def test_a_batch_has_rows_with_their_labels_and_weights_of_mean_one() -> None:
    found = data()
    batch = found.batches(2, seed=1)(0)
    assert batch["tokens_BKS"].shape[:2] == (2, 1)
    assert batch["weights_BKT"].mean() == pytest.approx(1)
    for tokens_KS, label in zip(batch["tokens_BKS"], batch["labels_B"], strict=True):
        width = tokens_KS.shape[1]
        same = [i for i in range(4) if torch.equal(found.tokens["train"][i, :, :width], tokens_KS)]
        assert label in found.labels["train"][same]


def test_texts_of_a_sequence_stand_between_delimiters_and_the_longest_is_cut() -> None:
    tokens, cut = encode([[["ab", "c"]], [["abcdefgh", "ijk"]]], Words(), SPECIAL, 8)
    (a, b), (c,) = Words()(["ab", "c"])["input_ids"]
    assert tokens[0, 0].tolist() == [a, b, END, c, END, PADDING, PADDING, PADDING]
    assert tokens[1, 0].tolist() == [
        *Words()(["abc"])["input_ids"][0],
        END,
        *Words()(["ijk"])["input_ids"][0],
        END,
    ]
    assert cut == 1
    assert shortened([5, 2, 9], 12) == [5, 2, 5]
    assert shortened([9], 4) == [4]
    assert shortened([3, 3], 5) == [2, 2]


def test_the_delimiter_is_the_tokenizers_own_or_the_end_of_text() -> None:
    tokenizer = Words()
    assert SpecialTokens.of(tokenizer).delimiter == (END,)
    tokenizer.sep_token_id = 7
    assert SpecialTokens.of(tokenizer).delimiter == (7,)
