"""What is hidden of a text is as the papers say, and the loss is that of the hidden tokens."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from jokbo.systems import masking
from jokbo.systems.common import SpecialTokens, rng_of
from tests.systems.all_systems import SPECIAL_TOKENS, module_of, size_of

MASK, VOCABULARY = 5, 1000
CORRUPTION = masking.Corruption(MASK, VOCABULARY)


def sequences(count: int, length: int) -> torch.Tensor:
    return torch.from_numpy(rng_of(0, 0, "rows").integers(MASK + 1, VOCABULARY, (count, length)))


def within(found: float, expected: float, number: int) -> bool:
    """Whether a share of so many trials is what is expected, within four standard deviations."""
    return abs(found - expected) < 4 * np.sqrt(expected * (1 - expected) / number) + 1e-12


def test_shares_of_what_is_masked_replaced_and_kept() -> None:
    tokens_BT = sequences(2000, 100)
    found = masking.masked(tokens_BT, torch.ones(2000, 100), rng_of(0, 1), CORRUPTION)
    assert found.positions_BK.shape == (2000, 15)
    assert torch.equal(found.targets_BK, tokens_BT.gather(1, found.positions_BK))
    assert torch.equal(found.weights_BK, torch.ones(2000, 15))
    new_BK = found.inputs_BT.gather(1, found.positions_BK)
    same = (new_BK == found.targets_BK).double().mean().item()
    masks = (new_BK == MASK).double().mean().item()
    ordinary = VOCABULARY - MASK - 1
    assert within(masks, 0.8, 30_000)
    assert within(same, 0.1 + 0.1 / ordinary, 30_000)
    randoms = new_BK[(new_BK != MASK) & (new_BK != found.targets_BK)]
    assert within(len(randoms) / 30_000, 0.1 * (1 - 1 / ordinary), 30_000)
    assert randoms.min() == MASK + 1  # 3,000 random tokens of 994: each end comes
    assert randoms.max() > VOCABULARY - 5
    untouched = torch.ones(2000, 100, dtype=torch.bool).scatter(1, found.positions_BK, False)
    assert untouched.sum() == 2000 * 85  # positions differ within a sequence
    assert torch.equal(found.inputs_BT[untouched], tokens_BT[untouched])
    share_T = np.bincount(found.positions_BK.flatten().numpy(), minlength=100) / 2000
    assert all(within(share, 0.15, 2000) for share in share_T)  # no position is preferred


def test_only_eligible_tokens_are_chosen_and_short_rows_have_fewer() -> None:
    tokens_BT = sequences(3, 40)
    eligible_BT = torch.zeros(3, 40, dtype=torch.bool)
    eligible_BT[0], eligible_BT[1, 7:27] = True, True
    found = masking.masked(tokens_BT, eligible_BT, rng_of(0, 2), replace(CORRUPTION, kept=0, random=0))
    assert ((found.weights_BK > 0).sum(1)).tolist() == [6, 3, 0]
    assert found.weights_BK.mean() == pytest.approx(1)
    hidden_BT = found.inputs_BT == MASK
    assert hidden_BT.sum(1).tolist() == [6, 3, 0]
    assert not hidden_BT[~eligible_BT].any()
    assert torch.equal(found.inputs_BT[~hidden_BT], tokens_BT[~hidden_BT])


def test_tokens_may_be_likelier_than_others() -> None:
    likelier_BT = torch.ones(20_000, 2)
    likelier_BT[:, 1] = 3
    found = masking.masked(sequences(20_000, 2), likelier_BT, rng_of(0, 3), CORRUPTION, rate=0.5)
    assert within((found.positions_BK == 1).double().mean().item(), 0.75, 20_000)


def test_positions_of_one_span_fare_alike() -> None:
    tokens_BT = sequences(3000, 12)
    positions_BK = np.tile([2, 3, 4, 8, 9, 2], (3000, 1))
    valid_BK, spans_BK = positions_BK >= 0, np.tile([0, 0, 0, 1, 1, 5], (3000, 1))
    valid_BK[:, 5] = False
    found = masking.replaced(tokens_BT, positions_BK, valid_BK, rng_of(0, 4), CORRUPTION, spans_BK)
    assert torch.equal(found.weights_BK > 0, torch.from_numpy(valid_BK))
    changed_BT = (found.inputs_BT != tokens_BT).double()
    assert changed_BT.sum(0).nonzero().flatten().tolist() == [2, 3, 4, 8, 9]
    new_BK = found.inputs_BT.gather(1, found.positions_BK)
    masks_BK = new_BK == MASK
    assert torch.equal(masks_BK[:, 0], masks_BK[:, 2])
    assert torch.equal(masks_BK[:, 3], masks_BK[:, 4])
    assert not torch.equal(masks_BK[:, 0], masks_BK[:, 3])
    assert within(masks_BK[:, [0, 3]].double().mean().item(), 0.8, 6000)
    whole = (new_BK[:, :3] == found.targets_BK[:, :3]).all(1).double().mean().item()
    assert within(whole, 0.1, 3000)
    random_B = ~masks_BK[:, 0] & (new_BK[:, 0] != found.targets_BK[:, 0])
    assert (new_BK[random_B, 0] != new_BK[random_B, 1]).double().mean() > 0.95  # each a token of its own


def test_spans_are_of_the_lengths_drawn_and_all_layouts_equally_likely() -> None:
    # 3 of 7 positions as spans of 2 and then, cut to 1 by the budget, of 2: 20 ways to lay them out
    found = masking.spans(np.full(24_000, 7), np.full((24_000, 3), 2), rng_of(0, 6), rate=3 / 7)
    layouts = Counter(map(tuple, np.concatenate([found.positions_BK, found.spans_BK], axis=1).tolist()))
    ways = {(*range(a, a + 2), b, 0, 0, 1) for a in range(6) for b in range(a + 3, 7)}
    ways |= {(b, a, a + 1, 0, 1, 1) for a in range(6) for b in range(a - 1)}
    assert layouts.keys() == ways
    assert len(ways) == 20
    assert all(within(count / 24_000, 1 / len(ways), 24_000) for count in layouts.values())


def test_a_span_knows_its_ends_and_short_rows_have_fewer() -> None:
    rng = rng_of(0, 7)
    rooms_B = rng.integers(0, 60, 500)
    found = masking.spans(rooms_B, rng.integers(1, 5, (500, 9)), rng)
    assert found.valid_BK.sum(1).tolist() == np.rint(0.15 * rooms_B).tolist()
    for row, room in enumerate(rooms_B):
        positions, numbers, firsts, lasts, valid = (values[row] for values in found)
        taken = positions[valid].tolist()
        assert all(0 <= position < room for position in taken)
        for number in set(numbers[valid]):
            mine = positions[valid & (numbers == number)].tolist()
            assert mine == list(range(mine[0], mine[-1] + 1))
            assert (firsts[valid & (numbers == number)] == mine[0]).all()
            assert (lasts[valid & (numbers == number)] == mine[-1]).all()
            assert not {mine[0] - 1, mine[-1] + 1} & set(taken)  # what is beside it is to be seen


def test_loss_is_the_mean_over_the_valid_positions_however_sequences_are_shared_out() -> None:
    torch.manual_seed(0)
    tokens_BT, eligible_BT = sequences(6, 20), torch.ones(6, 20, dtype=torch.bool)
    eligible_BT[1, 4:], eligible_BT[3, 9:] = False, False
    found = masking.masked(tokens_BT, eligible_BT, rng_of(0, 5), CORRUPTION, rate=0.4)
    head, states_BTD = nn.Linear(8, VOCABULARY), torch.randn(6, 20, 8)
    positions = found[1:]
    loss = masking.masked_loss(head, states_BTD, *positions)
    slow = [
        nn.functional.cross_entropy(head(states_BTD[row, position]), tokens_BT[row, position])
        for row in range(6)
        for position, weight in zip(found.positions_BK[row], found.weights_BK[row], strict=True)
        if weight > 0
    ]
    assert len(slow) == 4 * 8 + 2 + 4
    torch.testing.assert_close(loss, torch.stack(slow).mean())
    parts = [
        masking.masked_loss(head, *part)
        for part in zip(states_BTD.split(2), *(values.split(2) for values in positions), strict=True)
    ]
    torch.testing.assert_close(torch.stack(parts).mean(), loss)


@pytest.mark.parametrize("name", ["bert", "electra", "roberta", "spanbert", "xlm"])
def test_learned_positions_begin_with_neighbours_the_most_alike(name: str, tmp_path: Path) -> None:
    network = module_of(name).network(size_of(name, tmp_path), SPECIAL_TOKENS, 0)
    tables = [module for path, module in network.named_modules() if path.endswith("position_embeddings")]
    for weight_TD in (table.weight for table in tables):
        assert weight_TD.requires_grad
        alike_TT = weight_TD @ weight_TD.T - torch.diag(torch.full((len(weight_TD),), torch.inf))
        assert ((alike_TT.argmax(1) - torch.arange(len(weight_TD))).abs() == 1).all()
    assert len(tables) == 1


def test_text_is_framed_behind_its_padding() -> None:
    special_tokens = SpecialTokens(end_of_text=0, padding=1, unknown=2, cls=3, sep=4, mask=5)
    tokens_BT = torch.tensor([[7, 8, 9], [7, 1, 1]])
    assert masking.framed(tokens_BT, special_tokens, 9).tolist() == [[3, 7, 8, 9, 4], [3, 7, 4, 1, 1]]
    assert masking.framed(tokens_BT, special_tokens, 4).tolist() == [[3, 7, 8, 4], [3, 7, 4, 1]]
