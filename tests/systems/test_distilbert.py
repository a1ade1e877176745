"""DistilBERT: what the student begins with, the three losses, what is saved, training under a teacher."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForMaskedLM, BertForPreTraining, DistilBertForMaskedLM

from jokbo.data.corpus.batches import TokenCorpus
from jokbo.distillation.distil import Distil
from jokbo.models import causal
from jokbo.runtime.errors import InputError
from jokbo.systems import bert, distilbert, roberta
from jokbo.systems.common import Text, save
from tests.support import networks
from tests.systems.running_text import (
    ORDINARY,
    SIZE,
    SPECIAL_TOKENS,
    WORDS,
    random_tokens,
    running_text,
    same,
    sharpened,
    trained,
    unigram_entropy,
)


def teacher(folder: Path, layers: int = 4) -> BertForPreTraining:
    network = sharpened(bert.network(replace(SIZE, layers=layers), SPECIAL_TOKENS, 0))
    save(network, folder)
    return network


def student_of(folder: Path, layers: int = 2) -> DistilBertForMaskedLM:
    return distilbert.network(replace(SIZE, layers=layers, more={"teacher": str(folder)}), SPECIAL_TOKENS, 1)


def test_a_student_of_all_layers_is_its_teacher(tmp_path: Path) -> None:
    given, tokens_BT = teacher(tmp_path), random_tokens(3, 20)
    student = student_of(tmp_path, layers=4).eval()
    expected = given(tokens_BT).prediction_logits
    torch.testing.assert_close(student(tokens_BT).logits, expected, rtol=1e-4, atol=1e-4)


def test_a_student_without_a_teacher_or_of_another_hidden_size_is_told_so(tmp_path: Path) -> None:
    teacher(tmp_path)
    with pytest.raises(InputError, match="names no `teacher`"):
        distilbert.Objective(distilbert.network(SIZE, SPECIAL_TOKENS, 0), SPECIAL_TOKENS)
    with pytest.raises(InputError, match=r"32, 2, 32\), but .* 32, 4, 32\)"):
        distilbert.network(replace(SIZE, heads=4, more={"teacher": str(tmp_path)}), SPECIAL_TOKENS, 0)


def test_a_student_has_every_other_layer(tmp_path: Path) -> None:
    given = teacher(tmp_path)
    student = student_of(tmp_path)
    for mine, theirs in ((0, 0), (1, 2)):
        layer, source = student.distilbert.transformer.layer[mine], given.bert.encoder.layer[theirs]
        assert torch.equal(layer.ffn.lin1.weight, source.intermediate.dense.weight)
        assert torch.equal(layer.attention.v_lin.bias, source.attention.self.value.bias)
    assert student.vocab_projector.weight is student.distilbert.embeddings.word_embeddings.weight


def test_losses_against_slow_ones_however_rows_are_shared_out(tmp_path: Path) -> None:
    given, batch = teacher(tmp_path), distilbert.batch(running_text(), 0, 6, SIZE.context, 0)
    student = sharpened(student_of(tmp_path))
    objective = distilbert.Objective(student, SPECIAL_TOKENS)
    loss, metrics = objective(**batch)
    mine_BTV, theirs_BTV = student(batch["inputs_BT"]).logits, given(batch["inputs_BT"]).prediction_logits
    soft, nats = [], []
    for row in range(6):
        for position, target, weight in zip(
            *(batch[key][row] for key in ("positions_BK", "targets_BK", "weights_BK")), strict=True
        ):
            if weight > 0:
                p, q = ((logits[row, position] / 2).softmax(-1) for logits in (theirs_BTV, mine_BTV))
                soft.append(4 * (p * (p / q).log()).sum())
                nats.append(-mine_BTV[row, position].log_softmax(-1)[target])
    mine_BTD = student.distilbert(batch["inputs_BT"]).last_hidden_state
    theirs_BTD = given.bert(batch["inputs_BT"]).last_hidden_state
    norms = mine_BTD.norm(dim=-1) * theirs_BTD.norm(dim=-1)
    cosine = (1 - (mine_BTD * theirs_BTD).sum(-1) / norms).mean()
    parts = [torch.stack(soft).mean(), torch.stack(nats).mean(), cosine]
    for found, expected in zip(metrics.values(), parts, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(loss, 5 * parts[0] + 2 * parts[1] + parts[2], rtol=1e-4, atol=1e-5)
    shares = [objective(*half)[0] for half in zip(*(v.chunk(3) for v in batch.values()), strict=True)]
    torch.testing.assert_close(torch.stack(shares).mean(), loss)


def test_soft_targets_are_those_of_the_distilled_decoder() -> None:
    mine, theirs, tokens_BS = networks.network(seed=0), networks.network(seed=1), networks.tokens(4)
    weights = SimpleNamespace(soft_targets=1, language_model=0, cosine=0)
    expected, _ = Distil(mine, theirs, 3.0, weights)(
        tokens_BS, causal.mean_one(torch.ones(4, tokens_BS.shape[1] - 1))
    )
    mine_BTV, theirs_BTV = (model(tokens_BS).logits[:, :-1] for model in (mine, theirs))
    found = distilbert.soft_targets(mine_BTV, theirs_BTV, 3.0).mean()
    torch.testing.assert_close(found, expected)


def test_the_teacher_is_neither_trained_nor_saved(tmp_path: Path) -> None:
    teacher(tmp_path)
    student = student_of(tmp_path)
    objective = distilbert.Objective(student, SPECIAL_TOKENS).train()
    given = objective._teacher[0]
    assert {id(p) for p in objective.parameters()} == {id(p) for p in student.parameters()}
    assert objective.state_dict().keys() == {f"network.{name}" for name in student.state_dict()}
    assert not given.training
    objective(**distilbert.batch(running_text(), 0, 6, SIZE.context, 0))[0].backward()
    assert all(parameter.grad is None for parameter in given.parameters())
    assert all(parameter.grad is not None for parameter in student.parameters())


def test_a_saved_network_opens_with_an_auto_model(tmp_path: Path) -> None:
    teacher(tmp_path / "teacher")
    student, tokens_BT = student_of(tmp_path / "teacher").eval(), random_tokens(3, 20)
    save(student, tmp_path / "student")
    opened = AutoModelForMaskedLM.from_pretrained(tmp_path / "student").eval()
    assert torch.equal(opened(tokens_BT).logits, student(tokens_BT).logits)


def topical_text(documents: int = 400) -> Text:
    """Documents of 60 tokens, each of three words alone: a network learns it sooner than an order of words."""
    rng = np.random.default_rng(0)
    topics, words = rng.integers(WORDS // 3, size=(documents, 1)), rng.integers(3, size=(documents, 60))
    tokens = np.pad(ORDINARY + 3 * topics + words, ((0, 0), (0, 1))).flatten().astype(np.uint16)
    tokens = np.concatenate([np.zeros(1, np.uint16), tokens])
    starts, rows = np.arange(documents + 1) * 61 + 1, np.arange(documents)
    sources = np.zeros(documents, np.uint16)
    corpus = TokenCorpus("topics", (tokens,), [0], starts, rows, sources, ["a"], len(tokens))
    return Text(corpus, SPECIAL_TOKENS, SIZE.vocabulary)


def test_a_short_training_under_a_trained_teacher(tmp_path: Path) -> None:
    text = topical_text()
    wordy = SimpleNamespace(network=bert.network, Objective=Words, batch=roberta.batch)
    given, _ = trained(wordy, text, 100)
    save(given, tmp_path)
    system = SimpleNamespace(
        network=lambda size, special_tokens, seed: student_of(tmp_path, layers=1),
        Objective=distilbert.Objective,
        batch=distilbert.batch,
    )
    held = distilbert.batch(text, 1000, 64, SIZE.context, 1)
    found = []
    for steps in (0, 60):
        student, _ = trained(system, text, steps)
        found.append(distilbert.Objective(student.eval(), SPECIAL_TOKENS)(**held)[1])
    before, after = found
    print({name: (round(before[name].item(), 3), round(after[name].item(), 3)) for name in before})
    assert after["soft_targets_loss"] < 0.8 * before["soft_targets_loss"]
    assert after["cosine_loss"] < 0.5 * before["cosine_loss"]
    assert after["masked_loss"] < 0.7 * unigram_entropy(text.corpus.shards[0])


class Words(nn.Module):
    """Masked tokens alone, for the teacher."""

    def __init__(self, network: BertForPreTraining, special_tokens: object) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs_BT, positions_BK, targets_BK, weights_BK):
        states_BTD = self.network.bert(inputs_BT).last_hidden_state
        logits_BKV = self.network.cls.predictions(distilbert.gathered(states_BTD, positions_BK))
        return distilbert.weighted_mean(logits_BKV, targets_BK, weights_BK), {}


def test_batch_is_a_function_of_seed_and_step() -> None:
    text = running_text()
    first = distilbert.batch(text, 3, 8, SIZE.context, 5)
    assert same(first, distilbert.batch(text, 3, 8, SIZE.context, 5))
    assert not same(first, distilbert.batch(text, 4, 8, SIZE.context, 5))


def test_features_do_not_see_padding() -> None:
    student, tokens_BT = sharpened(distilbert.network(SIZE, SPECIAL_TOKENS, 0)), random_tokens(3, 12)
    padded_BT = nn.functional.pad(tokens_BT, (0, 9), value=SPECIAL_TOKENS.padding)
    found = distilbert.features(student, padded_BT, SPECIAL_TOKENS)
    assert found.shape == (3, SIZE.hidden_size)
    torch.testing.assert_close(
        found, distilbert.features(student, tokens_BT, SPECIAL_TOKENS), rtol=1e-4, atol=1e-5
    )
