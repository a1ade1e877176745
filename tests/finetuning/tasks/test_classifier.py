"""GPT-1's classifier: its input, its loss L3 and the library's own network agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from jokbo.finetuning.tasks import classifier, labelled
from jokbo.finetuning.tasks.classification import Classification
from jokbo.models import access, causal, heads
from tests.support.networks import END, PADDING, VOCABULARY, network, tokens

SPECIAL = labelled.SpecialTokens(END, PADDING, (END,))


def rows() -> torch.Tensor:
    """Texts of 3, 9 and 23 tokens, each with its end of text, padded to 24."""
    batch = tokens(3)
    for row, length in zip(batch, (3, 9, 23), strict=True):
        row[length] = END
        row[length + 1 :] = PADDING
    return batch


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_outputs_are_those_of_transformers(architecture: str) -> None:
    model = heads.on_last(network(architecture), labels=3, seed=0).eval()
    expected = model(input_ids=rows(), attention_mask=rows() != PADDING).logits
    torch.testing.assert_close(heads.outputs(model, rows()), expected)


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_a_class_is_the_mean_of_what_transformers_says_of_each_token(architecture: str) -> None:
    model = heads.on_each(network(architecture), labels=["a", "b", "c"], seed=0).eval()
    expected = [model(input_ids=row[row != PADDING][None]).logits.mean(1)[0] for row in rows()]
    found = classifier.logits(model, Classification(), rows()[:, None])
    torch.testing.assert_close(found, torch.stack(expected))


def test_an_unknown_token_that_is_paddings_too_does_not_cut_the_text() -> None:
    model = heads.on_each(network(), labels=["a", "b", "c"], seed=0).eval()
    tokens_NS = rows()
    tokens_NS[:, 1] = PADDING
    ends = heads.last_tokens(tokens_NS, PADDING, END)
    assert ends.tolist() == [3, 9, 23]
    expected = [
        model(input_ids=row[None, : end + 1]).logits.mean(1)[0]
        for row, end in zip(tokens_NS, ends, strict=True)
    ]
    found = classifier.logits(model, Classification(), tokens_NS[:, None])
    torch.testing.assert_close(found, torch.stack(expected))


@pytest.mark.parametrize(("on_backbone", "labels"), [(heads.on_last, 2), (heads.on_each, ["a", "b"])])
def test_the_backbone_is_a_copy(on_backbone: Callable[..., PreTrainedModel], labels: Any) -> None:
    base = network()
    model = on_backbone(base, labels=labels, seed=0)
    for name, value in model.base_model.state_dict().items():
        assert torch.equal(value, base.base_model.state_dict()[name])
    with torch.no_grad():
        next(model.base_model.parameters()).zero_()
    assert next(base.base_model.parameters()).abs().sum() > 0


@pytest.mark.parametrize("tied", [True, False])
def test_l3_is_the_label_loss_plus_lambda_times_the_language_model_loss(tied: bool) -> None:
    """Equations 3 to 5 of the paper, a token and a text at a time; a head of its own counts as tied embeddings do."""
    base = network()
    if not tied:
        base = causal.build(
            type(base.config)(**{**base.config.to_dict(), "tie_word_embeddings": False}), seed=1
        )
    head = access.untied_head(base)
    assert (head is None) == tied
    model = heads.on_each(base, labels=["0", "1"], seed=0).eval()
    labels = torch.tensor([0, 1, 1])
    batch = labelled.batch(rows()[:, None], labels, torch.arange(3), SPECIAL)
    loss, parts = classifier.Classify(model, Classification(), 0.5, head)(**batch)
    label_nats, language_nats = [], []
    for row, label in zip(rows(), labels, strict=True):
        real = row[row != PADDING].unsqueeze(0)
        label_nats.append(-model(input_ids=real).logits.mean(1).log_softmax(-1)[0, label])
        log_probs = base.eval()(input_ids=real).logits[0].log_softmax(-1)
        language_nats += [-log_probs[t, real[0, t + 1]] for t in range(real.shape[1] - 1)]
    expected = torch.stack(label_nats).mean() + 0.5 * torch.stack(language_nats).mean()
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(parts["label_loss"], torch.stack(label_nats).mean().detach())


class Words:
    """A tokenizer of one token a letter."""

    pad_token_id, eos_token_id, sep_token_id = PADDING, END, None

    def __call__(self, texts: list[str], **_: object) -> dict[str, list[list[int]]]:
        return {"input_ids": [[(ord(letter) % (VOCABULARY - 2)) + 2 for letter in text] for text in texts]}


def test_a_text_too_long_keeps_its_end_mark() -> None:
    encoded = heads.encode(Words(), ["ab", "abcdefghij"], 6)
    assert encoded.shape == (2, 6)
    assert encoded[0, 2:].tolist() == [END, PADDING, PADDING, PADDING]
    assert encoded[1, -1] == END
    assert heads.last_tokens(encoded, PADDING).tolist() == [2, 5]
