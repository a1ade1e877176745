"""MASS (Song et al. 2019, "MASS: Masked Sequence to Sequence Pre-training for Language Generation").

New: one contiguous fragment of half the tokens is hidden from the encoder and predicted by the decoder, so that both
are trained together (section 3.2, equation 1, figure 1): the encoder has to understand what it sees, and the decoder,
which is given no token outside the fragment, has to use the encoder rather than its own past. With a fragment of one
token this is BERT, with all tokens a language model (section 3.3); half is best (4.5). Hidden tokens are masks (80%),
random (10%) or left (10%), and the decoder leaves out what is not in the fragment but keeps the positions (4.1). The
decoder's first input is the mask (figure 1; the authors' code has the token before the fragment there).

The network is the Transformer of 2017 (section 4.1), so the one of transformer.py, with sinusoids (the released
summarisation models learned their positions). transformers' BART, which is near to it, gives a decoder no positions but
0, 1, 2 ... There is one fragment in a block of running text, at any position where it fits with equal chance. The paper
has no classification: here a classifier reads the mean of the encoder's states.

Shapes: B sequences of a batch, T tokens of a sequence, K tokens of the fragment, V vocabulary.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from jokbo.systems import transformer
from jokbo.systems.common import Paper, Size, SpecialTokens, Text, rng_of
from jokbo.systems.masking import Corruption, replaced

TITLE, YEAR, OBJECTIVE = "MASS", 2019, "a fragment of half the tokens from the rest"
NATS = "loss"
SHARE = 0.5  # of the tokens in the fragment

# The paper prints no count: these are of the authors' README (microsoft/MASS, MASS-summarization).
PAPER_SIZES = {
    "base": Paper(
        Size(30522, layers=6, hidden_size=768, heads=12, context=512, dropout=0.1), 123e6, tolerance=0.005
    ),
    "middle": Paper(
        Size(30522, layers=6, hidden_size=1024, heads=16, context=512, dropout=0.1), 208e6, tolerance=0.005
    ),
}

network = transformer.network
features = transformer.features


class Objective(nn.Module):
    """The mean cross-entropy of the fragment."""

    def __init__(self, network: transformer.Transformer, special_tokens: SpecialTokens) -> None:
        super().__init__()
        self.network, self.special_tokens = network, special_tokens

    def forward(
        self, hidden_BT: Tensor, fragment_BK: Tensor, positions_BK: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of the batch in nats a token, and no metrics."""
        inputs_BK = transformer.shifted(fragment_BK, self.special_tokens.mask)
        logits_BKV = self.network(hidden_BT, inputs_BK, positions_BT=positions_BK)
        return nn.functional.cross_entropy(logits_BKV.float().flatten(0, 1), fragment_BK.flatten()), {}


def batch(text: Text, step: int, batch_size: int, context: int, seed: int) -> dict[str, Tensor]:
    """Return `hidden_BT` for the encoder, and the fragment and its positions for the decoder."""
    rng = rng_of(seed, step, "mass")
    tokens_BT = text.blocks(step, batch_size, context, seed)
    length = round(SHARE * context)
    positions_BK = rng.integers(context - length + 1, size=(batch_size, 1)) + np.arange(length)
    hidden_BT, positions_BK, fragment_BK, _ = replaced(
        tokens_BT,
        positions_BK,
        positions_BK >= 0,
        rng,
        Corruption.of(text),
    )
    return {"hidden_BT": hidden_BT, "fragment_BK": fragment_BK, "positions_BK": positions_BK}
