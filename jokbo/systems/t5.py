"""T5 (Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer").

New: every task is text in, text out, told apart by a prefix (section 2.4), so that one network, loss and way to decode
serves all. The objective that came out best hides 15% of the tokens in spans of 3 on average: each span becomes a
sentinel of its own, and the target is the spans, each after its sentinel (sections 3.1.4, 3.3.4, figure 2). The target
is short, so it costs less than writing all of the text. The network is pre-norm without biases, its norms without a
mean, with a learned bias for each bucket of relative distance, shared by all layers (2.1): transformers' T5 (version
1.0).

As in the authors' code the numbers of hidden tokens and of spans are fixed, so that all sequences have one shape
without padding, and a sequence reads as much text as fills `context` once corrupted (568 tokens for 512). Sentinels are
SENTINELS ids above the tokenizer's. A classifier here reads the mean of the encoder's states; the paper's writes the
label as text. T5 is trained with Adafactor (3.1.2), whose steps are shares of a matrix's own scale: embeddings begin
with a deviation of 1 here, queries with 0.01.

Shapes: B sequences of a batch, T tokens of the text, N tokens of the inputs, M tokens of the targets, V vocabulary, D
numbers of a state.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from transformers import T5Config, T5ForConditionalGeneration

from jokbo.models.causal import mean_one
from jokbo.systems import noise
from jokbo.systems.common import Paper, Size, SpecialTokens, Text, mean_state, rng_of
from jokbo.systems.transformer import shifted

TITLE, YEAR, OBJECTIVE = "T5", 2020, "hidden spans of 3 from the rest"
NATS = "nats"
SHARE, SPAN = 0.15, 3
SENTINELS = 100

# Sections 3.7 and 3.1.1, "about" both. 32,000 tokens and 100 sentinels, rounded up to 32,128 for the hardware.
PAPER_SIZES = {
    "small": Paper(
        Size(32028, layers=6, hidden_size=512, heads=8, context=512, dropout=0.1), 60e6, tolerance=0.01
    ),
    "base": Paper(
        Size(32028, layers=12, hidden_size=768, heads=12, context=512, dropout=0.1), 220e6, tolerance=0.015
    ),
}


def network(size: Size, special_tokens: SpecialTokens, seed: int) -> T5ForConditionalGeneration:
    """Return the network with fresh weights, a function of the arguments alone."""
    start: dict[str, Any] = {
        "decoder_start_token_id": special_tokens.padding
    }  # which the class does not declare
    config = T5Config(
        vocab_size=size.vocabulary + SENTINELS,
        d_model=size.hidden_size,
        d_kv=size.hidden_size // size.heads,
        d_ff=4 * size.hidden_size,
        num_layers=size.layers,
        num_heads=size.heads,
        dropout_rate=size.dropout,
        eos_token_id=special_tokens.end_of_text,
        pad_token_id=special_tokens.padding,
        **start,
    )
    torch.manual_seed(seed)
    return T5ForConditionalGeneration(config)


class Objective(nn.Module):
    """The mean cross-entropy of the target's tokens; `weights_BM` have mean 1 over the global batch.

    The metric `nats` leaves out sentinels and end-of-text tokens, as their positions tell them.
    """

    def __init__(self, network: T5ForConditionalGeneration, special_tokens: SpecialTokens) -> None:
        super().__init__()
        self.network, self.special_tokens = network, special_tokens

    def forward(
        self, inputs_BN: Tensor, targets_BM: Tensor, weights_BM: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of the batch in nats a token, and the metric `nats`."""
        logits_BMV = self.network(
            input_ids=inputs_BN,
            attention_mask=inputs_BN != self.special_tokens.padding,
            decoder_input_ids=shifted(targets_BM, self.special_tokens.padding),
            use_cache=False,
        ).logits
        losses_BM = nn.functional.cross_entropy(
            logits_BMV.float().flatten(0, 1), targets_BM.flatten(), reduction="none"
        ).view(targets_BM.shape)
        sentinels = self.network.config.vocab_size - SENTINELS
        worded_BM = (
            (weights_BM > 0) & (targets_BM < sentinels) & (targets_BM != self.special_tokens.end_of_text)
        )
        nats = (losses_BM * worded_BM).sum() / worded_BM.sum()
        return (losses_BM * weights_BM).mean(), {"nats": nats.detach()}


def batch_of(inputs_BN: Tensor, targets_BM: Tensor, special_tokens: SpecialTokens) -> dict[str, Tensor]:
    """Return a batch of any task of text to text, of which both sides are padded."""
    weights_BM = mean_one(targets_BM != special_tokens.padding)
    return {"inputs_BN": inputs_BN, "targets_BM": targets_BM, "weights_BM": weights_BM}


def batch(text: Text, step: int, batch_size: int, context: int, seed: int) -> dict[str, Tensor]:
    """Return blocks of running text with spans hidden, and those spans."""
    length, masked, spans = lengths(context)
    rng = rng_of(seed, step, "t5")
    tokens_BT = text.blocks(step, batch_size, length, seed).numpy()
    masked_BT = noise.alternate(rng, batch_size, length, masked, spans)
    inputs_BN, targets_BM = (
        nn.functional.pad(
            torch.from_numpy(noise.to_sentinels(tokens_BT, hidden_BT, text.vocabulary)),
            (0, 1),
            value=text.special_tokens.end_of_text,
        )
        for hidden_BT in (masked_BT, ~masked_BT)
    )
    return batch_of(inputs_BN, targets_BM, text.special_tokens)


@cache
def lengths(context: int) -> tuple[int, int, int]:
    """Return how many tokens of text, hidden tokens and spans make inputs that fill `context`.

    Sentinels and the end-of-text token count among the inputs.
    """

    def counts(length: int) -> tuple[int, int, int]:
        masked = max(1, round(SHARE * length))
        return length, masked, max(1, round(masked / SPAN))

    def inputs(length: int, masked: int, spans: int) -> int:
        return length - masked + spans + 1

    return max(counts(length) for length in range(2, 2 * context) if inputs(*counts(length)) <= context)


def features(network: T5ForConditionalGeneration, tokens_BT: Tensor, special_tokens: SpecialTokens) -> Tensor:
    """Return the mean of the encoder's states of each text, [B, D]."""
    real_BT = tokens_BT != special_tokens.padding
    states_BTD = network.encoder(input_ids=tokens_BT, attention_mask=real_BT).last_hidden_state
    return mean_state(states_BTD, real_BT)
