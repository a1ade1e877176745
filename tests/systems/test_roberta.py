"""RoBERTa: full blocks of running text, masks chosen anew, positions after the padding's. The rest is in test_bert."""

from __future__ import annotations

import torch

from jokbo.systems import roberta
from tests.systems.counting_text import counting_text, original, running, segments
from tests.systems.running_text import SIZE, SPECIAL_TOKENS, random_tokens, sharpened


def test_rows_are_full_and_run_on_across_documents() -> None:
    text = counting_text(*[40] * 30)
    batch = roberta.batch(text, 0, 40, 32, 1)
    crossing = 0
    for row_T in original(batch):
        assert SPECIAL_TOKENS.padding not in row_T
        assert SPECIAL_TOKENS.end_of_text not in row_T
        parts = [part for part in segments(row_T) if part]
        assert all(running(part) for part in parts)
        crossing += len(parts) == 2
        if len(parts) == 2:
            assert parts[1][0] == parts[0][-1] + 2  # the token between them is a separator
    assert crossing > 20
    assert batch["targets_BK"].min() > SPECIAL_TOKENS.mask


def test_masks_are_drawn_anew_each_time() -> None:
    text = counting_text(*[40] * 30)
    count = (text.corpus.total_tokens - 1) // 29
    passes, positions = [], []
    for step in range(2):
        batch = roberta.batch(text, step, count, 32, 1)
        firsts_B = (
            original(batch)[:, 1:3].amax(1).tolist()
        )  # one of the two is an ordinary token: it tells the sequence
        positions.append(batch["positions_BK"])
        passes.append(dict(zip(firsts_B, batch["inputs_BT"].tolist(), strict=True)))
    assert (positions[0] == positions[1]).double().mean() < 0.1
    assert passes[0].keys() == passes[1].keys()
    assert not any(passes[0][first] == passes[1][first] for first in passes[0])


def test_positions_are_counted_on_from_the_padding() -> None:
    network, tokens_BT = sharpened(roberta.network(SIZE, SPECIAL_TOKENS, 0)), random_tokens(2, SIZE.context)
    table = network.roberta.embeddings.position_embeddings.weight
    assert len(table) == SIZE.context + SPECIAL_TOKENS.padding + 1
    positions_1T = SPECIAL_TOKENS.padding + 1 + torch.arange(SIZE.context)[None]
    torch.testing.assert_close(
        network(tokens_BT).logits, network(tokens_BT, position_ids=positions_1T).logits
    )
