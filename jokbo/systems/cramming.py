"""Cramming (Geiping and Goldstein 2023): BERT's recipe, rewritten for one GPU and one day.

New in the paper is a choice among known changes by what they gain under a budget of time (section 4). Network (4.2):
pre-norm; no biases in attention and dense layers; gated feed-forward layers, whose middle is not made larger to make up
for the gate; scaled sinusoidal positions; a norm after the embedding and one at the end; no head but the tied
embedding, which has no bias. Logits are computed for the masked tokens alone ("sparse token prediction"). Training
(4.3): masked tokens as the only objective; no dropout in pretraining; a learning rate that rises and falls once over
the budget; a batch that grows; AdamW with rate 1e-3, decay 0.01, betas 0.9 and 0.98, epsilon 1e-12, gradients clipped
at 0.5.

Learning rate (`rate`) and batch size (`batch_size`) are functions of the share of the budget that is spent, for which
the training loop has to ask. Sizes and schedule are those of the authors' released recipe (bert-c5, bert-o3 and, for
the ramp of the batch as a share of the budget, bert-o4: full batches of 1,536 sequences in parts of 128). Text is
packed without [CLS], and a text's features are the mean of its states, as the authors' pooler takes them. transformers
has no such network.

Shapes: B sequences of a batch, T tokens of a sequence, K tokens to predict in each, D numbers of a state, H heads, C
numbers of a head's state.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.bert.modeling_bert import eager_attention_forward

from jokbo.systems.common import Paper, Size, SpecialTokens, Text, mean_state, rng_of, sinusoids
from jokbo.systems.masking import Corruption, full_sentences, masked, masked_loss

TITLE, YEAR, OBJECTIVE = "Cramming", 2023, "masked tokens"
NATS = "loss"
PAPER_SIZES = {"crammed": Paper(Size(32768, 16, 768, 12, 128), 120e6)}
PARTS = 12  # of a full batch, as it grows


class CrammedConfig(PreTrainedConfig):
    """The configuration of the network, as transformers saves it."""

    model_type = "crammed"

    vocab_size: int = 32768
    hidden_size: int = 768
    num_hidden_layers: int = 16
    num_attention_heads: int = 12
    max_position_embeddings: int = 128
    dropout: float = 0.0


class Attention(nn.Module):
    """Self-attention in several heads, without biases."""

    is_causal = False  # read by transformers' attention functions

    def __init__(self, config: CrammedConfig) -> None:
        super().__init__()
        self.config, hidden_size = config, config.hidden_size
        self.queries_keys_values = nn.Linear(hidden_size, 3 * hidden_size, bias=False)
        self.dense = nn.Linear(hidden_size, hidden_size, bias=False)

    def forward(self, states_BTD: Tensor, mask_BHTT: Tensor | None) -> Tensor:
        """Return what each token takes from those that the mask lets it see, [B, T, D]."""
        heads = self.config.num_attention_heads
        query, key, value = (
            part.unflatten(-1, (heads, -1)).transpose(1, 2)
            for part in self.queries_keys_values(states_BTD).chunk(3, dim=-1)
        )
        implementation = self.config._attn_implementation
        assert implementation is not None
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(implementation, eager_attention_forward)
        dropout = self.config.dropout if self.training else 0.0
        mixed_BTHC, _ = attend(
            self, query, key, value, mask_BHTT, scaling=query.shape[-1] ** -0.5, dropout=dropout
        )
        return self.dense(mixed_BTHC.flatten(2))


class FeedForward(nn.Module):
    """The gated feed-forward layer: 4 D numbers in its middle, of which half are gates."""

    def __init__(self, config: CrammedConfig) -> None:
        super().__init__()
        self.dense_in = nn.Linear(config.hidden_size, 4 * config.hidden_size, bias=False)
        self.dense_out = nn.Linear(2 * config.hidden_size, config.hidden_size, bias=False)

    def forward(self, states_BTD: Tensor) -> Tensor:
        """Return the layer's output of each state, [B, T, D]."""
        middle, gates = self.dense_in(states_BTD).chunk(2, dim=-1)
        return self.dense_out(middle * nn.functional.gelu(gates))


