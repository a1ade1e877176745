"""The sentiment neuron: a language model of bytes, one neuron of which tells sentiment (Radford et al. 2017).

New in the paper: one layer of 4,096 neurons, a multiplicative LSTM (Krause et al. 2016), learns to predict the next
byte of 82 million reviews, without a label (section 3). A linear classifier on its cell states after the last byte was
the best of its time on the Stanford Sentiment Treebank (4.1). Nearly all that it used was in one neuron: a threshold on
that alone tells 92.3% of IMDB's reviews right, and all neurons 92.9% (4.2). In the mLSTM the gates see not the last
hidden state but m = (W x) * (U h), so that each byte has a recurrent matrix of its own. Weights of the recurrence are
normalised (Salimans and Kingma 2016). Features are the cell states, bounded by tanh (section 3).

A byte-level tokenizer without merges makes the text (kind byte_bpe, vocabulary 258: two special tokens, all bytes).
Departures: each block starts from zero states, where the paper carried them from block to block of one long text; the
paper has no dropout, here `size.dropout` acts on what the output layer reads.

Size: one layer; `hidden_size` is the number of neurons, `more` holds `embedding` (64 in the authors' code).

Shapes: B sequences of a batch, T tokens of a sequence, V vocabulary, N texts, E numbers of an embedding, D neurons,
F = 3 D sigmoid gates, G = 4 D gates, the last D of which are new contents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.parametrizations import weight_norm

from jokbo.models.heads import Head
from jokbo.systems.common import (
    NextTokenObjective,
    Paper,
    Size,
    SpecialTokens,
    mean_state,
    next_token_batch,
    not_compiled,
)

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


class Recurrence(torch.autograd.Function):
    """The mLSTM over time, from zero states, with gradients by hand.

    autograd would add each step's share to the gradient of each matrix, a pass over all of it for every byte. Here one
    product over all steps does the same.
    """

    @staticmethod
    def forward(
        ctx: Any, factors_TBD: Tensor, gates_TBG: Tensor, factor_DD: Tensor, gates_DG: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return hidden and cell states, [T, B, D] each, in float32 whatever the matrix products are in.

        `factors_TBD` and `gates_TBG` are the bytes' parts of factors and gates; the other two are the recurrent
        matrices.
        """
        factor_DD, gates_DG = factor_DD.to(factors_TBD), gates_DG.to(factors_TBD)
        exact = torch.promote_types(factors_TBD.dtype, torch.float32)
        hidden_size = len(factor_DD)
        hidden_BD = cell_BD = torch.zeros_like(factors_TBD[0], dtype=exact)
        hidden, cells, mixed, opened, new = [], [], [], [], []
        for factor_BD, gate_BG in zip(factors_TBD, gates_TBG, strict=True):
            mixed_BD = hidden_BD.to(factor_BD) @ factor_DD
            made_BG = torch.addmm(gate_BG, factor_BD * mixed_BD, gates_DG).to(exact)
            open_BF, new_BD = made_BG[:, : 3 * hidden_size].sigmoid(), made_BG[:, 3 * hidden_size :].tanh()
            taken_BD, kept_BD, shown_BD = open_BF.chunk(3, dim=-1)
            cell_BD = torch.addcmul(kept_BD * cell_BD, taken_BD, new_BD)
            hidden_BD = shown_BD * cell_BD.tanh()
            hidden.append(hidden_BD)
            cells.append(cell_BD)
            if any(ctx.needs_input_grad):
                mixed.append(mixed_BD)
                opened.append(open_BF)
                new.append(new_BD)
        found = torch.stack(hidden), torch.stack(cells)
        if any(ctx.needs_input_grad):
            kept = (torch.stack(each) for each in (mixed, opened, new))
            ctx.save_for_backward(factors_TBD, factor_DD, gates_DG, *found, *kept)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_hidden_TBD: Tensor, to_cells_TBD: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of the four inputs, given those of hidden and cell states."""
        factors_TBD, factor_DD, gates_DG, hidden_TBD, cells_TBD, mixed_TBD, open_TBF, new_TBD = (
            ctx.saved_tensors
        )
        taken_TBD, kept_TBD, shown_TBD = open_TBF.chunk(3, dim=-1)
        before_TBD, out_TBD = _before(cells_TBD), cells_TBD.tanh()
        # what the gradients of cell, cell, hidden and cell state are multiplied with on their way to the four gates
        slopes_TBG = torch.cat(
            [
                new_TBD * taken_TBD * (1 - taken_TBD),
                before_TBD * kept_TBD * (1 - kept_TBD),
                out_TBD * shown_TBD * (1 - shown_TBD),
                taken_TBD * (1 - new_TBD.square()),
            ],
            dim=-1,
        )
        shown_slopes_TBD = shown_TBD * (1 - out_TBD.square())
        hidden_BD = cell_BD = torch.zeros_like(cells_TBD[0])
        to_gates, to_factored = [], []
        for time in reversed(range(len(cells_TBD))):
            hidden_BD = hidden_BD + to_hidden_TBD[time]
            cell_BD = torch.addcmul(cell_BD + to_cells_TBD[time], hidden_BD, shown_slopes_TBD[time])
            gates_BG = torch.cat([cell_BD, cell_BD, hidden_BD, cell_BD], dim=-1) * slopes_TBG[time]
            to_gates.append(gates_BG.to(factors_TBD))
            to_factored.append(to_gates[-1] @ gates_DG.T)
            hidden_BD = ((to_factored[-1] * factors_TBD[time]) @ factor_DD.T).to(cells_TBD)
            cell_BD = cell_BD * kept_TBD[time]
        to_gates_TBG, to_factored_TBD = (torch.stack(each[::-1]) for each in (to_gates, to_factored))
        inputs_TBD = _before(hidden_TBD).to(factors_TBD)
        to_factor_DD = inputs_TBD.flatten(0, 1).T @ (to_factored_TBD * factors_TBD).flatten(0, 1)
        to_gates_DG = (factors_TBD * mixed_TBD).flatten(0, 1).T @ to_gates_TBG.flatten(0, 1)
        return (
            to_factored_TBD * mixed_TBD,
            to_gates_TBG,
            to_factor_DD.to(cells_TBD),
            to_gates_DG.to(cells_TBD),
        )


def _before(states_TBD: Tensor) -> Tensor:
    """Return the states that each step begins with, [T, B, D]."""
    return torch.cat([torch.zeros_like(states_TBD[:1]), states_TBD[:-1]])


class MultiplicativeLSTM(nn.Module):
    """The language model."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size
        hidden_size, embedding = size.hidden_size, size.more["embedding"]
        self.embedding = nn.Embedding(size.vocabulary, embedding)
        self.input_factor = weight_norm(nn.Linear(embedding, hidden_size, bias=False))
        self.state_factor = weight_norm(nn.Linear(hidden_size, hidden_size, bias=False))
        self.input_gates = weight_norm(nn.Linear(embedding, 4 * hidden_size))
        self.factor_gates = weight_norm(nn.Linear(hidden_size, 4 * hidden_size, bias=False))
        self.dropout = nn.Dropout(size.dropout)
        self.bytes = Head(hidden_size, size.vocabulary)

    @not_compiled
    def states(self, tokens_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Return hidden and cell states after each token, [B, T, D] each."""
        embedded_BTE = self.embedding(tokens_BT)
        hidden_TBD, cells_TBD = Recurrence.apply(
            self.input_factor(embedded_BTE).transpose(0, 1),
            self.input_gates(embedded_BTE).transpose(0, 1),
            self.state_factor.weight.T,
            self.factor_gates.weight.T,
        )
        return hidden_TBD.transpose(0, 1), cells_TBD.transpose(0, 1)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Return the logits of the byte after each, [B, T, V]."""
        return self.bytes(self.dropout(self.states(tokens_BT)[0]))


def network(size: Size, special_tokens: SpecialTokens, seed: int) -> MultiplicativeLSTM:
    """Return the network with fresh weights, a function of the arguments alone."""
    torch.manual_seed(seed)
    return MultiplicativeLSTM(size)


Objective = NextTokenObjective
batch = next_token_batch


def features(network: MultiplicativeLSTM, tokens_BT: Tensor, special_tokens: SpecialTokens) -> Tensor:
    """Return the mean over a text's bytes of tanh of the cell states, [B, D]; the paper reads those after the last."""
    return mean_state(network.states(tokens_BT)[1].tanh(), tokens_BT != special_tokens.padding)


@dataclass(frozen=True)
class Neuron:
    """One neuron as a classifier: positive where sign * feature > sign * threshold."""

    index: int
    threshold: float
    sign: int

    def right(self, features_ND: np.ndarray, labels_N: np.ndarray) -> np.ndarray:
        """Return whether it tells each text's label, [N]."""
        positive_N = self.sign * features_ND[:, self.index] > self.sign * self.threshold
        return positive_N == (labels_N == 1)


def best_neuron(features_ND: np.ndarray, labels_N: np.ndarray) -> Neuron:
    """Return the neuron that, with the best of all thresholds, tells labels 1 from 0 most often on these texts.

    Other texts have to say how well it does: neuron.right(their features, their labels).
    """
    count = len(labels_N)
    order_ND = np.argsort(features_ND, axis=0, kind="stable")
    sorted_ND = np.take_along_axis(features_ND, order_ND, axis=0)
    signs_ND = np.where(labels_N[order_ND] == 1, 1, -1)
    # with the first n + 1 below the threshold and those above it called positive: how many more are right than if all
    # were called positive
    gains_ND = -np.cumsum(signs_ND, axis=0)[:-1]
    right_ND = gains_ND + (labels_N == 1).sum()
    margins_ND = np.maximum(right_ND, count - right_ND)
    margins_ND[sorted_ND[1:] == sorted_ND[:-1]] = 0  # no threshold lies between equal values
    rank, index = np.unravel_index(margins_ND.argmax(), margins_ND.shape)
    sign = 1 if 2 * right_ND[rank, index] >= count else -1
    return Neuron(int(index), float(sorted_ND[rank : rank + 2, index].mean()), sign)
