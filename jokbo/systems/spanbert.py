"""SpanBERT: Improving Pre-training by Representing and Predicting Spans (Joshi et al. 2020).

New: whole spans are masked, of lengths from a geometric distribution with p = 0.2 up to 10, 3.8 on average, until 15%
of the tokens are (section 3.1); a span is masked, replaced or kept as one. Each of its tokens is predicted twice: once
as BERT does, and once from nothing but the states on either side of the span and the token's position in the span (the
span-boundary objective, section 3.2). The two losses are added. A sequence is one segment, without next sentence
prediction (section 3.3).

Lengths are in tokens here and in whole words in the paper, as the text of the comparison comes as tokens. Spans do not
touch (the released code merges those that do), so the state beside a span is that of a token that is seen, or of [CLS]
or [SEP]. The last span of a sequence is cut to the budget, which takes the average length a little below 3.8.

Shapes: B sequences of a batch, T tokens of a sequence, K tokens to predict in each, D numbers of a state, 2 start and
end.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForMaskedLM

from jokbo.systems import bert
from jokbo.systems.common import Paper, Size, SpecialTokens, Text, rng_of
from jokbo.systems.masking import (
    Corruption,
    begin_as_sinusoids,
    framed,
    gathered,
    mean_of_text,
    replaced,
    spans,
    weighted_mean,
)

TITLE, YEAR, OBJECTIVE = "SpanBERT", 2020, "masked spans, span boundary"
NATS = "masked"
PAPER_SIZES = {  # the paper has no figure but BERT's, whose sizes it takes (section 4.2)
    "base": Paper(bert.PAPER_SIZES["base"].size, 110e6, "all but the span-boundary head"),
    "large": Paper(bert.PAPER_SIZES["large"].size, 340e6, "all but the span-boundary head"),
}
LENGTHS = np.arange(1, 11)
CHANCES = 0.2 * 0.8 ** (LENGTHS - 1) / (0.2 * 0.8 ** (LENGTHS - 1)).sum()
POSITION_SIZE = 200  # of the vector of a position in a span (section 4.2)


class Boundary(nn.Module):
    """f(x[s-1], x[e+1], p[i-s+1]) of section 3.2: two layers with GELU and layer norm."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        hidden_size, eps = config.hidden_size, config.layer_norm_eps
        self.positions = nn.Embedding(len(LENGTHS), POSITION_SIZE)
        self.layers = nn.Sequential(
            nn.Linear(2 * hidden_size + POSITION_SIZE, hidden_size),
            nn.GELU(),
            nn.LayerNorm(hidden_size, eps=eps),
            nn.Linear(hidden_size, hidden_size),
            nn.GELU(),
            nn.LayerNorm(hidden_size, eps=eps),
        )

    def forward(self, left_BKD: Tensor, right_BKD: Tensor, inner_BK: Tensor) -> Tensor:
        """Return what predicts each token, [B, K, D], from the states beside its span and its position in it."""
        return self.layers(torch.cat([left_BKD, right_BKD, self.positions(inner_BK)], dim=-1))


class SpanBert(BertForMaskedLM):
    """BERT with the head of the span-boundary objective.

    A saved one opens as BertForMaskedLM, without that head.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.boundary = Boundary(config)
        self.post_init()


def network(size: Size, special_tokens: SpecialTokens, seed: int) -> SpanBert:
    """Return the network with fresh weights, a function of the arguments alone."""
    torch.manual_seed(seed)
    made = SpanBert(bert.configuration(size, special_tokens))
    begin_as_sinusoids(made.bert.embeddings.position_embeddings)
    return made


class Objective(nn.Module):
    """The mean over the masked tokens of both losses' sum (equation 1), which share the output embeddings."""

    def __init__(self, network: SpanBert, special_tokens: SpecialTokens) -> None:
        super().__init__()
        self.network, self.padding = network, special_tokens.padding

    def forward(
        self,
        inputs_BT: Tensor,
        positions_BK: Tensor,
        targets_BK: Tensor,
        weights_BK: Tensor,
        lefts_BK: Tensor,
        rights_BK: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of the batch in nats, and its two parts."""
        seen_BT = inputs_BT != self.padding
        states_BTD = self.network.bert(inputs_BT, attention_mask=seen_BT).last_hidden_state
        head = self.network.cls.predictions
        words = weighted_mean(head(gathered(states_BTD, positions_BK)), targets_BK, weights_BK)
        left_BKD, right_BKD = gathered(states_BTD, lefts_BK), gathered(states_BTD, rights_BK)
        beside_BKD = self.network.boundary(left_BKD, right_BKD, positions_BK - lefts_BK - 1)
        boundary = weighted_mean(head.decoder(beside_BKD), targets_BK, weights_BK)
        return words + boundary, {"masked": words.detach(), "boundary": boundary.detach()}


def batch(text: Text, step: int, batch_size: int, context: int, seed: int) -> dict[str, Tensor]:
    """Return windows of running text inside a document, with spans masked.

    `lefts_BK` and `rights_BK` are the positions beside each token's span.
    """
    special_tokens, room = text.special_tokens, context - 2
    rng = rng_of(seed, step, "spanbert")
    _, windows_B2 = bert.windows(text.corpus, step, batch_size, room, seed)
    tokens_BT = np.full((batch_size, room), special_tokens.padding)
    for row, (start, end) in enumerate(windows_B2.tolist()):
        tokens_BT[row, : end - start] = text.corpus.window(start, end - start)
    tokens_BT = framed(torch.from_numpy(tokens_BT), special_tokens, context)
    lengths_BK = rng.choice(LENGTHS, (batch_size, round(0.15 * context)), p=CHANCES)
    found = spans(windows_B2[:, 1] - windows_B2[:, 0], lengths_BK, rng)
    masks = replaced(
        tokens_BT,
        found.positions_BK + 1,  # after [CLS]
        found.valid_BK,
        rng,
        Corruption.of(text),
        found.spans_BK,
    )
    return {
        **masks._asdict(),
        "lefts_BK": torch.from_numpy(found.firsts_BK),
        "rights_BK": torch.from_numpy(found.lasts_BK + 2),
    }


def features(network: SpanBert, tokens_BT: Tensor, special_tokens: SpecialTokens) -> Tensor:
    """Return the mean of the states of each text, [B, D]."""
    return mean_of_text(network.bert, tokens_BT, special_tokens, network.config.max_position_embeddings)
