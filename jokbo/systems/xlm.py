"""XLM (Conneau and Lample 2019): one masked language model for several languages, tied together by translations.

New in the paper: masked language modelling over streams of text in any language, not pairs of sentences, with an
embedding of the language added to each token (section 3.3), and translation language modelling (section 3.4, figure
1): a text and its translation in one sequence, tokens of both masked, so that a word may be guessed from the other
language; the translation's positions begin at 0 again. The two are trained in turns: even steps here are of text, odd
ones of translations.

15% of the tokens are predicted, 80% of them masked, 10% random, 10% kept, chosen with weights proportional to the
square root of their inverse frequency (section 3.3). The paper's one special token, </s> before and after each
sentence, is [SEP] here.

Pairs are English and Korean messages of OpenStack's dashboard, from a package that is read as data. They are short, so
a sequence has as many of them as it holds, all English before all Korean ones. Streams of text are of the first
language alone, that of the comparison: the paper has them in all. A vocabulary that was learned without Korean knows
none of it: unknown tokens are never predicted, and teach nothing.

The count: the paper prints none; 250M is that of its XNLI model (15 languages, 12 layers, 95,000 tokens) in the table
of model sizes of XLM-R's paper (Conneau et al. 2020, appendix).

Shapes: B sequences of a batch, T tokens of a sequence, K tokens to predict in each, V vocabulary, M pairs to choose
from, 2 languages, D numbers of a state.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForMaskedLM, PreTrainedModel

from jokbo.models import access
from jokbo.systems.common import Paper, Size, SpecialTokens, Text, mean_state, rng_of
from jokbo.systems.masking import Corruption, begin_as_sinusoids, masked, masked_loss

TITLE, YEAR, OBJECTIVE = "XLM", 2019, "masked tokens, of translations too"
NATS = "loss"
PAPER_SIZES = {
    "xnli-15": Paper(
        Size(vocabulary=95000, layers=12, hidden_size=1024, heads=8, context=512, more={"languages": 15}),
        250e6,
        tolerance=0.005,
    ),
}


def network(size: Size, special_tokens: SpecialTokens, seed: int) -> PreTrainedModel:
    """Return the network with fresh weights, a function of the arguments alone."""
    torch.manual_seed(seed)
    config = AutoConfig.for_model(
        "xlm",
        vocab_size=size.vocabulary,
        n_layers=size.layers,
        emb_dim=size.hidden_size,
        n_heads=size.heads,
        max_position_embeddings=size.context,
        n_langs=size.more.get("languages", 2),
        dropout=size.dropout,
        attention_dropout=size.dropout,
        embed_init_std=size.hidden_size**-0.5,
        bos_token_id=special_tokens.sep,
        eos_token_id=special_tokens.sep,
        pad_token_id=special_tokens.padding,
        unk_index=special_tokens.unknown,
        mask_index=special_tokens.mask,
        mask_token_id=special_tokens.mask,
    )
    made = AutoModelForMaskedLM.from_config(config, dtype=torch.float32)
    begin_as_sinusoids(made.base_model.position_embeddings)
    return made


class Objective(nn.Module):
    """The mean cross-entropy of the chosen tokens, of either kind of batch."""

    def __init__(self, network: PreTrainedModel, special_tokens: SpecialTokens) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        inputs_BT: Tensor,
        languages_BT: Tensor,
        positions_BT: Tensor,
        positions_BK: Tensor,
        targets_BK: Tensor,
        weights_BK: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of the batch in nats a token, and no metrics. Padding has the position -1."""
        real_BT = (positions_BT >= 0).long()
        states_BTD = self.network.base_model(
            input_ids=inputs_BT,
            langs=languages_BT,
            position_ids=positions_BT.clamp(min=0),
            attention_mask=real_BT,
        ).last_hidden_state
        head = access.language_head(self.network)
        return masked_loss(head, states_BTD, positions_BK, targets_BK, weights_BK), {}


