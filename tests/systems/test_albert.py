"""ALBERT: shared layers, factorised embeddings, n-grams, the order of segments. See test_bert for the rest."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from jokbo.systems import albert
from tests.systems import running_text
from tests.systems.counting_text import counting_text, document_of, original, running, segments, span_shares
from tests.systems.running_text import SPECIAL_TOKENS

SIZE = replace(running_text.SIZE, more={"embedding": 16})


def test_layers_are_one_and_embeddings_are_narrow() -> None:
    shallow, deep = (albert.network(replace(SIZE, layers=layers), SPECIAL_TOKENS, 0) for layers in (1, 6))
    assert shallow.num_parameters() == deep.num_parameters()
    assert running_text.same(shallow.state_dict(), deep.state_dict())
    tokens_BT = running_text.random_tokens(2, 20)
    first, second = (running_text.sharpened(network)(tokens_BT)[0] for network in (shallow, deep))
    assert not torch.allclose(first, second)
    assert shallow.albert.embeddings.word_embeddings.weight.shape == (SIZE.vocabulary, 16)
    assert shallow.predictions.decoder.weight is shallow.albert.embeddings.word_embeddings.weight


def test_segments_are_consecutive_and_swapped_in_half_of_the_pairs() -> None:
    text = counting_text(*[300] * 40, *[9] * 40)
    labels = []
    for step in range(50):
        batch = albert.batch(text, step, 40, 32, 1)
        rows = zip(original(batch), batch["segments_BT"], batch["swapped_B"].tolist(), strict=True)
        for row_T, segments_T, swapped in rows:
            first, second = found = segments(row_T)
            assert segments_T.sum() == len(second) + 1
            assert segments_T[len(first) + 2 : len(first) + 3 + len(second)].all()
            early, late = found[::-1] if swapped else found
            assert running(early + late)
            assert document_of(text, early[0]) == document_of(text, late[-1])
            labels.append(swapped)
    assert abs(np.mean(labels) - 0.5) < 4 * 0.5 / len(labels) ** 0.5


def test_lengths_of_ngrams() -> None:
    text, counts = counting_text(*[300] * 100), Counter()
    for step in range(20):
        batch = albert.batch(text, step, 50, 128, 1)
        assert batch["weights_BK"].unique().tolist() == [1]  # 19 of 125 in each sequence
        assert batch["positions_BK"].shape == (50, 19)
        assert batch["targets_BK"].min() > SPECIAL_TOKENS.mask  # the inner [SEP] is never hidden
        for row_T, positions_K in zip(original(batch), batch["positions_BK"], strict=True):
            separator = len(segments(row_T)[0]) + 1
            ranks_K = positions_K - (positions_K > separator).long()  # an n-gram may reach from A into B
            breaks = np.flatnonzero(np.diff(ranks_K) != 1) + 1
            counts.update(np.diff([0, *breaks, 19]).tolist())
    shares, number = span_shares([6 / 11, 3 / 11, 2 / 11], 19), sum(counts.values())
    assert number / 1000 == pytest.approx(19 / (18 / 11), rel=0.05)
    for length, share in shares.items():
        assert abs(counts[length] / number - share) < 4 * (share * (1 - share) / number) ** 0.5


def test_each_token_of_an_ngram_fares_for_itself() -> None:
    text = counting_text(*[300] * 100)
    batch = albert.batch(text, 0, 1000, 32, 1)
    new_BK = batch["inputs_BT"].gather(1, batch["positions_BK"])
    for same, share in ((new_BK == SPECIAL_TOKENS.mask, 0.8), (new_BK == batch["targets_BK"], 0.1)):
        valid = batch["weights_BK"] > 0
        assert abs(same[valid].double().mean() - share) < 4 * (share * (1 - share) / valid.sum()) ** 0.5
    beside_BK = batch["positions_BK"].diff(dim=1) == 1
    masks_BK = new_BK == SPECIAL_TOKENS.mask
    assert (masks_BK[:, :-1] != masks_BK[:, 1:])[beside_BK].double().mean() > 0.25  # 0.32 were they strangers
