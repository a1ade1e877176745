"""What context is worth to a system, against losses that are added up token by token."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from jokbo.comparison.context import losses, with_anothers
from jokbo.comparison.copying import fitted, parts
from jokbo.systems.common import SpecialTokens

V, MASK = 12, 4
SPECIAL = SpecialTokens(end_of_text=0, padding=1, unknown=1, cls=2, sep=3, mask=MASK)


class Tiny(nn.Module):
    """A network that sees all of a row, or what comes before each position, and a source: logits [B, T, V]."""

    def __init__(self, *, causal: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(V, 8)
        self.positions = nn.Embedding(32, 8)
        self.out = nn.Linear(8, V)
        self.causal = causal

    def forward(self, tokens_BT: Tensor, source_BS: Tensor | None = None) -> Tensor:
        length = tokens_BT.shape[1]
        states_BTD = self.embedding(tokens_BT) + self.positions.weight[:length]
        weights_TT = torch.ones(length, length)
        if self.causal:
            weights_TT = weights_TT.tril()
        mixed_BTD = (weights_TT / weights_TT.sum(1, keepdim=True)) @ states_BTD.tanh()
        if source_BS is not None:
            mixed_BTD = mixed_BTD + self.embedding(source_BS).mean(1, keepdim=True)
        return self.out(mixed_BTD.tanh() * 3)


class Objective(nn.Module):
    """The three kinds of objective there are, told by what a batch has."""

    def __init__(self, *, causal: bool) -> None:
        super().__init__()
        self.network = Tiny(causal=causal)

    def forward(self, **batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        if "positions_BK" in batch:
            logits_BTV = self.network(batch["inputs_BT"])
            losses_BK = (
                -logits_BTV.log_softmax(-1)
                .gather(1, batch["positions_BK"][..., None].expand(-1, -1, V))
                .gather(2, batch["targets_BK"][..., None])
            )
            return (losses_BK[..., 0] * batch["weights_BK"]).mean(), {}
        if "source_BS" in batch:
            target_BT = batch["target_BT"]
            logits_BTV = self.network(nn.functional.pad(target_BT[:, :-1], (1, 0)), batch["source_BS"])
            return nn.functional.cross_entropy(logits_BTV.flatten(0, 1), target_BT.flatten()), {}
        tokens_BS = batch["tokens_BS"]
        logits_BTV = self.network(tokens_BS[:, :-1])
        return nn.functional.cross_entropy(logits_BTV.flatten(0, 1), tokens_BS[:, 1:].flatten()), {}


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def drawn(*shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(sum(shape)).integers(MASK + 1, V, shape))


def test_of_running_text_the_second_halfs_tokens_are_lost_after_the_first_half_of_the_row_before() -> None:
    objective, tokens_BS = Objective(causal=True), drawn(3, 9)
    expected = []
    for shift in (0, 1):
        total = 0.0
        for row in range(3):
            context = [*tokens_BS[row - shift][:4].tolist(), *tokens_BS[row][4:].tolist()]
            for position in range(4, 9):
                logits_V = objective.network(torch.tensor([context[:position]]))[0, -1]
                total -= float(logits_V.log_softmax(0)[tokens_BS[row, position]])
        expected.append(total / 15)
    assert losses(objective, {"tokens_BS": tokens_BS}, "loss") == pytest.approx(expected, abs=1e-5)


def test_a_source_is_that_of_the_row_before_and_what_is_written_stays() -> None:
    objective, source_BS, target_BT = Objective(causal=True), drawn(3, 5), drawn(3, 4)
    expected = []
    for shift in (0, 1):
        total = 0.0
        for row in range(3):
            for position in range(4):
                written = torch.tensor([[0, *target_BT[row, :position].tolist()]])
                logits_V = objective.network(written, source_BS[row - shift][None])[0, -1]
                total -= float(logits_V.log_softmax(0)[target_BT[row, position]])
        expected.append(total / 12)
    batch = {"source_BS": source_BS, "target_BT": target_BT}
    assert losses(objective, batch, "loss") == pytest.approx(expected, abs=1e-5)


def masked_batch() -> tuple[Tensor, dict[str, Tensor]]:
    """Three rows of eight, two positions each, but one in the last; the second row shows what it predicts."""
    tokens_BT = drawn(3, 8)
    positions_BK = torch.tensor([[1, 6], [0, 3], [5, 0]])
    valid_BK = torch.tensor([[True, True], [True, True], [True, False]])
    inputs_BT = tokens_BT.clone()
    for row, position in ((0, 1), (0, 6), (1, 0), (2, 5)):
        inputs_BT[row, position] = MASK
    weights_BK = valid_BK / valid_BK.float().mean()
    targets_BK = tokens_BT.gather(1, positions_BK)
    return tokens_BT, {
        "inputs_BT": inputs_BT,
        "positions_BK": positions_BK,
        "targets_BK": targets_BK,
        "weights_BK": weights_BK,
    }


def test_what_is_hidden_stays_where_it_is_among_the_tokens_of_the_row_before() -> None:
    objective = Objective(causal=False)
    tokens_BT, batch = masked_batch()
    expected = []
    for shift in (0, 1):
        total, count = 0.0, 0
        for row in range(3):
            context = (batch["inputs_BT"] if not shift else tokens_BT)[row - shift].tolist()
            own = [
                position
                for position, weight in zip(
                    batch["positions_BK"][row].tolist(), batch["weights_BK"][row].tolist(), strict=True
                )
                if weight
            ]
            for position in own:
                context[position] = int(batch["inputs_BT"][row, position])
            logits_TV = objective.network(torch.tensor([context]))[0].log_softmax(-1)
            total -= sum(float(logits_TV[position, tokens_BT[row, position]]) for position in own)
            count += len(own)
        expected.append(total / count)
    assert losses(objective, batch, "loss") == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("beside", ["segments_BT", "positions_BT"])
def test_what_goes_with_each_token_comes_with_it(beside: str) -> None:
    _, batch = masked_batch()
    batch[beside] = drawn(3, 8)
    assert torch.equal(with_anothers(batch)[beside], batch[beside].roll(1, 0))


def test_who_reads_no_context_gains_nothing_by_it() -> None:
    class Deaf(Objective):
        def forward(self, **batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            logits_V = self.network.out.bias
            targets_N = batch["tokens_BS"][:, 1:].flatten()
            return nn.functional.cross_entropy(logits_V.expand(len(targets_N), V), targets_N), {}

    own, other = losses(Deaf(causal=True), {"tokens_BS": drawn(4, 8)}, "loss")
    assert own == pytest.approx(other, abs=1e-6)


def copies(count: Callable[[list[int], int], int], seen: list[list[int]], targets: list[int]) -> list[float]:
    return [count(tokens, target) / max(len(tokens), 1) for tokens, target in zip(seen, targets, strict=True)]


def test_a_copied_token_is_one_of_those_that_are_visible() -> None:
    """Each share counted in a plain list: of running text what comes before, of a masked text what is not hidden."""
    frequencies_V = np.full(V, 1 / V)
    tokens_BS = drawn(2, 7)
    found_N3, shown_N = parts({"tokens_BS": tokens_BS}, SPECIAL, frequencies_V)
    rows = tokens_BS.tolist()
    seen = [row[:position] for row in rows for position in range(1, 7)]
    targets = [row[position] for row in rows for position in range(1, 7)]
    assert found_N3[:, 1] == pytest.approx(copies(list.count, seen, targets))
    assert (found_N3[:, 0] == 1 / V).all()
    assert not shown_N.any()

    tokens_BT, batch = masked_batch()
    found_N3, shown_N = parts(batch, SPECIAL, frequencies_V)
    hidden = [(0, 1), (0, 6), (1, 0), (1, 3), (2, 5)]
    rows = tokens_BT.tolist()
    seen = [
        [rows[row][position] for position in range(8) if (row, position) not in hidden] for row, _ in hidden
    ]
    assert found_N3[:, 1] == pytest.approx(
        copies(list.count, seen, [rows[row][position] for row, position in hidden])
    )
    assert shown_N.tolist() == [False, False, False, True, False]
    assert found_N3[:, 2].tolist() == [0, 0, 0, 1, 0]


def test_the_mixture_is_the_likeliest() -> None:
    """No other weights, in steps of a twentieth, lose less."""
    draw = np.random.default_rng(3)
    parts_N3 = draw.uniform(0.01, 1.0, (300, 3)) * np.array([0.2, 1.0, 0.5])

    def nats(weights_3: np.ndarray) -> float:
        return -float(np.log(parts_N3 @ weights_3).mean())

    tried = [np.array([a, b, 20 - a - b]) / 20 for a in range(21) for b in range(21 - a)]
    assert nats(fitted(parts_N3)) <= min(map(nats, tried)) + 1e-3
    assert math.isclose(fitted(parts_N3).sum(), 1)