def batch(text: Text, step: int, batch_size: int, context: int, seed: int) -> dict[str, Tensor]:
    """Return sequences of text (even steps) or of translations (odd steps), with tokens masked."""
    make = translations if step % 2 else stream
    row = make(text, step // 2, batch_size, context, seed)
    tokens_BT = row.pop("tokens_BT")
    found = masked(
        tokens_BT,
        chances(text)[tokens_BT],
        rng_of(seed, step, "mask"),
        Corruption.of(text),
    )
    return {**row, **found._asdict()}


def chances(text: Text) -> Tensor:
    """Return how likely each token is to be predicted, relative to others, [V]; special tokens never are."""
    chances_V = 1 / np.sqrt(np.maximum(text.counts_V, 1))
    chances_V[: text.special_tokens.mask + 1] = 0  # the last of the special tokens
    return torch.from_numpy(chances_V)


def stream(text: Text, step: int, batch_size: int, context: int, seed: int) -> dict[str, Tensor]:
    """Return sequences of running text in the first language."""
    tokens_BT = torch.full((batch_size, context), text.special_tokens.sep)
    tokens_BT[:, 1:] = text.blocks(step, batch_size, context - 1, seed)
    return {
        "tokens_BT": tokens_BT,
        "languages_BT": torch.zeros_like(tokens_BT),
        "positions_BT": torch.arange(context).repeat(batch_size, 1),
    }


def translations(text: Text, step: int, batch_size: int, context: int, seed: int) -> dict[str, Tensor]:
    """Return sequences of texts and their translations: random pairs, as many as fit.

    A pair that is too long alone is cut.
    """
    rng = rng_of(seed, step, "pairs")
    order_BM = rng.integers(len(text.pairs), size=(batch_size, context // 4)).tolist()
    sep, bounds_B2 = (
        np.array([text.special_tokens.sep]),
        np.zeros((batch_size, 2), int),
    )  # where each language ends
    tokens_BT = np.full((batch_size, context), text.special_tokens.padding)
    for row, order_M in enumerate(order_BM):
        chosen, room = [], context - 2  # without the two special tokens that begin a language
        for pair in (text.pairs[number] for number in order_M):
            needed = sum(map(len, pair)) + 2
            if chosen and needed > room:
                break
            chosen.append(pair)
            room -= needed
        longest = context if room >= 0 else context // 2
        start = 0
        for language, texts in enumerate(zip(*chosen, strict=True)):
            ended = [part for tokens in texts for part in (tokens, sep)]
            tokens = np.concatenate([sep, *ended])[:longest]
            bounds_B2[row, language] = end = start + len(tokens)
            tokens_BT[row, start:end] = tokens
            start = end
    positions_T, (middles_B1, ends_B1) = np.arange(context), bounds_B2.T[:, :, None]
    real_BT = positions_T < ends_B1
    languages_BT = real_BT & (positions_T >= middles_B1)
    return {
        "tokens_BT": torch.from_numpy(tokens_BT),
        "languages_BT": torch.from_numpy(languages_BT.astype(int)),
        "positions_BT": torch.from_numpy(np.where(real_BT, positions_T - languages_BT * middles_B1, -1)),
    }


def features(network: PreTrainedModel, tokens_BT: Tensor, special_tokens: SpecialTokens) -> Tensor:
    """Return the mean of the states of each text, which is in the first language, [B, D].

    masking.mean_of_text says why.
    """
    inputs_BT = nn.functional.pad(tokens_BT, (1, 0), value=special_tokens.sep)
    inputs_BT = inputs_BT[:, : network.config.max_position_embeddings]
    real_BT = (inputs_BT != special_tokens.padding).long()
    states_BTD = network.base_model(
        input_ids=inputs_BT, langs=torch.zeros_like(inputs_BT), attention_mask=real_BT
    ).last_hidden_state
    return mean_state(states_BTD, real_BT)
