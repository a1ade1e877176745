"""ALBERT: A Lite BERT for Self-supervised Learning of Language Representations (Lan et al. 2020).

New, all in section 3.1: tokens are embedded in `more["embedding"]` dimensions, fewer than the layers have (factorised
embeddings); all layers are one and the same (cross-layer sharing); and next sentence prediction, which a model solves
by topic alone, gives way to sentence-order prediction: two consecutive segments, swapped in half of the pairs. Masked
are n-grams, n up to 3 with a probability in proportion to 1/n (section 4.1).

Segments are cut as for BERT, but anew at each step, as masks are. N-grams are of tokens here and of whole words in the
paper, as the text of the comparison comes as tokens. They do not touch, so each is as long as was chosen, but for the
last of a sequence, which is cut to its 15%. Each token of an n-gram is masked, replaced or kept for itself, as in the
released code.

Shapes: B sequences of a batch, T tokens of a sequence, K tokens to predict in each, 2 segments of a pair (or start and
end of one).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AlbertConfig, AlbertForPreTraining

from jokbo.models.causal import GELU
from jokbo.systems.bert import halves, pair_sequences, windows
from jokbo.systems.common import Paper, Size, SpecialTokens, Text, rng_of
from jokbo.systems.masking import Corruption, masked_loss, mean_of_text, replaced, spans

TITLE, YEAR, OBJECTIVE = "ALBERT", 2020, "masked n-grams, sentence order"
NATS = "masked"
NGRAMS = np.array([1, 2, 3])


def _paper(layers: int, hidden_size: int, millions: float, tolerance: float) -> Paper:
    size = Size(30000, layers, hidden_size, hidden_size // 64, 512, more={"embedding": 128})
    return Paper(size, millions * 1e6, "all, both heads", tolerance)


PAPER_SIZES = {  # table 1
    "base": _paper(12, 768, 12, 0.04),  # printed in whole millions
    "large": _paper(24, 1024, 18, 0.03),
    "xlarge": _paper(24, 2048, 60, 0.03),
    "xxlarge": _paper(12, 4096, 235, 0.06),  # what its size and the released weights come to is 223M
}


def network(size: Size, special_tokens: SpecialTokens, seed: int) -> AlbertForPreTraining:
    """Return the network with fresh weights, a function of the arguments alone."""
    torch.manual_seed(seed)
    return AlbertForPreTraining(
        AlbertConfig(
            vocab_size=size.vocabulary,
            embedding_size=size.more["embedding"],
            hidden_size=size.hidden_size,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            intermediate_size=4 * size.hidden_size,
            hidden_dropout_prob=size.dropout,
            attention_probs_dropout_prob=size.dropout,
            hidden_act=GELU,
            classifier_dropout_prob=size.dropout,
            max_position_embeddings=size.context,
            pad_token_id=special_tokens.padding,
            bos_token_id=special_tokens.cls,
            eos_token_id=special_tokens.sep,
        )
    )


class Objective(nn.Module):
    """The mean loss over masked tokens plus the mean loss over pairs."""

    def __init__(self, network: AlbertForPreTraining, special_tokens: SpecialTokens) -> None:
        super().__init__()
        self.network, self.padding = network, special_tokens.padding

    def forward(
        self,
        inputs_BT: Tensor,
        segments_BT: Tensor,
        positions_BK: Tensor,
        targets_BK: Tensor,
        weights_BK: Tensor,
        swapped_B: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of the batch in nats, and its two parts."""
        seen_BT = inputs_BT != self.padding
        states = self.network.albert(inputs_BT, attention_mask=seen_BT, token_type_ids=segments_BT)
        words = masked_loss(
            self.network.predictions, states.last_hidden_state, positions_BK, targets_BK, weights_BK
        )
        logits_B2 = self.network.sop_classifier(states.pooler_output).float()
        order = nn.functional.cross_entropy(logits_B2, swapped_B)
        return words + order, {"masked": words.detach(), "order": order.detach()}


def batch(text: Text, step: int, batch_size: int, context: int, seed: int) -> dict[str, Tensor]:
    """Return sequences of two segments, swapped in half of the cases, with n-grams masked."""
    rng = rng_of(seed, step, "albert")
    _, windows_B2 = windows(text.corpus, step, batch_size, context - 3, seed)
    pairs_B22 = halves(windows_B2, rng.random(batch_size))
    swapped_B = rng.random(batch_size) < 0.5
    pairs_B22[swapped_B] = pairs_B22[swapped_B, ::-1]
    tokens_BT, segments_BT = pair_sequences(text, pairs_B22, context)
    lengths_BK = rng.choice(NGRAMS, (batch_size, round(0.15 * context)), p=1 / NGRAMS / (1 / NGRAMS).sum())
    found = spans(windows_B2[:, 1] - windows_B2[:, 0], lengths_BK, rng)
    # the text without its special tokens is counted through: [CLS] before all of it, the inner [SEP] before B
    firsts_B1 = pairs_B22[:, :1, 1] - pairs_B22[:, :1, 0]
    positions_BK = found.positions_BK + 1 + (found.positions_BK >= firsts_B1)
    masks = replaced(tokens_BT, positions_BK, found.valid_BK, rng, Corruption.of(text))
    return {
        **masks._asdict(),
        "segments_BT": segments_BT,
        "swapped_B": torch.from_numpy(swapped_B).long(),
    }


def features(network: AlbertForPreTraining, tokens_BT: Tensor, special_tokens: SpecialTokens) -> Tensor:
    """Return the mean of the states of each text, [B, D]."""
    return mean_of_text(network.albert, tokens_BT, special_tokens, network.config.max_position_embeddings)
