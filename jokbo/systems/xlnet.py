"""XLNet (Yang et al. 2019): tokens are predicted in a random order, so that each sees context on both sides.

New in the paper: permutation language modelling (section 2.2, equation 3): a sequence keeps its positions, but its
likelihood is factorised in a random order, and a token sees those before it in that order. Two streams of states
(section 2.3, equations 4 to 6): a query stream knows a target's position but not the token, the content stream both.
Partial prediction (section 2.3, equation 5's last paragraph): only the last 1/K of the order is predicted, K = 6,
here as spans of 1 to 5 tokens, each within a context of K times its length (section 3.1).

As in the released code, the tokens that are not predicted come first in the order and all see each other; a span has n
tokens with a probability proportional to 1/n; and every sequence has the same number of targets, floor(T / 6). If spans
have too many tokens the rest is left off, and if they have too few single tokens are added.

Not here: the memory of Transformer-XL (sequences of one batch do not follow on those of the last) and sequences of two
segments. A sequence is one segment of running text, with [SEP] and [CLS] after it as in the paper's input (section
2.5), so that the parameters of relative segment encodings (section 2.5) have no effect. Special tokens are never
predicted.

Shapes: B sequences of a batch, T tokens of a sequence, K targets in each, N spans in each, V vocabulary, D numbers of a
state.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from jokbo.models.causal import mean_one
from jokbo.systems.common import Paper, Size, SpecialTokens, Text, mean_state, rng_of
from jokbo.systems.masking import weighted_mean

TITLE, YEAR, OBJECTIVE = "XLNet", 2019, "tokens in a random order"
NATS = "loss"
PAPER_SIZES = {  # base has the size of BERT-base (section 3.4): 117M is transformers' documentation's count
    "base": Paper(
        Size(vocabulary=32000, layers=12, hidden_size=768, heads=12, context=512), 117e6, tolerance=0.005
    ),
}
ONE_IN, LONGEST = 6, 5  # K; tokens of a span


def network(size: Size, special_tokens: SpecialTokens, seed: int) -> PreTrainedModel:
    """Return the network with fresh weights, a function of the arguments alone."""
    torch.manual_seed(seed)
    config = AutoConfig.for_model(
        "xlnet",
        vocab_size=size.vocabulary,
        n_layer=size.layers,
        d_model=size.hidden_size,
        n_head=size.heads,
        d_inner=4 * size.hidden_size,
        dropout=size.dropout,
        use_mems_eval=False,
        bos_token_id=special_tokens.end_of_text,
        eos_token_id=special_tokens.end_of_text,
        pad_token_id=special_tokens.padding,
    )
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def unseen(ranks_BT: Tensor) -> Tensor:
    """Return whether position i may not see the token at j, as floats [B, i, j].

    `ranks_BT` is a target's rank in the order, -1 for tokens before all targets. A target is hidden from itself too.
    This is for the query stream; the content stream sees the same and itself.
    """
    at_i, at_j = ranks_BT[:, :, None], ranks_BT[:, None, :]
    return ((at_j >= 0) & (at_j >= at_i)).float()


def predictions(
    network: PreTrainedModel, tokens_BT: Tensor, ranks_BT: Tensor, positions_BK: Tensor
) -> Tensor:
    """Return the logits of the query stream at the positions, [B, K, V]."""
    queries_BKT = nn.functional.one_hot(positions_BK, tokens_BT.shape[1]).float()
    return network(input_ids=tokens_BT, perm_mask=unseen(ranks_BT), target_mapping=queries_BKT).logits


class Objective(nn.Module):
    """Equation 5, as a mean over targets."""

    def __init__(self, network: PreTrainedModel, special_tokens: SpecialTokens) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, tokens_BT: Tensor, ranks_BT: Tensor, positions_BK: Tensor, weights_BK: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of the batch in nats a token, and no metrics."""
        logits_BKV = predictions(self.network, tokens_BT, ranks_BT, positions_BK)
        return weighted_mean(logits_BKV, tokens_BT.gather(1, positions_BK), weights_BK), {}


