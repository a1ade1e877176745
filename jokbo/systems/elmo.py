"""ELMo: the states of a language model in both directions as word vectors (Peters et al. 2018).

New in the paper: a word's vector is a function of the whole sentence, made of all layers of a language model that
was trained before on text without labels. That one (biLM, section 3.1) is two: an LSTM predicts each token from those
before it, another from those after it, both over the same token vectors and under the same softmax. What a downstream
task reads is gamma * sum_j s_j h_j over the layers, the weights s from a softmax; s and gamma are learned for the task,
while the biLM stays as it is (3.2, equation 1). A token's vector comes from its characters alone (3.4; Kim et al. 2016,
Jozefowicz et al. 2016): convolutions over 1, 2, 3 ... characters, of each filter the maximum over the token, two
highway layers, a projection. Two LSTM layers with projections follow, the second with a residual connection.

A token here is a WordPiece: `characters` makes the table of its bytes from the vocabulary's strings, `##` included.
Departures: the loss is the mean of both directions, as in the authors' code, where the paper has the sum; the softmax
is whole, where they sampled 8,192 words; states start at zero in each block and are not clipped. Dropout is between
layers and before the softmax. Matrices begin as in the authors' code, so that they keep the variance of their input:
with torch's defaults so little is left of it that for long the network learns nothing but frequencies.

Size: `hidden_size` is that of token vectors and projections, `more` holds `cells` of an LSTM, and `filters`:
(characters that a filter spans, number of filters) of each convolution.

Shapes: B sequences of a batch, T tokens of a sequence, V vocabulary, U different tokens of a batch, C characters of a
token, E numbers of a character's embedding, F filters, J layers, D numbers of a state.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from jokbo.models.heads import Head
from jokbo.systems.common import Paper, Size, SpecialTokens, Text, in_reverse, mean_state

TITLE, YEAR, OBJECTIVE = "ELMo", 2018, "next token and token before, by one LSTM each"
NATS = "loss"

PADDING, BEGIN, END, CHARACTERS = 0, 257, 258, 259  # byte b is character 1 + b
CHARACTER_SIZE = 16

# AllenNLP's table of models has 93.6M for the original, without the softmax over 793,471 words (406M more).
PAPER_SIZES = {
    "original": Paper(
        Size(
            793471,
            2,
            512,
            1,
            20,
            0.1,
            more={
                "cells": 4096,
                "filters": [(1, 32), (2, 32), (3, 64), (4, 128), (5, 256), (6, 512), (7, 1024)],
            },
        ),
        93.6e6,
        "all but the softmax",
        0.002,
    )
}


def characters(token_strings: Sequence[str], longest: int = 50) -> Tensor:
    """Return the characters of each token, int64 [V, C]: begin, its first longest - 2 bytes, end, padding.

    C is what the longest token needs, at most `longest`, and at least 7, the most characters that a filter may span.
    """
    spelled = [[BEGIN, *(1 + byte for byte in piece.encode()[: longest - 2]), END] for piece in token_strings]
    table_VC = torch.full((len(token_strings), max(7, *map(len, spelled))), PADDING)
    for row, spelling in zip(table_VC, spelled, strict=True):
        row[: len(spelling)] = torch.tensor(spelling)
    return table_VC


def begin(linear: nn.Linear, bias: float = 0.0) -> None:
    """Set a layer's matrix so that it keeps the variance of its input, and its bias to a constant.

    torch's default would lose two thirds of the variance at each layer.
    """
    nn.init.normal_(linear.weight, std=linear.in_features**-0.5)
    nn.init.constant_(linear.bias, bias)


def begin_lstm(lstm: nn.LSTM) -> None:
    """Set an LSTM's matrices to Xavier's, and the bias of its forget gates to one.

    The forget gate is the second of the four.
    """
    for name, parameter in lstm.named_parameters():
        if name.startswith("weight"):
            nn.init.xavier_uniform_(parameter)
        else:
            nn.init.zeros_(parameter)
    bias = lstm.bias_hh_l0
    assert isinstance(bias, Tensor)
    nn.init.ones_(bias[lstm.hidden_size : 2 * lstm.hidden_size])


class Highway(nn.Module):
    """A highway layer, which carries a part of its input on as it is."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.change, self.carry = nn.Linear(hidden_size, hidden_size), nn.Linear(hidden_size, hidden_size)
        begin(self.change)
        begin(self.carry, bias=2.0)  # it begins by carrying most of its input on

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output, of the input's shape."""
        carried = self.carry(x).sigmoid()
        return carried * x + (1 - carried) * self.change(x).relu()


