"""Read among responses of like length, a response is what it is read by itself, and so is its gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from jokbo.alignment import lengths
from jokbo.alignment.lengths import by_length
from jokbo.sampling import response_log_probs
from tests.support.networks import network, tokens

PROMPT, RESPONSE = 4, 12
LENGTHS = [12, 1, 7, 3, 3, 0, 12, 5, 2, 9]


def read_alone(net, tokens_BS: Tensor) -> Tensor:
    return response_log_probs(net, tokens_BS, PROMPT, 1.0)


def test_numbers_and_gradients_are_those_of_the_whole_rows() -> None:
    tokens_BS = tokens(len(LENGTHS), PROMPT + RESPONSE)
    mask_BR = torch.arange(RESPONSE) < torch.tensor(LENGTHS)[:, None]
    weights_BR = torch.rand(mask_BR.shape, generator=torch.Generator().manual_seed(1)) * mask_BR
    found = {}
    for name in ("whole", "by length"):
        net = network(seed=3).double().eval()
        numbers_BR = (
            read_alone(net, tokens_BS)
            if name == "whole"
            else by_length(lambda rows, net=net: read_alone(net, rows), tokens_BS, mask_BR)
        )
        (numbers_BR * weights_BR).sum().backward()
        found[name] = numbers_BR * mask_BR, [each.grad for each in net.parameters()]
    torch.testing.assert_close(found["by length"][0], found["whole"][0], rtol=1e-9, atol=1e-9)
    for ours, theirs in zip(found["by length"][1], found["whole"][1], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)


def test_no_group_is_read_beyond_its_longest_and_what_is_beyond_is_zero() -> None:
    seen: list[tuple[int, int]] = []

    def read(tokens_BS: Tensor) -> Tensor:
        seen.append((len(tokens_BS), tokens_BS.shape[1] - PROMPT))
        return torch.ones(len(tokens_BS), tokens_BS.shape[1] - PROMPT, 2)

    mask_BR = torch.arange(RESPONSE) < torch.tensor(LENGTHS)[:, None]
    found = by_length(read, tokens(len(LENGTHS), PROMPT + RESPONSE), mask_BR)
    shortest = sorted(LENGTHS)
    groups = [shortest[i : i + lengths.ROWS] for i in range(0, len(shortest), lengths.ROWS)]
    assert seen == [(len(group), max(group)) for group in groups]
    assert found.shape == (len(LENGTHS), RESPONSE, 2)
    assert bool((found[mask_BR] == 1).all())
    assert bool((found[[1, 5]][:, 9:] == 0).all())
