"""GPT-3 (Brown et al. 2020): at 175 billion parameters, a task shown in the prompt is learned from the prompt.

New in the paper: few-shot learning without a gradient step, and the scale at which it comes (section 2.1, table 2.1:
eight sizes of one design). The network is GPT-2's, weights' first values too, except that every other layer attends
over a band of recent tokens only, "similar to the Sparse Transformer" (Child et al. 2019). Sequences are packed full
with documents, end-of-text tokens between them, and attention reaches over them all (appendix B).

The network is transformers' GPT-Neo, which takes dense and banded layers in turns. Two things differ from the paper.
Its query, key and value projections have no biases (0.02% of the small size). And its scores are not divided by the
square root of a head's size: here the query projections start smaller by that much instead, so that the same functions
can be learned from the same start. The paper does not say how wide the band is: here an eighth of the context, as
GPT-Neo's 256 of 2,048. In table 2.1, XL's 24 heads of 128 do not fit its hidden size of 2,048 (16 do, and give the
printed count), nor do 13B's 40 heads of 128 its 5,140 (they give 5,120).
"""

from __future__ import annotations

import torch
from torch import nn
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel
from transformers.models.gpt_neo.modeling_gpt_neo import GPTNeoBlock

from jokbo.models import causal
from jokbo.systems.common import Paper, Size, SpecialTokens
from jokbo.systems.gpt1 import Objective, batch, features

__all__ = ["NATS", "OBJECTIVE", "PAPER_SIZES", "TITLE", "YEAR", "Objective", "batch", "features", "network"]

TITLE, YEAR, OBJECTIVE = "GPT-3", 2020, "next token"
NATS = "loss"
PAPER_SIZES = {
    name: Paper(
        Size(vocabulary=50257, layers=layers, hidden_size=hidden_size, heads=heads, context=2048), parameters
    )
    for name, layers, hidden_size, heads, parameters in [
        ("small", 12, 768, 12, 125e6),
        ("medium", 24, 1024, 16, 350e6),
        ("large", 24, 1536, 16, 760e6),
        ("xl", 24, 2048, 16, 1.3e9),
        ("2.7b", 32, 2560, 32, 2.7e9),
        ("6.7b", 32, 4096, 32, 6.7e9),
        ("13b", 40, 5120, 40, 13e9),
        ("175b", 96, 12288, 96, 175e9),
    ]
}
KINDS = ("global", "local")  # of attention, in turns


def configuration(size: Size, special_tokens: SpecialTokens) -> PretrainedConfig:
    """Return transformers' configuration of the network."""
    return AutoConfig.for_model(
        "gpt_neo",
        vocab_size=size.vocabulary,
        num_layers=size.layers,
        hidden_size=size.hidden_size,
        num_heads=size.heads,
        max_position_embeddings=size.context,
        attention_types=[[[KINDS[layer % 2]], 1] for layer in range(size.layers)],
        window_size=max(1, size.context // 8),
        resid_dropout=size.dropout,
        embed_dropout=size.dropout,
        attention_dropout=size.dropout,
        activation_function=causal.GELU,
        bos_token_id=special_tokens.end_of_text,
        eos_token_id=special_tokens.end_of_text,
        pad_token_id=special_tokens.padding,
    )


def network(size: Size, special_tokens: SpecialTokens, seed: int) -> PreTrainedModel:
    """Return the network with fresh weights, a function of the arguments alone."""
    built = causal.build(configuration(size, special_tokens), seed=seed)
    blocks = built.base_model.h
    assert isinstance(blocks, nn.ModuleList)
    with torch.no_grad():
        for block in blocks:
            assert isinstance(block, GPTNeoBlock)
            attention = block.attn.attention
            attention.q_proj.weight /= (size.hidden_size / size.heads) ** 0.5
            for residual in (attention.out_proj, block.mlp.c_proj):
                residual.weight /= (2 * size.layers) ** 0.5  # GPT-2, section 2.3
    return built
