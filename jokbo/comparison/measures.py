"""What the comparison measures itself: gradients by depth in fresh networks, where a trained decoder looks, and what
attention keeps in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from jokbo.systems import bahdanau, gpt2, transformer
from jokbo.systems.common import Size, SpecialTokens, Text

DEPTH = {"layers": 6, "hidden_size": 128, "heads": 4}  # of the networks whose gradients are measured
CONTEXT, ROWS, BATCHES = 64, 32, 4
WORDS = 16  # on each side of the alignment
LENGTHS = [128, 256, 512, 1024, 2048]
ATTENTION = {"fused": "sdpa", "plain": "eager"}  # what transformers calls them


def gradients_by_depth(text: Text, seed: int) -> dict[str, dict[str, list[float]]]:
    """Return the norm of the gradient in each layer, first to last, at initialisation (Xiong et al.

    2020, figure 3). It stands under the position of the norm, "post" or "pre", and the stack, "encoder" or "decoder"; a
    mean over batches of text.
    """
    found = {}
    for norm in ("post", "pre"):
        size = Size(text.vocabulary, context=CONTEXT, more={"norm": norm}, **DEPTH)
        objective = transformer.Objective(
            transformer.network(size, text.special_tokens, seed), text.special_tokens
        )
        measured = [
            transformer.gradient_norms(objective, transformer.batch(text, step, ROWS, CONTEXT, seed))
            for step in range(BATCHES)
        ]
        found[norm] = {
            stack: np.mean([norms[stack] for norms in measured], axis=0).tolist() for stack in measured[0]
        }
    return found


@torch.no_grad()
def alignment(
    network: bahdanau.RNNsearch, text: Text, tokenizer: PreTrainedTokenizerBase, seed: int
) -> dict[str, Any]:
    """Return of one block of text `source` and `target`, words, and `weights`: how much each target word looked at each
    source word (Bahdanau et al.

    2014, figure 3).
    """
    source_S, target_T = text.blocks(0, 1, 2 * WORDS, seed)[0].tensor_split(2)
    weights_TS = bahdanau.alignment(network.eval(), source_S, target_T)
    return {
        "source": tokenizer.convert_ids_to_tokens(source_S.tolist()),
        "target": tokenizer.convert_ids_to_tokens(target_T.tolist()),
        "weights": [[round(weight, 3) for weight in row] for row in weights_TS.tolist()],
    }


def attention_memory(special_tokens: SpecialTokens) -> dict[str, list[float]]:
    """Return the megabytes that the forward pass of a small GPT-2 in float32 keeps for the backward one.

    They stand under the way of computing attention, for a sequence of each of `length` tokens. The plain way keeps
    length times length weights a head, torch's fused kernels keep none (Dao et al. 2022, theorem 2).
    """
    found: dict[str, list[float]] = {"length": list(LENGTHS), **{way: [] for way in ATTENTION}}
    for length in LENGTHS:
        for way, name in ATTENTION.items():
            network = gpt2.network(
                Size(64, layers=2, hidden_size=256, heads=4, context=length), special_tokens, 0
            )
            network.set_attn_implementation(name)
            found[way].append(_kept(network, torch.zeros((1, length), dtype=torch.int64)) / 1e6)
    return found


def _kept(network: PreTrainedModel, tokens_BT: torch.Tensor) -> int:
    """Return the bytes of activations that wait for the backward pass."""
    kept: dict[int, int] = {}

    def count(saved: torch.Tensor) -> torch.Tensor:
        kept[saved.untyped_storage().data_ptr()] = saved.untyped_storage().nbytes()
        return saved

    with torch.autograd.graph.saved_tensors_hooks(count, lambda saved: saved):
        states_BTD = network.base_model(
            tokens_BT, use_cache=False
        ).last_hidden_state  # holds on to what is kept
    weights = {parameter.data_ptr() for parameter in network.parameters()}
    assert states_BTD.requires_grad
    return sum(size for pointer, size in kept.items() if pointer not in weights)
