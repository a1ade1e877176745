"""Each corruption does what its paper says, to the right number of tokens, all choices alike."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from jokbo.systems import noise

MASK, PADDING = -1, -2


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def sequences(count: int, length: int) -> np.ndarray:
    """In each sequence 0, 1, 2 ..., so that a token says where it was."""
    return np.tile(np.arange(length), (count, 1))


def near(found: float, expected: float, deviation: float, sample: int) -> bool:
    return abs(found - expected) < 4 * deviation / sample**0.5


def evenly(outcomes: Counter, kinds: int) -> bool:
    """All kinds came up, about as often as each other: chi-squared within 5 deviations of what is expected of it."""
    expected = outcomes.total() / kinds
    surplus = sum((found - expected) ** 2 / expected for found in outcomes.values())
    return len(outcomes) == kinds and surplus < kinds - 1 + 5 * (2 * (kinds - 1)) ** 0.5


def test_positions_are_any_so_many() -> None:
    chosen_BT = noise.some_of(rng(), 6000, 5, 2)
    assert (chosen_BT.sum(axis=1) == 2).all()
    assert evenly(Counter(map(bytes, chosen_BT)), 10)


def test_all_partitions_are_as_likely() -> None:
    lengths_BS = noise.partition(rng(), 6000, 6, 3)
    assert (lengths_BS.sum(axis=1) == 6).all()
    assert lengths_BS.min() == 1
    assert evenly(Counter(map(bytes, lengths_BS)), 10)  # 2 cuts at 5 positions
    assert (noise.partition(rng(), 4, 6, 1) == 6).all()
    assert (noise.partition(rng(), 4, 6, 6) == 1).all()


def test_segments() -> None:
    assert noise.segments(np.array([[2, 1, 3], [1, 4, 1]])).tolist() == [
        [0, 0, 1, 2, 2, 2],
        [0, 1, 1, 1, 1, 2],
    ]


def test_masking_and_deletion_of_a_share() -> None:
    masked_BT = noise.mask(rng(), sequences(4000, 10), 0.3, MASK)
    hidden_BT = masked_BT == MASK
    assert (hidden_BT.sum(axis=1) == 3).all()
    assert (masked_BT[~hidden_BT] == sequences(4000, 10)[~hidden_BT]).all()
    assert all(near(share, 0.3, 0.21**0.5, 4000) for share in hidden_BT.mean(axis=0))
    left_BT = noise.delete(rng(), sequences(4000, 10), 0.3)
    assert left_BT.shape == (4000, 7)
    assert (np.diff(left_BT, axis=1) > 0).all()
    assert all(near(number / 4000, 0.7, 0.21**0.5, 4000) for number in Counter(left_BT.ravel()).values())


def test_rotation_begins_anywhere() -> None:
    rotated_BT = noise.rotate(rng(), sequences(4000, 7))
    assert (np.diff(rotated_BT, axis=1) % 7 == 1).all()
    assert evenly(Counter(rotated_BT[:, 0].tolist()), 7)


def test_permutation_moves_whole_sentences() -> None:
    sentences_BT = np.tile([0, 0, 1, 2, 2, 2], (6000, 1))
    permuted_BT = noise.permute(rng(), sequences(6000, 6), sentences_BT)
    whole = {0: [0, 1], 2: [2], 3: [3, 4, 5]}
    outcomes: Counter = Counter()
    for row in permuted_BT.tolist():
        order, position = [], 0
        while position < 6:
            sentence = whole[row[position]]
            assert row[position : position + len(sentence)] == sentence
            order.append(row[position])
            position += len(sentence)
        outcomes[tuple(order)] += 1
    assert evenly(outcomes, 6)


def test_span_lengths_are_poissons() -> None:
    total = 3000
    lengths_BS, drawn_B = noise.poisson_spans(rng(), 60, total, 3.0)
    assert (lengths_BS.sum(axis=1) == total).all()
    spans = np.concatenate([row[: number - 1] for row, number in zip(lengths_BS, drawn_B, strict=True)])
    assert all((row[number:] == 0).all() for row, number in zip(lengths_BS, drawn_B, strict=True))
    assert near(spans.mean(), 3, 3**0.5, len(spans))
    assert near(spans.var(), 3, (3 + 2 * 9) ** 0.5, len(spans))  # the fourth moment less the squared variance
    for number in range(8):
        share = np.exp(-3) * 3.0**number / np.prod(np.arange(1, number + 1))
        assert near((spans == number).mean(), share, (share * (1 - share)) ** 0.5, len(spans)), number


def test_infilling_hides_a_share_in_spans_and_keeps_the_rest_in_order() -> None:
    length = 128
    filled_BT = noise.infill(rng(), sequences(2000, length), 0.3, 3.0, MASK, PADDING)
    assert filled_BT.shape == (2000, length)
    inserted, beside = 0, 0
    for row in filled_BT.tolist():
        end = row.index(PADDING) if PADDING in row else length
        assert row[end:] == [PADDING] * (length - end)
        left = [token for token in row[:end] if token != MASK]
        assert left == sorted(set(left))
        assert len(left) == length - round(0.3 * length)
        pairs = [(a, c) for a, b, c in zip(row, row[1:], row[2:], strict=False) if b == MASK and a >= 0 <= c]
        inserted += sum(c == a + 1 for a, c in pairs)
        beside += len(pairs)
    # of 38 hidden tokens the last span is what is left of one, seldom of zero: a little under exp(-3) in all
    assert 0.04 < inserted / beside < 0.055
    masks = (filled_BT == MASK).sum(axis=1)
    _, drawn_B = noise.poisson_spans(rng(), 4000, 38, 3.0)
    assert near(masks.mean(), drawn_B.mean(), 1.5 * drawn_B.std(), 2000)


def test_infilling_lays_spans_out_in_any_order() -> None:
    # 4 tokens of which 2 are hidden, in spans of which nearly all are longer than that: one mask at 3 positions
    filled_BT = noise.infill(rng(), sequences(3000, 4), 0.5, 50.0, MASK, PADDING)
    outcomes = Counter(map(tuple, filled_BT.tolist()))
    assert set(outcomes) == {
        (MASK, 2, 3, PADDING),
        (0, MASK, 3, PADDING),
        (0, 1, MASK, PADDING),
    }
    assert evenly(outcomes, 3)


def test_infilling_is_the_same_from_either_end() -> None:
    # the span that was cut to fit, never empty, would else be the last
    filled_BT = noise.infill(rng(), sequences(20000, 8), 0.5, 1.5, MASK, PADDING)
    hidden_BT = ~(filled_BT[:, :, None] == np.arange(8)).any(axis=1)
    differences_T = (hidden_BT.astype(int) - hidden_BT[:, ::-1]).mean(axis=0)
    assert all(near(difference, 0, 1, 20000) for difference in differences_T)


@pytest.mark.parametrize("mean", [0.1, 3.0])
def test_infilling_of_few_tokens_hides_as_many(mean: float) -> None:
    filled_BT = noise.infill(rng(), sequences(500, 5), 0.4, mean, MASK, PADDING)
    assert ((filled_BT >= 0).sum(axis=1) == 3).all()
    assert (np.diff(np.where(filled_BT >= 0, filled_BT, 9)[filled_BT >= 0].reshape(500, 3), axis=1) > 0).all()


def test_spans_alternate_and_all_ways_are_as_likely() -> None:
    masked_BT = noise.alternate(rng(), 6000, 9, 4, 2)
    assert (masked_BT.sum(axis=1) == 4).all()
    runs_B = (np.diff(masked_BT.astype(int), axis=1) == 1).sum(axis=1)
    assert (runs_B == 2).all()
    assert not masked_BT[:, 0].any()
    assert masked_BT[:, -1].all()
    assert evenly(Counter(map(bytes, masked_BT)), 4 * 3)  # cuts of 5 in two, of 4 in two


def test_runs_become_sentinels() -> None:
    tokens_BT = np.array([[10, 11, 12, 13, 14, 15], [20, 21, 22, 23, 24, 25]])
    masked_BT = np.array([[0, 1, 1, 0, 0, 1], [0, 0, 1, 0, 1, 1]], bool)
    assert noise.to_sentinels(tokens_BT, masked_BT, 90).tolist() == [
        [10, 90, 13, 14, 91],
        [20, 21, 90, 23, 91],
    ]
    assert noise.to_sentinels(tokens_BT, ~masked_BT, 90).tolist() == [
        [90, 11, 12, 91, 15],
        [90, 22, 91, 24, 25],
    ]
