"""GPT-2 (Radford et al. 2019): a language model of the web's text learns tasks that nobody trained it for.

New in the paper: no fine-tuning; scale (section 2.3, table 2: four sizes up to 1.5B); a vocabulary over bytes, which
knows every text (section 2.2). The network is GPT's with layer norm moved to the input of each sub-block and one more
after the last, residual projections that start smaller by 1/sqrt(number of residual layers), and a context of 1,024.
Objective and input are GPT's; in the comparison so is the vocabulary, the one that all systems share.

Table 2's counts (117M, 345M, 762M, 1542M) were miscounted; those below are OpenAI's corrected ones.
"""

from __future__ import annotations

from transformers import PreTrainedModel

from jokbo.models import causal
from jokbo.systems.common import Paper, Size, SpecialTokens
from jokbo.systems.gpt1 import Objective, batch, features

__all__ = ["NATS", "OBJECTIVE", "PAPER_SIZES", "TITLE", "YEAR", "Objective", "batch", "features", "network"]

TITLE, YEAR, OBJECTIVE = "GPT-2", 2019, "next token"
NATS = "loss"
PAPER_SIZES = {
    name: Paper(
        Size(vocabulary=50257, layers=layers, hidden_size=hidden_size, heads=hidden_size // 64, context=1024),
        parameters,
        tolerance=0.005,
    )
    for name, layers, hidden_size, parameters in [
        ("small", 12, 768, 124e6),
        ("medium", 24, 1024, 355e6),
        ("large", 36, 1280, 774e6),
        ("xl", 48, 1600, 1558e6),
    ]
}


def network(size: Size, special_tokens: SpecialTokens, seed: int) -> PreTrainedModel:
    """Return the network with fresh weights, a function of the arguments alone."""
    config = causal.gpt2(
        size,
        vocabulary=size.vocabulary,
        end_of_text=special_tokens.end_of_text,
        padding=special_tokens.padding,
    )
    return causal.build(config, seed=seed)
