"""GPT (Radford et al. 2018): a transformer decoder, pretrained to predict the next word, is fine-tuned for any task.

New in the paper: one network for all tasks. It is pretrained as a language model on running text (section 3.1,
equations 1 and 2), and fine-tuned with one linear layer on top (section 3.2). Each task is written as one sequence,
with special tokens between its parts (section 3.3). The network (section 4.1) is the decoder of Vaswani et al. 2017
without the encoder: layer norm after each residual sum, GELU, learned positions, tied embeddings, weights from
N(0, 0.02). jokbo/comparison/finetuning.py has the fine-tuning.

The paper prints no count of parameters: 117M is that of its size in GPT-2's paper (table 2). It reads batches of 64
sequences of 512 contiguous tokens; here a sequence runs on over ends of documents.

Shapes: B sequences of a batch, T tokens of a sequence, S = T + 1, D numbers of a state.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import AutoConfig, PreTrainedModel

from jokbo.models import causal
from jokbo.systems.common import Paper, Size, SpecialTokens, Text, at, mean_state

TITLE, YEAR, OBJECTIVE = "GPT", 2018, "next token"
NATS = "loss"
PAPER_SIZES = {
    "gpt": Paper(
        Size(vocabulary=40478, layers=12, hidden_size=768, heads=12, context=512), 117e6, tolerance=0.005
    )
}


def network(size: Size, special_tokens: SpecialTokens, seed: int) -> PreTrainedModel:
    """Return the network with fresh weights, a function of the arguments alone."""
    config = AutoConfig.for_model(
        "openai-gpt",
        vocab_size=size.vocabulary,
        n_layer=size.layers,
        n_embd=size.hidden_size,
        n_head=size.heads,
        n_positions=size.context,
        resid_pdrop=size.dropout,
        embd_pdrop=size.dropout,
        attn_pdrop=size.dropout,
        bos_token_id=special_tokens.end_of_text,
        eos_token_id=special_tokens.end_of_text,
        pad_token_id=special_tokens.padding,
    )
    return causal.build(config, seed=seed)


class Objective(causal.NextToken):
    """L1 (equation 1), as a mean."""

    def __init__(self, network: PreTrainedModel, special_tokens: SpecialTokens) -> None:
        super().__init__(network)


def batch(text: Text, step: int, batch_size: int, context: int, seed: int) -> dict[str, Tensor]:
    """Return blocks of running text, of which every token but the first is predicted."""
    tokens_BS = text.blocks(step, batch_size, context + 1, seed)
    special_tokens = text.special_tokens
    return causal.packed_rows(
        tokens_BS, "joined", end_of_text=special_tokens.end_of_text, padding=special_tokens.padding
    )


def features(network: PreTrainedModel, tokens_BT: Tensor, special_tokens: SpecialTokens) -> Tensor:
    """Return the mean [B, D] of the last states. Padding comes after them, where causal attention does not look."""
    tokens_BT = tokens_BT[:, : network.config.max_position_embeddings]
    states_BTD = network.base_model(input_ids=tokens_BT, use_cache=False).last_hidden_state
    return mean_state(states_BTD, tokens_BT != special_tokens.padding)


def last(network: PreTrainedModel, tokens_BT: Tensor, special_tokens: SpecialTokens) -> Tensor:
    """Return the last state at an end-of-text token that is put after each text, [B, D].

    That is the extract token of section 3.2. It replaces the last token where the text fills the context. Padding comes
    after it, and causal attention does not look there.
    """
    longest = network.config.max_position_embeddings
    ends_B = (tokens_BT != special_tokens.padding).sum(dim=1).clamp(max=longest - 1)
    padded_BT = torch.nn.functional.pad(tokens_BT, (0, 1), value=special_tokens.padding)[:, :longest]
    ended_BT = padded_BT.scatter(1, ends_B[:, None], special_tokens.end_of_text)
    states_BTD = network.base_model(input_ids=ended_BT, use_cache=False).last_hidden_state
    return at(states_BTD, ends_B)
