"""BART (Lewis et al. 2020, "BART: Denoising Sequence-to-Sequence Pre-training for Natural Language Generation,
Translation, and Comprehension").

New: the encoder sees a corrupted text, and the decoder writes the whole text again. Any corruption will do, also one
that changes the length (section 2.2). Five are compared: tokens masked, tokens deleted, spans of Poisson(3) tokens each
replaced by one mask (a span of no token inserts one), sentences in random order, the text rotated to begin at a random
token. The large model uses 30% of the tokens in spans and all sentences permuted (section 5), the default here. For
classification both sides read the same text (section 3.1). The paper reads the decoder's state at its end, and here it
is the mean of the decoder's states. The network is the Transformer with GELU (2.1) and learned positions.

Departures: a token stands for a word (the authors mask whole words). The text of the comparison has no sentences: they
are spans of one document, from random cuts, one in SENTENCE tokens on average. The paper does not say how many tokens
are masked or deleted: here 30%, as in spans. The decoder starts from the end-of-text token.

Shapes: B sequences of a batch, T tokens of the text, N tokens of the corrupted text, S = T + 1, V vocabulary, D numbers
of a state.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor, nn
from transformers import BartConfig, BartForConditionalGeneration

from jokbo.systems import noise
from jokbo.systems.common import Paper, Size, SpecialTokens, Text, mean_state, rng_of
from jokbo.systems.transformer import shifted

TITLE, YEAR, OBJECTIVE = "BART", 2020, "a text from itself corrupted"
NATS = "loss"
# in the order in which they are done
NOISES = ("permutation", "rotation", "deletion", "masking", "infilling")
DEFAULT = ("permutation", "infilling")
SHARE, SPAN, SENTENCE = 0.3, 3.0, 20

# Sections 5 and 4.1 give layers and sizes; the counts are of the authors' README (fairseq, examples/bart), more exactly
# 139M and 406M of the published checkpoints.
PAPER_SIZES = {
    "base": Paper(
        Size(50265, layers=6, hidden_size=768, heads=12, context=1024, dropout=0.1), 139e6, tolerance=0.005
    ),
    "large": Paper(
        Size(50265, layers=12, hidden_size=1024, heads=16, context=1024, dropout=0.1), 406e6, tolerance=0.005
    ),
}


def network(size: Size, special_tokens: SpecialTokens, seed: int) -> BartForConditionalGeneration:
    """Return the network with fresh weights, a function of the arguments alone."""
    config = BartConfig(
        vocab_size=size.vocabulary,
        d_model=size.hidden_size,
        encoder_layers=size.layers,
        decoder_layers=size.layers,
        encoder_attention_heads=size.heads,
        decoder_attention_heads=size.heads,
        encoder_ffn_dim=4 * size.hidden_size,
        decoder_ffn_dim=4 * size.hidden_size,
        max_position_embeddings=size.context + 1,  # features() has a whole text and the token that starts it
        dropout=size.dropout,
        attention_dropout=size.dropout,
        bos_token_id=special_tokens.end_of_text,
        eos_token_id=special_tokens.end_of_text,
        decoder_start_token_id=special_tokens.end_of_text,
        forced_eos_token_id=special_tokens.end_of_text,
        pad_token_id=special_tokens.padding,
    )
    torch.manual_seed(seed)
    return BartForConditionalGeneration(config)


class Objective(nn.Module):
    """The mean cross-entropy of every token of the text."""

    def __init__(self, network: BartForConditionalGeneration, special_tokens: SpecialTokens) -> None:
        super().__init__()
        self.network, self.special_tokens = network, special_tokens

    def forward(self, noised_BN: Tensor, tokens_BT: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of the batch in nats a token, and no metrics."""
        logits_BTV = self.network(
            input_ids=noised_BN,
            attention_mask=noised_BN != self.special_tokens.padding,
            decoder_input_ids=shifted(tokens_BT, self.special_tokens.end_of_text),
            use_cache=False,
        ).logits
        return nn.functional.cross_entropy(logits_BTV.float().flatten(0, 1), tokens_BT.flatten()), {}


def batch(
    text: Text, step: int, batch_size: int, context: int, seed: int, noises: Collection[str] = DEFAULT
) -> dict[str, Tensor]:
    """Return blocks of running text, and the same corrupted by `noises`."""
    tokens_BT = text.blocks(step, batch_size, context, seed)
    noised_BN = corrupt(rng_of(seed, step, "bart"), tokens_BT.numpy(), noises, text.special_tokens)
    return {"noised_BN": torch.from_numpy(noised_BN), "tokens_BT": tokens_BT}


def corrupt(
    rng: np.random.Generator, tokens_BT: np.ndarray, noises: Collection[str], special_tokens: SpecialTokens
) -> np.ndarray:
    """Return the tokens corrupted in each of these ways, which NOISES names.

    Infilling is done last, as it pads.
    """
    if "permutation" in noises:
        tokens_BT = noise.permute(rng, tokens_BT, sentences(rng, tokens_BT, special_tokens.end_of_text))
    if "rotation" in noises:
        tokens_BT = noise.rotate(rng, tokens_BT)
    if "deletion" in noises:
        tokens_BT = noise.delete(rng, tokens_BT, SHARE)
    if "masking" in noises:
        tokens_BT = noise.mask(rng, tokens_BT, SHARE, special_tokens.mask)
    if "infilling" in noises:
        tokens_BT = noise.infill(rng, tokens_BT, SHARE, SPAN, special_tokens.mask, special_tokens.padding)
    return tokens_BT


def sentences(rng: np.random.Generator, tokens_BT: np.ndarray, end_of_text: int) -> np.ndarray:
    """Return the number of each position's sentence; one ends at random cuts and at end-of-text tokens."""
    batch_size, length = tokens_BT.shape
    spans_BT = noise.segments(noise.partition(rng, batch_size, length, -(-length // SENTENCE)))
    ends_BT = tokens_BT == end_of_text
    starts_BT = np.pad(ends_BT[:, :-1] | (np.diff(spans_BT, axis=1) > 0), ((0, 0), (1, 0)))
    return starts_BT.cumsum(axis=1)


def features(
    network: BartForConditionalGeneration, tokens_BT: Tensor, special_tokens: SpecialTokens
) -> Tensor:
    """Return the decoder's state at the end of each text, [B, D]."""
    tokens_BT = tokens_BT[:, : network.config.max_position_embeddings - 1]
    real_BT = tokens_BT != special_tokens.padding
    states_BSD = network.base_model(
        input_ids=tokens_BT,
        attention_mask=real_BT,
        decoder_input_ids=nn.functional.pad(tokens_BT, (1, 0), value=special_tokens.end_of_text),
        use_cache=False,
    ).last_hidden_state
    read_BS = nn.functional.pad(real_BT, (1, 0), value=True)  # the mark that starts it is read, too
    return mean_state(states_BSD, read_BS)
