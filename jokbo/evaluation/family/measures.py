"""What the comparison measures itself: gradients by depth in fresh networks, and where a trained decoder looks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from jokbo.systems import bahdanau, transformer
from jokbo.systems.common import Size, Text

DEPTH = {"layers": 6, "width": 128, "heads": 4}  # of the networks whose gradients are measured
CONTEXT, ROWS, BATCHES = 64, 32, 4
WORDS = 16  # on each side of the alignment


def gradients_by_depth(text: Text, seed: int) -> dict[str, dict[str, list[float]]]:
    """By place of the norm, "post" and "pre", and stack, "encoder" and "decoder": the norm of the gradient in each
    layer, first to last, at initialisation (Xiong et al. 2020, figure 3); a mean over batches of text."""
    found = {}
    for norm in ("post", "pre"):
        size = Size(text.vocabulary, context=CONTEXT, more={"norm": norm}, **DEPTH)
        objective = transformer.Objective(transformer.network(size, text.marks, seed), text.marks)
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
    """Of one block of text: `source` and `target`, words, and `weights`, how much each target word looked at each
    source word (Bahdanau et al. 2014, figure 3)."""
    source_S, target_T = text.blocks(0, 1, 2 * WORDS, seed)[0].tensor_split(2)
    weights_TS = bahdanau.alignment(network.eval(), source_S, target_T)
    return {
        "source": tokenizer.convert_ids_to_tokens(source_S.tolist()),
        "target": tokenizer.convert_ids_to_tokens(target_T.tolist()),
        "weights": [[round(weight, 3) for weight in row] for row in weights_TS.tolist()],
    }