class Layer(nn.Module):
    """A pre-norm layer: attention, then feed-forward, each added to the states."""

    def __init__(self, config: CrammedConfig) -> None:
        super().__init__()
        self.attention, self.feed_forward = Attention(config), FeedForward(config)
        self.norm1, self.norm2 = (nn.LayerNorm(config.hidden_size, eps=1e-12) for _ in range(2))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, states_BTD: Tensor, mask_BHTT: Tensor | None) -> Tensor:
        """Return the states after the layer, [B, T, D]."""
        states_BTD = states_BTD + self.dropout(self.attention(self.norm1(states_BTD), mask_BHTT))
        return states_BTD + self.dropout(self.feed_forward(self.norm2(states_BTD)))


class Crammed(PreTrainedModel):
    """The network; its embedding is its head too."""

    config_class = CrammedConfig
    _supports_sdpa = True
    _supports_flash_attn = True

    def __init__(self, config: CrammedConfig) -> None:
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_scale = nn.Parameter(torch.tensor([config.hidden_size**-0.5]))
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.first_norm, self.last_norm = (nn.LayerNorm(config.hidden_size, eps=1e-12) for _ in range(2))
        self.dropout = nn.Dropout(config.dropout)
        self.post_init()

    def forward(self, inputs_BT: Tensor, seen_BT: Tensor | None = None) -> Tensor:
        """Return the states of each token, [B, T, D]; `seen_BT` is false at padding."""
        tokens_BTD = self.embedding(inputs_BT)
        length, hidden_size = tokens_BTD.shape[1:]
        positions_TD = self.position_scale * sinusoids(length, hidden_size, tokens_BTD.device)
        states_BTD = self.dropout(self.first_norm(tokens_BTD + positions_TD))
        mask_BHTT = create_bidirectional_mask(self.config, states_BTD, seen_BT)
        for layer in self.layers:
            states_BTD = layer(states_BTD, mask_BHTT)
        return self.last_norm(states_BTD)

    def logits(self, states: Tensor) -> Tensor:
        """Return the logits of states, over the vocabulary."""
        return nn.functional.linear(states, self.embedding.weight)


def network(size: Size, special_tokens: SpecialTokens, seed: int) -> Crammed:
    """Return the network with fresh weights, a function of the arguments alone."""
    torch.manual_seed(seed)
    special: dict[str, Any] = {"pad_token_id": special_tokens.padding}  # which the class does not declare
    return Crammed(
        CrammedConfig(
            vocab_size=size.vocabulary,
            hidden_size=size.hidden_size,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            max_position_embeddings=size.context,
            dropout=size.dropout,
            **special,
        )
    )


class Objective(nn.Module):
    """The mean loss of the masked tokens."""

    def __init__(self, network: Crammed, special_tokens: SpecialTokens) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, inputs_BT: Tensor, positions_BK: Tensor, targets_BK: Tensor, weights_BK: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of the batch in nats a token, and no metrics."""
        states_BTD = self.network(inputs_BT)
        return masked_loss(self.network.logits, states_BTD, positions_BK, targets_BK, weights_BK), {}


def batch(text: Text, step: int, batch_size: int, context: int, seed: int) -> dict[str, Tensor]:
    """Return full blocks of running text with tokens masked."""
    special_tokens = text.special_tokens
    tokens_BT = full_sentences(text, step, batch_size, context, seed)
    rng = rng_of(seed, step, "cramming")
    return masked(tokens_BT, tokens_BT > special_tokens.mask, rng, Corruption.of(text))._asdict()


def rate(share: float) -> float:
    """Return the share of the largest learning rate, when a share of the budget is spent.

    It goes from a quarter up to 1 at three quarters of the budget, then down to zero. The budget may be of time or of
    anything else.
    """
    return max(0.0, min(0.25 + share, 4 * (1 - share)))


def batch_size(share: float, whole: int) -> int:
    """Return the batch size when a share of the budget is spent: `whole` from 60% on.

    It begins with one of PARTS equal parts of that, and grows by whole parts.
    """
    parts = min(PARTS, max(1, math.ceil(share / 0.6 * PARTS)))
    return max(1, round(whole * parts / PARTS))


def features(network: Crammed, tokens_BT: Tensor, special_tokens: SpecialTokens) -> Tensor:
    """Return the mean of the states of each text, padding left out, [B, D]."""
    tokens_BT = tokens_BT[:, : network.config.max_position_embeddings]
    seen_BT = tokens_BT != special_tokens.padding
    return mean_state(network(tokens_BT, seen_BT), seen_BT)
