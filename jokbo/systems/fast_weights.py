"""Fast weights: a network whose weights are written by another as it reads (Schmidhuber 1991, 1992).

There, a slow network is trained to make, at each step, two vectors whose outer product is added to the weights of a
fast one: memory that is neither a hidden state nor learned by gradient descent. Schlag, Irie and Schmidhuber (2021)
show that attention without its softmax is just this (section 3): a key and its value are written, W += v (x) phi(k),
and a query reads, W phi(q). So linear transformers (Katharopoulos et al. 2020) are fast weight programmers. New there:
  a memory of d dimensions keeps at most d associations apart (4.1), so it must be able to forget: the delta rule
  writes W += b (v - W phi(k)) (x) phi(k), what the memory lacks, at a rate b = sigmoid(...) of its own (4.2);
  keys and queries are divided by their sums, after which the output needs no normaliser (4.2);
  no positional encoding is needed (6.3).
`more["rule"]` is "delta" or "sum"; the sum is normalised as a linear transformer's attention is (3.2).
phi is ELU + 1, as in its best language models.

Read step by step, memory is a loop over tokens. `memory` does the same a chunk at a time: within a chunk, what the
delta rule writes is the solution of a triangular system (Yang et al. 2024, section 3), and all else is products.

The layers around it are as in the authors' code for language models: layer norm after each block, ReLU, tied
embeddings.

Shapes: B sequences of a batch, T tokens of a sequence, C tokens of a chunk, V vocabulary, H heads, D numbers of a state
or of a head's key, E numbers of a head's value, M outputs of the slow network.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from jokbo.systems.common import (
    NextTokenObjective,
    Paper,
    Size,
    SpecialTokens,
    exact,
    mean_state,
    next_token_batch,
    not_compiled,
)

TITLE, YEAR, OBJECTIVE = "Fast weights", 2021, "next token"
NATS = "loss"

# "Small" of section 6.3 over WikiText-103; the count is from its sizes: words 267735 * 128, and 16 layers, each
# attention 128 * (3 * 128 + 8) + 128 * 128 and feed-forward 2 * 128 * 2048.
PAPER_SIZES = {
    "small": Paper(
        Size(267735, 16, 128, 8, 256, 0.1, more={"rule": "delta", "feed_forward": 2048}),
        43.7e6,
        "all but biases and gains, from its sizes",
        0.005,
    )
}


@not_compiled  # compiled, the gradient of solve_triangular fails on its strides (torch 2.13)
def memory(
    q_BHTD: Tensor, k_BHTD: Tensor, v_BHTE: Tensor, rates_BHT: Tensor, delta: bool, chunk: int = 64
) -> Tensor:
    """Return what a memory that starts empty gives for each query, [B, H, T, E].

    Each query reads after its own key and value are written. Tokens are taken `chunk` at a time.
    """
    weights_BHDE = q_BHTD.new_zeros(*q_BHTD.shape[:2], q_BHTD.shape[-1], v_BHTE.shape[-1])
    read = []
    for q, k, v, rates in zip(
        *(each.split(chunk, dim=2) for each in (q_BHTD, k_BHTD, v_BHTE, rates_BHT[..., None])), strict=True
    ):
        if delta:
            # token t lacks what the memory held before the chunk and what tokens before t write at its key
            lacking_BHCE = rates * (v - k @ weights_BHDE)
            overlap_BHCC = (rates * (k @ k.mT)).tril(-1)
            written_BHCE = torch.linalg.solve_triangular(
                overlap_BHCC, lacking_BHCE, upper=False, unitriangular=True
            )
        else:
            written_BHCE = rates * v
        read.append(q @ weights_BHDE + (q @ k.mT).tril() @ written_BHCE)
        weights_BHDE = weights_BHDE + k.mT @ written_BHCE
    return torch.cat(read, dim=2)


class FastWeightLayer(nn.Module):
    """A layer: fast weights in several heads, then feed-forward; a layer norm after each sum."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.heads, self.delta = size.heads, size.more["rule"] == "delta"
        self.slow = nn.Linear(size.hidden_size, 3 * size.hidden_size + size.heads * self.delta, bias=False)
        self.out = nn.Linear(size.hidden_size, size.hidden_size, bias=False)
        self.attention_norm, self.norm = nn.LayerNorm(size.hidden_size), nn.LayerNorm(size.hidden_size)
        inner = size.more["feed_forward"]
        self.feed_forward = nn.Sequential(
            nn.Linear(size.hidden_size, inner),
            nn.ReLU(),
            nn.Dropout(size.dropout),
            nn.Linear(inner, size.hidden_size),
            nn.Dropout(size.dropout),
        )
        self.dropout = nn.Dropout(size.dropout)

    def forward(self, states_BTD: Tensor) -> Tensor:
        """Return the states after the layer, [B, T, D]."""
        hidden_size = states_BTD.shape[-1]
        made_BTM = self.slow(states_BTD)
        q, k, v = (
            each.unflatten(-1, (self.heads, -1)).transpose(1, 2).float()
            for each in made_BTM[..., : 3 * hidden_size].chunk(3, dim=-1)
        )
        with exact(states_BTD):
            q, k = ((nn.functional.elu(each) + 1) for each in (q, k))
            q, k = q / q.sum(dim=-1, keepdim=True), k / k.sum(dim=-1, keepdim=True)
            if self.delta:
                rates_BHT = made_BTM[..., 3 * hidden_size :].float().sigmoid().transpose(1, 2)
                read_BHTE = memory(q, k, v, rates_BHT, delta=True)
            else:
                # a value of one more dimension, always 1, adds up the weights by which the read is divided
                ones_BHT1 = torch.ones_like(v[..., :1])
                read = memory(q, k, torch.cat([v, ones_BHT1], dim=-1), ones_BHT1[..., 0], delta=False)
                read_BHTE = read[..., :-1] / read[..., -1:]
        read_BTD = read_BHTE.transpose(1, 2).flatten(2)
        states_BTD = self.attention_norm(states_BTD + self.dropout(self.out(read_BTD)))
        return self.norm(states_BTD + self.feed_forward(states_BTD))


class FastWeights(nn.Module):
    """The language model."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size
        self.embedding = nn.Embedding(size.vocabulary, size.hidden_size)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.scale = size.hidden_size**0.5
        self.dropout = nn.Dropout(size.dropout)
        self.layers = nn.Sequential(*(FastWeightLayer(size) for _ in range(size.layers)))

    def states(self, tokens_BT: Tensor) -> Tensor:
        """Return the last layer's state of each token, [B, T, D]."""
        return self.dropout(self.layers(self.dropout(self.embedding(tokens_BT) * self.scale)))

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Return the logits of the token after each, [B, T, V]."""
        return self.states(tokens_BT) @ self.embedding.weight.T


def network(size: Size, special_tokens: SpecialTokens, seed: int) -> FastWeights:
    """Return the network with fresh weights, a function of the arguments alone."""
    torch.manual_seed(seed)
    return FastWeights(size)


Objective = NextTokenObjective
batch = next_token_batch


def features(network: FastWeights, tokens_BT: Tensor, special_tokens: SpecialTokens) -> Tensor:
    """Return the mean of the states, [B, D]."""
    return mean_state(network.states(tokens_BT), tokens_BT != special_tokens.padding)
