"""BERT: its pairs, its static masks, its loss; and what RoBERTa, ALBERT and SpanBERT share with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModelForMaskedLM, AutoModelForPreTraining

from jokbo.systems import albert, bert, roberta, spanbert
from jokbo.systems.common import rng_of
from tests.systems.counting_text import counting_text, document_of, original, running, segments
from tests.systems.running_text import (
    SIZE as SMALL,
)
from tests.systems.running_text import (
    SPECIAL_TOKENS,
    random_tokens,
    running_text,
    same,
    sharpened,
    trained,
    unigram_entropy,
)

SIZE = replace(SMALL, more={"embedding": 16})
MODULES = [bert, roberta, albert, spanbert]
SYSTEMS = pytest.mark.parametrize("system", MODULES, ids=[module.TITLE for module in MODULES])


def sequences_of_many_steps(text: object, steps: int) -> Iterator[tuple[torch.Tensor, torch.Tensor, int]]:
    """Row as it was, its segment ids, whether it is unrelated."""
    for step in range(steps):
        batch = bert.batch(text, step, 40, 32, 1)
        yield from zip(original(batch), batch["segments_BT"], batch["unrelated_B"].tolist(), strict=True)


def test_half_of_the_pairs_run_on_and_half_come_from_two_documents() -> None:
    text = counting_text(*[300] * 40, *[9] * 40)
    labels, cuts = [], set()
    for row_T, segments_T, unrelated in sequences_of_many_steps(text, 50):
        first, second = segments(row_T)
        assert running(first)
        assert running(second)
        owners = [document_of(text, token) for token in (first[0], first[-1], second[0], second[-1])]
        assert owners[0] == owners[1]
        assert owners[2] == owners[3]
        if unrelated:
            assert owners[0] != owners[2]
        else:
            assert second[0] == first[-1] + 1
            assert owners[0] == owners[2]
        if owners[0] < 40 and owners[2] < 40:  # documents long enough to fill a sequence
            assert len(first) + len(second) == 29
            cuts.add(len(first))
        begin = len(first) + 2
        assert segments_T.tolist() == [0] * begin + [1] * (len(second) + 1) + [0] * (31 - begin - len(second))
        labels.append(unrelated)
    assert abs(np.mean(labels) - 0.5) < 4 * 0.5 / len(labels) ** 0.5
    assert cuts == set(range(1, 29))


def test_all_text_is_read_about_as_often() -> None:
    """Of a window's tokens the second part may give way to another document, so look at the windows."""
    text = counting_text(*[300] * 40, *[9] * 40)
    count = text.corpus.total_tokens // 29
    _, windows_N2 = bert.windows(text.corpus, 0, count, 29, 1)
    seen = np.zeros(text.corpus.total_tokens, int)
    for start, end in windows_N2:
        seen[start:end] += 1
    assert seen[1 : 40 * 301].mean() == pytest.approx(1, abs=0.05)
    assert (seen[1 : 40 * 301] > 0).mean() > 0.9


def test_masks_are_static_and_of_ten_kinds() -> None:
    text = counting_text(*[60] * 20)
    room, count = 29, text.corpus.total_tokens // 29

    def passed(number: int) -> dict[int, list[int]]:
        sequences_B, _ = bert.windows(text.corpus, number, count, room, 1)
        rows_BT = bert.batch(text, number, count, 32, 1)["inputs_BT"]
        return dict(zip(sequences_B.tolist(), rows_BT.tolist(), strict=True))

    passes = [passed(number) for number in range(12)]
    assert sorted(passes[0]) == list(range(count))
    assert passes[10] == passes[0]
    assert passes[11] == passes[1]
    for number in range(1, 10):
        assert not any(passes[number][sequence] == passes[0][sequence] for sequence in range(count))


def test_the_eligible_are_ordinary_tokens() -> None:
    batch = bert.batch(running_text(), 0, 200, 32, 1)
    assert batch["positions_BK"].shape == (200, 5)
    assert batch["targets_BK"][batch["weights_BK"] > 0].min() > SPECIAL_TOKENS.mask
    eligible_B = (original(batch) > SPECIAL_TOKENS.mask).sum(1)
    expected = torch.from_numpy(np.rint(0.15 * eligible_B.numpy()))
    assert torch.equal((batch["weights_BK"] > 0).sum(1).double(), expected)