class CharacterVectors(nn.Module):
    """Vectors of tokens from their characters (section 3.4)."""

    characters_VC: Tensor

    def __init__(self, size: Size, characters_VC: Tensor) -> None:
        super().__init__()
        self.register_buffer("characters_VC", characters_VC)
        self.embedding = nn.Embedding(CHARACTERS, CHARACTER_SIZE)
        filters = size.more["filters"]
        self.convolutions = nn.ModuleList(nn.Conv1d(CHARACTER_SIZE, number, w) for w, number in filters)
        found = sum(number for _, number in filters)
        self.highways = nn.Sequential(Highway(found), Highway(found))
        self.projection = nn.Linear(found, size.hidden_size)
        begin(self.projection)

    def forward(self, tokens_BT: Tensor, multiple: int = 256) -> Tensor:
        """Return the vector of each token, [B, T, D].

        Each different token is computed once. Others are added up to a multiple, as kernels are made for a shape.
        """
        words_U, indices_BT = tokens_BT.unique(return_inverse=True)
        words_U = nn.functional.pad(words_U, (0, -len(words_U) % multiple))
        spelled_UEC = self.embedding(self.characters_VC[words_U]).mT
        found_UF = torch.cat(
            [filters(spelled_UEC).amax(dim=-1).relu() for filters in self.convolutions], dim=-1
        )
        return nn.functional.embedding(indices_BT, self.projection(self.highways(found_UF)))


class BiLM(nn.Module):
    """The language model in both directions (section 3.1)."""

    def __init__(self, size: Size, characters_VC: Tensor) -> None:
        super().__init__()
        self.size = size
        self.vectors = CharacterVectors(size, characters_VC)
        self.forwards, self.backwards = (
            nn.ModuleList(
                nn.LSTM(size.hidden_size, size.more["cells"], proj_size=size.hidden_size, batch_first=True)
                for _ in range(size.layers)
            )
            for _ in range(2)
        )
        self.softmax = Head(size.hidden_size, size.vocabulary)
        for lstm in (*self.forwards, *self.backwards):
            assert isinstance(lstm, nn.LSTM)
            begin_lstm(lstm)
        begin(self.softmax)
        self.dropout = nn.Dropout(size.dropout)
        # of a task's own training (equation 1), not of the language model's
        self.mix = nn.Parameter(torch.zeros(size.layers + 1))
        self.gamma = nn.Parameter(torch.ones(1))

    def layers(self, tokens_BT: Tensor, lengths_B: Tensor) -> list[Tensor]:
        """Return the states of each layer, [B, T, 2 D], forward ones first.

        The first entry is the token vectors, twice side by side.
        """
        vectors_BTD = self.vectors(tokens_BT)
        ahead = self._run(self.forwards, vectors_BTD)
        back = [
            in_reverse(each, lengths_B)
            for each in self._run(self.backwards, in_reverse(vectors_BTD, lengths_B))
        ]
        return [torch.cat(pair, dim=-1) for pair in zip(ahead, back, strict=True)]

    def _run(self, layers: nn.ModuleList, states_BTD: Tensor) -> list[Tensor]:
        found = [states_BTD]
        for number, lstm in enumerate(layers):
            states_BTD = lstm(self.dropout(found[-1]))[0]
            found.append(states_BTD + found[-1] if number else states_BTD)
        return found

    def forward(self, tokens_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of both directions for unpadded sequences, [B, T - 1, V] each.

        They are of tokens 1 ... given those before, and of tokens 0 ... given those after.
        """
        full_B = torch.full_like(tokens_BT[:, 0], tokens_BT.shape[1])
        ahead_BTD, back_BTD = self.layers(tokens_BT, full_B)[-1].chunk(2, dim=-1)
        return self.softmax(self.dropout(ahead_BTD[:, :-1])), self.softmax(self.dropout(back_BTD[:, 1:]))

    def elmo(self, tokens_BT: Tensor, lengths_B: Tensor) -> Tensor:
        """Return the mix of all layers, [B, T, 2 D] (equation 1)."""
        layers_JBTD = torch.stack(self.layers(tokens_BT, lengths_B)).float()
        return self.gamma * torch.tensordot(self.mix.softmax(dim=0), layers_JBTD, dims=1)


def network(size: Size, special_tokens: SpecialTokens, seed: int) -> BiLM:
    """Return the network with fresh weights, a function of the arguments alone."""
    torch.manual_seed(seed)
    return BiLM(size, characters(special_tokens.token_strings))


class Objective(nn.Module):
    """The mean cross-entropy of both directions."""

    def __init__(self, network: BiLM, special_tokens: SpecialTokens) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens_BT: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of the batch in nats a token, and that of each direction."""
        ahead_BTV, back_BTV = self.network(tokens_BT)
        ahead = nn.functional.cross_entropy(ahead_BTV.float().flatten(0, 1), tokens_BT[:, 1:].flatten())
        back = nn.functional.cross_entropy(back_BTV.float().flatten(0, 1), tokens_BT[:, :-1].flatten())
        return (ahead + back) / 2, {"forward": ahead.detach(), "backward": back.detach()}


def batch(text: Text, step: int, batch_size: int, context: int, seed: int) -> dict[str, Tensor]:
    """Return full blocks of running text."""
    return {"tokens_BT": text.blocks(step, batch_size, context + 1, seed)}


def features(network: BiLM, tokens_BT: Tensor, special_tokens: SpecialTokens) -> Tensor:
    """Return the mean ELMo vector of each text, [B, 2 D].

    As in the paper, a downstream task trains `mix` and `gamma` of the biLM.
    """
    kept_BT = tokens_BT != special_tokens.padding
    return mean_state(network.elmo(tokens_BT, kept_BT.sum(dim=1)), kept_BT)
