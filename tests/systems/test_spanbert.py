"""SpanBERT: its spans, what a span's boundary sees, both losses. See test_bert for the rest."""

from __future__ import annotations

from collections import Counter
from itertools import groupby

import pytest
import torch
from torch import nn

from jokbo.systems import spanbert
from tests.systems.counting_text import counting_text, document_of, original, running, segments, span_shares
from tests.systems.running_text import SIZE, SPECIAL_TOKENS, running_text, sharpened


def test_lengths_are_geometric_and_a_span_fares_as_one() -> None:
    assert pytest.approx(3.8, abs=0.01) == spanbert.CHANCES @ spanbert.LENGTHS
    text, counts, fates = counting_text(*[300] * 100), Counter(), Counter()
    for step in range(15):
        batch = spanbert.batch(text, step, 100, 128, 1)
        assert batch["weights_BK"].unique().tolist() == [1]
        assert batch["positions_BK"].shape == (100, 19)  # of 126
        new_BK = batch["inputs_BT"].gather(1, batch["positions_BK"])
        rows = zip(*(batch[name].tolist() for name in ("positions_BK", "lefts_BK", "rights_BK")), strict=True)
        for row, columns in enumerate(rows):
            for (left, right), group in groupby(enumerate(zip(*columns, strict=True)), lambda p: p[1][1:]):
                tokens = [token for token, _ in group]
                positions = [columns[0][token] for token in tokens]
                assert positions == list(range(left + 1, right))
                counts[len(positions)] += 1
                masks = [bool(new_BK[row, token] == SPECIAL_TOKENS.mask) for token in tokens]
                kept = [bool(new_BK[row, token] == batch["targets_BK"][row, token]) for token in tokens]
                assert all(masks) or not any(masks)
                fates["mask" if masks[0] else "kept" if all(kept) else "random"] += 1
    assert set(counts) == set(spanbert.LENGTHS.tolist())
    number = sum(counts.values())
    for length, share in span_shares(spanbert.CHANCES, 19).items():
        assert abs(counts[length] / number - share) < 4 * (share * (1 - share) / number) ** 0.5
    for fate, share in {"mask": 0.8, "kept": 0.1, "random": 0.1}.items():
        assert abs(fates[fate] / number - share) < 4 * (share * (1 - share) / number) ** 0.5


def test_a_row_is_one_segment_of_one_document() -> None:
    text = counting_text(*[300] * 20, *[9] * 80)
    lengths = set()
    for row_T in original(spanbert.batch(text, 0, 200, 32, 1)):
        (segment,) = segments(row_T)
        assert running(segment)
        assert document_of(text, segment[0]) == document_of(text, segment[-1])
        lengths.add(len(segment))
    assert lengths == {30, 9}


def test_losses_are_those_of_the_paper_token_by_token() -> None:
    network = sharpened(spanbert.network(SIZE, SPECIAL_TOKENS, 0))
    batch = spanbert.batch(running_text(), 0, 40, 32, 1)
    inputs_BT, original_BT = batch["inputs_BT"], original(batch)
    assert (batch["weights_BK"] == 0).any()
    words, boundaries = [], []
    for row, (row_T, positions_K) in enumerate(zip(inputs_BT, batch["positions_BK"], strict=True)):
        text_T = row_T[row_T != SPECIAL_TOKENS.padding]
        states_TD = network.bert(text_T[None]).last_hidden_state[0]
        logits_TV = network(text_T[None]).logits[0]
        hidden = set(positions_K[batch["weights_BK"][row] > 0].tolist())
        for position in hidden:
            target = original_BT[row, position]
            left = max(set(range(position)) - hidden)
            right = min(set(range(position, len(text_T))) - hidden)
            inner_D = network.boundary.positions.weight[position - left - 1]
            beside_D = network.boundary.layers(torch.cat([states_TD[left], states_TD[right], inner_D]))
            words.append(nn.functional.cross_entropy(logits_TV[position], target))
            boundaries.append(nn.functional.cross_entropy(network.cls.predictions.decoder(beside_D), target))
    found, metrics = spanbert.Objective(network, SPECIAL_TOKENS)(**batch)
    torch.testing.assert_close(metrics["masked"], torch.stack(words).mean())
    torch.testing.assert_close(metrics["boundary"], torch.stack(boundaries).mean())
    torch.testing.assert_close(found, metrics["masked"] + metrics["boundary"])