def labels_of(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """As transformers asks for them: -100 where nothing is to be predicted."""
    labels_BT = torch.full_like(batch["inputs_BT"], -100)
    for row, position in (batch["weights_BK"] > 0).nonzero().tolist():
        labels_BT[row, batch["positions_BK"][row, position]] = batch["targets_BK"][row, position]
    return labels_BT


@pytest.mark.parametrize(("system", "pair"), [(bert, "unrelated_B"), (albert, "swapped_B")])
def test_loss_of_pairs_is_transformers_own(system: ModuleType, pair: str) -> None:
    network = sharpened(system.network(SIZE, SPECIAL_TOKENS, 0))
    batch = system.batch(running_text(), 0, 60, 32, 1)
    assert (batch["inputs_BT"] == SPECIAL_TOKENS.padding).any()
    name = {"unrelated_B": "next_sentence_label", "swapped_B": "sentence_order_label"}[pair]
    expected = network(
        batch["inputs_BT"],
        attention_mask=batch["inputs_BT"] != SPECIAL_TOKENS.padding,
        token_type_ids=batch["segments_BT"],
        labels=labels_of(batch),
        **{name: batch[pair]},
    ).loss
    found, metrics = system.Objective(network, SPECIAL_TOKENS)(**batch)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(sum(metrics.values()), expected)


def test_roberta_loss_is_transformers_own() -> None:
    network = sharpened(roberta.network(SIZE, SPECIAL_TOKENS, 0))
    batch = roberta.batch(running_text(), 0, 12, 32, 1)
    found, _ = roberta.Objective(network, SPECIAL_TOKENS)(**batch)
    torch.testing.assert_close(found, network(batch["inputs_BT"], labels=labels_of(batch)).loss)


@SYSTEMS
def test_any_even_split_of_the_rows_adds_up_to_the_same_loss(system: ModuleType) -> None:
    objective = system.Objective(sharpened(system.network(SIZE, SPECIAL_TOKENS, 0)), SPECIAL_TOKENS)
    batch = system.batch(running_text(), 0, 12, 32, 1)
    parts = [
        objective(**dict(zip(batch, rows, strict=True)))[0]
        for rows in zip(*(values.split(3) for values in batch.values()), strict=True)
    ]
    torch.testing.assert_close(torch.stack(parts).mean(), objective(**batch)[0])


@SYSTEMS
def test_a_batch_is_a_function_of_seed_and_step(system: ModuleType) -> None:
    text = running_text()
    first = system.batch(text, 5, 8, 32, 1)
    assert same(first, system.batch(text, 5, 8, 32, 1))
    assert not same(first, system.batch(text, 6, 8, 32, 1))
    assert not same(first, system.batch(text, 5, 8, 32, 2))
    assert first["inputs_BT"].shape == (8, 32)
    assert {values.shape[0] for values in first.values()} == {8}


def test_each_copy_of_a_row_has_the_numbers_of_its_own_generator() -> None:
    found_BN = bert.own_uniforms(3, np.array([7, 2, 7]), 9)
    for copy, found_N in zip((7, 2, 7), found_BN, strict=True):
        assert np.array_equal(found_N, rng_of(3, copy, "bert").random(9))


@SYSTEMS
def test_features_do_not_see_padding(system: ModuleType) -> None:
    network = sharpened(system.network(SIZE, SPECIAL_TOKENS, 0))
    tokens_BT = random_tokens(3, 20)
    tokens_BT[1, 9:], tokens_BT[2, 1:] = SPECIAL_TOKENS.padding, SPECIAL_TOKENS.padding
    found_BD = system.features(network, tokens_BT, SPECIAL_TOKENS)
    assert found_BD.shape == (3, 32)
    more_BT = nn.functional.pad(tokens_BT, (0, 9), value=SPECIAL_TOKENS.padding)
    torch.testing.assert_close(system.features(network, more_BT, SPECIAL_TOKENS), found_BD)
    for row, length, found_D in zip(tokens_BT, (20, 9, 1), found_BD, strict=True):
        torch.testing.assert_close(system.features(network, row[None, :length], SPECIAL_TOKENS)[0], found_D)
    assert not torch.allclose(found_BD[0], found_BD[1])
    assert system.features(network, random_tokens(2, 40), SPECIAL_TOKENS).shape == (
        2,
        32,
    )  # longer than the context


@SYSTEMS
def test_a_saved_network_opens_with_auto_model(system: ModuleType, tmp_path: Path) -> None:
    network, tokens_BT = sharpened(system.network(SIZE, SPECIAL_TOKENS, 0)), random_tokens(2, 20)
    network.save_pretrained(tmp_path)
    kind = AutoModelForPreTraining if system in (bert, albert) else AutoModelForMaskedLM
    opened = kind.from_pretrained(tmp_path)
    expected = network(tokens_BT).to_tuple()
    assert len(expected) == (2 if system in (bert, albert) else 1)
    torch.testing.assert_close(opened(tokens_BT).to_tuple(), expected)


@SYSTEMS
def test_weights_are_a_function_of_the_seed_and_dropout_of_the_size(system: ModuleType) -> None:
    first, again, other = (system.network(SIZE, SPECIAL_TOKENS, seed).state_dict() for seed in (0, 0, 1))
    assert same(first, again)
    assert not same(first, other)
    dropping = system.network(replace(SIZE, dropout=0.3), SPECIAL_TOKENS, 0)
    assert {module.p for module in dropping.modules() if isinstance(module, nn.Dropout)} == {0.3}


@SYSTEMS
def test_every_weight_is_trained(system: ModuleType) -> None:
    network = system.network(SIZE, SPECIAL_TOKENS, 0)
    system.Objective(network, SPECIAL_TOKENS)(**system.batch(running_text(), 0, 16, 32, 1))[0].backward()
    without = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert without == []


@SYSTEMS
def test_a_short_training_learns_more_than_how_often_each_token_comes(system: ModuleType) -> None:
    text, found = running_text(3000), []

    class Watched(system.Objective):
        def forward(self, **batch: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
            loss, metrics = super().forward(**batch)
            found.append(metrics.get("masked", loss.detach()).item())
            return loss, metrics

    watched = SimpleNamespace(network=lambda *_: system.network(SIZE, SPECIAL_TOKENS, 0), Objective=Watched)
    trained(watched, text, 100, 0.005, lambda text, step, *_: system.batch(text, step, 48, 32, 0))
    entropy, first, last = unigram_entropy(text.corpus.shards[0]), found[0], np.mean(found[-10:])
    print(f"{system.TITLE}: masked {first:.2f} to {last:.2f}, unigram entropy {entropy:.2f}")
    assert last < entropy - 0.2 < first