def batch(text: Text, step: int, batch_size: int, context: int, seed: int) -> dict[str, Tensor]:
    """Return blocks of running text with [SEP] and [CLS] after them, and an order to predict them in."""
    tokens_BT = text.blocks(step, batch_size, context - 2, seed)
    ends_B2 = torch.tensor([text.special_tokens.sep, text.special_tokens.cls]).expand(batch_size, 2)
    tokens_BT = torch.cat([tokens_BT, ends_B2], dim=1)
    eligible_BT = tokens_BT.numpy() > text.special_tokens.mask  # the last of the special tokens
    return {"tokens_BT": tokens_BT, **order(eligible_BT, rng_of(seed, step, "order"))}


def order(eligible_BT: np.ndarray, rng: np.random.Generator) -> dict[str, Tensor]:
    """Return which tokens are predicted, and in what order: K = floor(T / 6) positions of each sequence."""
    batch_size, length = eligible_BT.shape
    count = length // ONE_IN
    # as if each sequence's end went on at its start, from a random position: none is likelier than another
    turned_BT = (np.arange(length) + rng.integers(length, size=(batch_size, 1))) % length
    left_BT = spans(batch_size, length, rng)
    preference_BT = np.where(left_BT, np.arange(length) / length, 1 + rng.random((batch_size, length)))
    preference_BT += 2 * ~np.take_along_axis(eligible_BT, turned_BT, 1)
    picked_BK = np.argsort(preference_BT, axis=1)[:, :count]
    positions_BK = np.take_along_axis(turned_BT, picked_BK, 1)
    valid_BK = np.take_along_axis(eligible_BT, positions_BK, 1)
    ranks_BK = np.where(valid_BK, rng.random((batch_size, count)).argsort(axis=1), -1)
    ranks_BT = np.full((batch_size, length), -1)
    np.put_along_axis(ranks_BT, positions_BK, ranks_BK, 1)
    return {
        "ranks_BT": torch.from_numpy(ranks_BT),
        "positions_BK": torch.from_numpy(positions_BK),
        "weights_BK": mean_one(torch.from_numpy(valid_BK)),
    }


def spans(batch_size: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """Return which tokens are in spans, bool [B, length].

    Windows of ONE_IN times a span's length lie side by side; the span may be anywhere in its window.
    """
    sizes = np.arange(1, LONGEST + 1)
    windows = -(-length // ONE_IN)  # as many as there are if all spans are the shortest
    sizes_BN = rng.choice(sizes, p=1 / sizes / (1 / sizes).sum(), size=(batch_size, windows))
    ends_BN = (ONE_IN * sizes_BN).cumsum(axis=1)
    starts_BN = ends_BN - ONE_IN * sizes_BN + rng.integers((ONE_IN - 1) * sizes_BN + 1)
    found_BT = np.zeros((batch_size, length), bool)
    for offset in range(LONGEST):
        row, window = np.nonzero((offset < sizes_BN) & (starts_BN + offset < length))
        found_BT[row, starts_BN[row, window] + offset] = True
    return found_BT


def features(network: PreTrainedModel, tokens_BT: Tensor, special_tokens: SpecialTokens) -> Tensor:
    """Return the mean of the states of each text, with [SEP] and [CLS] after it, [B, D].

    masking.mean_of_text says why. Positions are relative, so that a text may be longer than the context.
    """
    lengths_B1 = (tokens_BT != special_tokens.padding).sum(dim=1, keepdim=True)
    inputs_BT = nn.functional.pad(tokens_BT, (0, 2), value=special_tokens.padding)
    inputs_BT = inputs_BT.scatter(1, lengths_B1, special_tokens.sep).scatter(
        1, lengths_B1 + 1, special_tokens.cls
    )
    real_BT = (torch.arange(inputs_BT.shape[1], device=inputs_BT.device) <= lengths_B1 + 1).float()
    states_BTD = network.base_model(input_ids=inputs_BT, attention_mask=real_BT).last_hidden_state
    return mean_state(states_BTD, real_BT)
