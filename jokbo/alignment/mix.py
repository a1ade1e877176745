"""PPO-ptx: beside PPO the policy goes on learning the base model's pretraining text (Ouyang et al. 2022, equation 2).

So it forgets less of what it knew before its alignment. The loss of a minibatch is PPO's plus gamma times the mean
next-token loss of so many sequences of text for each of its responses. They travel with the responses, so that ranks
and micro-batches share both alike.

Shapes: B responses of a minibatch, K sequences for each, S tokens of one, T of its targets, N sequences in all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import PreTrainedModel

from jokbo.data.corpus.batches import Layout, TokenCorpus, packed_batch
from jokbo.models import access, causal

if TYPE_CHECKING:
    from jokbo.params import Ppo, PretrainingMix

Texts = dict[str, Tensor]
PREFIX = "text_"  # of the names that a batch has them by, beside the responses'


def texts_of(
    corpus: TokenCorpus, policy: PreTrainedModel, own: PretrainingMix, settings: Ppo
) -> Callable[[int], Texts]:
    """Return what gives the text of each step of the policy, tensors [B, K, ...]: a function of (seed, step) alone.

    Raises InputError if the corpus has fewer sequences than a step takes.
    """
    count = settings.minibatch * own.sequences
    layout = Layout(count, access.context(policy), settings.seed, own.packing)
    end, padding = policy.config.eos_token_id, policy.config.pad_token_id

    def at(step: int) -> Texts:
        tokens_NS = torch.from_numpy(packed_batch(corpus, step, layout, padding))
        rows = causal.packed_rows(tokens_NS, own.packing, end_of_text=end, padding=padding)
        return {PREFIX + name: rows_N.unflatten(0, (settings.minibatch, -1)) for name, rows_N in rows.items()}

    at(0)  # a corpus too small is found before anything trains
    return at


def loss(network: PreTrainedModel, texts: Texts) -> Tensor:
    """Return the mean next-token loss, nats, of what `texts_of` gave, or of an even share of it."""
    rows = {name.removeprefix(PREFIX): each.flatten(0, 1) for name, each in texts.items()}
    weights_NT = rows.pop("weights_BT")
    return (causal.token_losses(network, **rows) * weights_NT).mean()
