"""RoBERTa: A Robustly Optimized BERT Pretraining Approach (Liu et al. 2019).

New is not the network but how it is trained. The mask of a sequence is chosen anew each time that it is read (dynamic
masking, section 4.1). There is no next sentence prediction; a sequence is full of running text, with a separator where
a document ends inside it (FULL-SENTENCES, section 4.2). And there is more of everything: batches, data, steps (4.3, 5).

The network is BERT's without segments and pooler. Positions are counted on from the padding's id, as in the released
model: their table has padding + 1 vectors more than the context has tokens.

Shapes: B sequences of a batch, T tokens of a sequence, K tokens to predict in each, D numbers of a state.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import RobertaConfig, RobertaForMaskedLM

from jokbo.systems.common import Paper, Size, SpecialTokens, Text, rng_of
from jokbo.systems.masking import (
    Corruption,
    begin_as_sinusoids,
    framed,
    full_sentences,
    masked,
    masked_loss,
    mean_of_text,
)

TITLE, YEAR, OBJECTIVE = "RoBERTa", 2019, "masked tokens (dynamic)"
NATS = "loss"
PAPER_SIZES = {
    # the paper's section 4 calls base 110M after BERT's; with the 50K byte-level BPE its model card says 125M
    "base": Paper(Size(50265, 12, 768, 12, 512, 0.1), 125e6, "all, with the masked-token head"),
    "large": Paper(Size(50265, 24, 1024, 16, 512, 0.1), 355e6, "all, with the masked-token head"),
}


def network(size: Size, special_tokens: SpecialTokens, seed: int) -> RobertaForMaskedLM:
    """Return the network with fresh weights, a function of the arguments alone."""
    torch.manual_seed(seed)
    made = RobertaForMaskedLM(
        RobertaConfig(
            vocab_size=size.vocabulary,
            hidden_size=size.hidden_size,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            intermediate_size=4 * size.hidden_size,
            hidden_dropout_prob=size.dropout,
            attention_probs_dropout_prob=size.dropout,
            max_position_embeddings=size.context + special_tokens.padding + 1,
            type_vocab_size=1,
            layer_norm_eps=1e-5,
            pad_token_id=special_tokens.padding,
            bos_token_id=special_tokens.cls,
            eos_token_id=special_tokens.sep,
        )
    )
    begin_as_sinusoids(made.roberta.embeddings.position_embeddings)
    return made


class Objective(nn.Module):
    """The mean loss of the masked tokens."""

    def __init__(self, network: RobertaForMaskedLM, special_tokens: SpecialTokens) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, inputs_BT: Tensor, positions_BK: Tensor, targets_BK: Tensor, weights_BK: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of the batch in nats a token, and no metrics."""
        states_BTD = self.network.roberta(inputs_BT).last_hidden_state  # nothing is padding
        return masked_loss(self.network.lm_head, states_BTD, positions_BK, targets_BK, weights_BK), {}


def batch(text: Text, step: int, batch_size: int, context: int, seed: int) -> dict[str, Tensor]:
    """Return full blocks of running text, [SEP] where a document ends, with tokens masked."""
    special_tokens = text.special_tokens
    tokens_BT = framed(full_sentences(text, step, batch_size, context - 2, seed), special_tokens, context)
    rng = rng_of(seed, step, "roberta")
    return masked(tokens_BT, tokens_BT > special_tokens.mask, rng, Corruption.of(text))._asdict()


def features(network: RobertaForMaskedLM, tokens_BT: Tensor, special_tokens: SpecialTokens) -> Tensor:
    """Return the mean of the states of each text, [B, D]."""
    context = network.config.max_position_embeddings - special_tokens.padding - 1
    return mean_of_text(network.roberta, tokens_BT, special_tokens, context)
