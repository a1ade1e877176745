"""The sentiment neuron: a language model of bytes, one unit of which tells sentiment (Radford et al. 2017).

New in the paper: one layer of 4,096 units, a multiplicative LSTM (Krause et al. 2016), learns to predict the next byte
of 82 million reviews, without a label (section 3). A linear classifier on its cell states after the last byte was the
best of its time on the Stanford Sentiment Treebank (4.1); and of what it used nearly all was in one unit, by whose
threshold alone 92.3% of IMDB's reviews are told right, where all units give 92.9% (4.2). In the mLSTM the gates see
not the last hidden state but m = (W x) * (U h), so that each byte has a recurrent matrix of its own. Weights of the
recurrence are normalised (Salimans and Kingma 2016). Features are the cell states, bounded by tanh (section 3).

A byte-level tokenizer without merges (kind byte_bpe, vocabulary 258: two marks, then all bytes) makes the text.
Departures: each block starts from zero states, where the paper carried them from block to block of one long text; it
has no dropout, here `size.dropout` acts on what the output layer reads.

Size: one layer; `width` is the number of units, `more` holds `embedding` (64 in the authors' code).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from jokbo.systems.common import Marks, NextTokenObjective, Paper, Size, at_last, next_token_batch

TITLE, YEAR, OBJECTIVE = "Sentiment neuron", 2017, "next byte"
NATS = "loss"

# Wolfram's Neural Net Repository counts 86,245,112 in the published weights: with the 248 bytes that UTF-8 can hold,
# and the gains of weight normalisation (10 * 4096) multiplied into the weights.
PAPER_SIZES = {
    "mLSTM": Paper(
        Size(248, 1, 4096, 1, 256, more={"embedding": 64}),
        86_245_112,
        "all but the gains of weight norm",
        0.0,
    )
}


class MultiplicativeLSTM(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size
        width, embedding = size.width, size.more["embedding"]
        self.embedding = nn.Embedding(size.vocabulary, embedding)
        self.input_factor = weight_norm(nn.Linear(embedding, width, bias=False))
        self.state_factor = weight_norm(nn.Linear(width, width, bias=False))
        self.input_gates = weight_norm(nn.Linear(embedding, 4 * width))
        self.factor_gates = weight_norm(nn.Linear(width, 4 * width, bias=False))
        self.dropout = nn.Dropout(size.dropout)
        self.bytes = nn.Linear(width, size.vocabulary)

    @torch.compiler.disable  # it would unroll the loop
    def states(self, tokens_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden and cell states after each token, both [B, T, D]."""
        embedded_BTE = self.embedding(tokens_BT)
        factors_BTD, gates_BTG = self.input_factor(embedded_BTE), self.input_gates(embedded_BTE)
        # each access to these normalises anew
        factor_DD, gates_GD = self.state_factor.weight.T, self.factor_gates.weight.T
        hidden_BD = cell_BD = torch.zeros_like(factors_BTD[:, 0])
        hidden, cells = [], []
        for factor_BD, gates_BG in zip(factors_BTD.unbind(1), gates_BTG.unbind(1), strict=True):
            made_BG = torch.addmm(gates_BG, factor_BD * (hidden_BD @ factor_DD), gates_GD)
            taken, kept, shown, new = made_BG.chunk(4, dim=-1)
            cell_BD = kept.sigmoid() * cell_BD + taken.sigmoid() * new.tanh()
            hidden_BD = shown.sigmoid() * cell_BD.tanh()
            hidden.append(hidden_BD)
            cells.append(cell_BD)
        return torch.stack(hidden, dim=1), torch.stack(cells, dim=1)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Logits [B, T, V] of the byte after each."""
        return self.bytes(self.dropout(self.states(tokens_BT)[0]))


def network(size: Size, marks: Marks, seed: int) -> MultiplicativeLSTM:
    torch.manual_seed(seed)
    return MultiplicativeLSTM(size)


Objective = NextTokenObjective
batch = next_token_batch


def features(network: MultiplicativeLSTM, tokens_BT: Tensor, marks: Marks) -> Tensor:
    """tanh of the cell states after each row's last byte, [B, D]."""
    return at_last(network.states(tokens_BT)[1], tokens_BT, marks.padding).tanh()


@dataclass(frozen=True)
class Unit:
    """One unit as a classifier: positive where sign * feature > sign * threshold."""

    index: int
    threshold: float
    sign: int

    def accuracy(self, features_ND: np.ndarray, labels_N: np.ndarray) -> float:
        positive_N = self.sign * features_ND[:, self.index] > self.sign * self.threshold
        return float((positive_N == (labels_N == 1)).mean())


def best_unit(features_ND: np.ndarray, labels_N: np.ndarray) -> Unit:
    """The unit that with the best of all thresholds tells labels 1 from 0 most often, chosen on these texts.

    How well it does has to be asked of others: unit.accuracy(held-out features, their labels).
    """
    count = len(labels_N)
    order_ND = np.argsort(features_ND, axis=0, kind="stable")
    sorted_ND = np.take_along_axis(features_ND, order_ND, axis=0)
    signs_ND = np.where(labels_N[order_ND] == 1, 1, -1)
    # with the first n + 1 below the threshold, those above called positive: right ones, less those of calling all so
    gains_ND = -np.cumsum(signs_ND, axis=0)[:-1]
    right_ND = gains_ND + (labels_N == 1).sum()
    margins_ND = np.maximum(right_ND, count - right_ND)
    margins_ND[sorted_ND[1:] == sorted_ND[:-1]] = 0  # no threshold lies between equal values
    place, index = np.unravel_index(margins_ND.argmax(), margins_ND.shape)
    sign = 1 if 2 * right_ND[place, index] >= count else -1
    return Unit(int(index), float(sorted_ND[place : place + 2, index].mean()), sign)
