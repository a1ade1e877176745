"""The networks without pretraining: against slow versions, and blind to padding."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from jokbo.comparison.from_scratch import Convolutions, Recurrent

VOCABULARY, PADDING = 50, 3


def convolutions() -> Convolutions:
    torch.manual_seed(0)
    return Convolutions(VOCABULARY, PADDING, embedding=6, widths=[3, 4, 5], filters=7)


def recurrent(layers: int = 1) -> Recurrent:
    torch.manual_seed(0)
    return Recurrent(VOCABULARY, PADDING, embedding=6, layers=layers, hidden_size=5)


def texts() -> torch.Tensor:
    """Rows of 9, 2, 5 and 0 tokens."""
    rows = torch.randint(PADDING + 1, VOCABULARY, (4, 9), generator=torch.Generator().manual_seed(0))
    for row, length in zip(rows, (9, 2, 5, 0), strict=True):
        row[length:] = PADDING
    return rows


@pytest.mark.parametrize("network", [convolutions(), recurrent(), recurrent(2)])
def test_padding_changes_nothing(network: nn.Module) -> None:
    wide = network(nn.functional.pad(texts(), (0, 6), value=PADDING))
    torch.testing.assert_close(network(texts()), wide)
    for row, length in ((1, 2), (2, 5)):
        torch.testing.assert_close(network(texts()[row : row + 1, :length])[0], wide[row])
    assert wide.shape == (4, network.hidden_size)
    assert wide.isfinite().all()


@pytest.mark.parametrize("network", [convolutions(), recurrent()])
def test_padding_stays_zero_in_training(network: nn.Module) -> None:
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    network(texts()).square().sum().backward()
    optimizer.step()
    assert network.embedding.weight[PADDING].count_nonzero() == 0


def test_convolutions_are_the_maximum_over_time() -> None:
    """Section 2 of the paper, a window and a filter at a time; a window may begin at any token."""
    network = convolutions()
    for row, length in ((0, 9), (1, 2)):
        words = network.embedding.weight[texts()[row, :length]]
        words = torch.cat([words, torch.zeros(4, 6)])
        expected = []
        for filters in network.filters:
            h = filters.kernel_size[0]
            for weight, bias in zip(filters.weight, filters.bias, strict=True):
                features = [torch.relu((weight.T * words[i : i + h]).sum() + bias) for i in range(length)]
                expected.append(max(features))
        torch.testing.assert_close(network(texts())[row], torch.stack(expected))


@pytest.mark.parametrize("layers", [1, 2])
def test_recurrent_reads_from_both_ends(layers: int) -> None:
    """A text alone, and the same words from the last to the first."""
    network = recurrent(layers)
    words = network.embedding.weight[texts()[2, :5]]
    expected = torch.cat([network.ahead(words)[0][-1], network.back(words.flip(0))[0][-1]])
    torch.testing.assert_close(network(texts())[2], expected)
    assert network.ahead.num_layers == network.back.num_layers == layers
