"""The kinds of labelled tasks: what does not change when a pair is turned round or answers change places."""

from __future__ import annotations

import pytest
import torch
from datasets import Dataset, DatasetDict

from jokbo.finetuning.tasks.choice import Choice
from jokbo.finetuning.tasks.classification import Classification
from jokbo.finetuning.tasks.classifier import Classify, logits
from jokbo.finetuning.tasks.kind import Kind
from jokbo.finetuning.tasks.labelled import SPLITS, Labelled, batch
from jokbo.finetuning.tasks.pairs import Pairs
from jokbo.models import heads
from jokbo.runtime.errors import InputError
from tests.finetuning.tasks.test_classifier import SPECIAL, Words
from tests.support.networks import network

PAIRS = {
    "text": ["a man", "a dog"],
    "others": [["a person"], ["a cat"]],
    "label": ["yes", "no"],
    "sources": [["mine"]] * 2,
}
CHOICES = {
    "text": ["why", "who", "how"],
    "others": [["so", "no", "go"], ["I", "you", "he"], ["up", "by", "on"]],
    "label": ["2", "1", "3"],
    "sources": [["mine"]] * 3,
}


def data(kind: Kind, rows: dict[str, list]) -> Labelled:
    documents = DatasetDict({split: Dataset.from_dict(rows) for split in SPLITS})
    return Labelled.of(documents, "mine", kind, Words(), 20)


def said(kind: Kind, rows: dict[str, list]) -> torch.Tensor:
    """Return the logits of a network that nobody has trained."""
    found = data(kind, rows)
    return logits(
        heads.on_each(network(), labels=kind.outputs(["no", "yes"]), seed=0), kind, found.tokens["test"]
    )


@pytest.mark.parametrize("symmetric", [True, False])
def test_a_similarity_is_the_same_both_ways_round_and_entailment_is_not(symmetric: bool) -> None:
    kind = Pairs(symmetric)
    turned = {
        **PAIRS,
        "text": [others[0] for others in PAIRS["others"]],
        "others": [[t] for t in PAIRS["text"]],
    }
    one, other = said(kind, PAIRS), said(kind, turned)
    assert one.shape == (2, 2)
    assert torch.allclose(one, other, atol=1e-4) == symmetric


def test_logits_of_answers_change_places_with_them() -> None:
    turned = {**CHOICES, "others": [[c, a, b] for a, b, c in CHOICES["others"]]}
    one, other = said(Choice(), CHOICES), said(Choice(), turned)
    assert one.shape == (3, 3)
    torch.testing.assert_close(one[:, [2, 0, 1]], other, rtol=1e-4, atol=1e-4)


def test_rows_of_another_kind_are_refused() -> None:
    with pytest.raises(
        InputError, match="mine, train, label 'yes': it has other texts, which the kinds pairs"
    ):
        data(Classification(), PAIRS)
    with pytest.raises(InputError, match="label '2': it has 3 other texts: a pair has one"):
        data(Pairs(symmetric=True), CHOICES)
    with pytest.raises(InputError, match="label '2': it has 3 answers, but there are 2 labels"):
        data(Choice(), {**CHOICES, "label": ["2", "1", "2"]})


@pytest.mark.parametrize(
    ("kind", "rows"), [(Pairs(symmetric=True), PAIRS), (Pairs(symmetric=False), PAIRS), (Choice(), CHOICES)]
)
def test_every_sequence_of_a_row_has_a_gradient(kind: Kind, rows: dict[str, list]) -> None:
    found = data(kind, rows)
    model = heads.on_each(network(), labels=kind.outputs(found.classes), seed=0)
    made = batch(found.tokens["train"], found.labels["train"], torch.arange(2), SPECIAL)
    assert made["tokens_BKS"].shape[:2] == (2, len(kind.sequences(found.rows["train"][0])))
    loss, parts = Classify(model, kind, 0.0)(**made)
    loss.backward()
    torch.testing.assert_close(loss, parts["label_loss"])
    used = made["tokens_BKS"].unique().tolist()
    rows_of_gradient = model.get_input_embeddings().weight.grad.abs().sum(1)
    assert all(rows_of_gradient[token] > 0 for token in used if token != SPECIAL.padding)
