"""The reward model: a scalar head on the supervised policy's backbone, fitted to comparisons.

P(a is preferred to b) = sigmoid(r(a) - r(b)) (Bradley and Terry 1952; Stiennon et al. 2020, section 3.4), and the
loss is the cross-entropy of that with the labels of jokbo.alignment.labels: -log of it, where a label is a choice.
Rewards are then normalised to mean 0 and standard deviation 1 over the supervised policy's samples (Ziegler et al.
2019, section 2.1); the two numbers stand in the model's config.json as `reward_mean` and `reward_std`.

Shapes: N or B sequences, S tokens of a sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from jokbo.alignment.labels import Labels, losses, preferred, right
from jokbo.data.corpus.batches import dealt_by_length
from jokbo.models import access, heads
from jokbo.models.causal import leading

if TYPE_CHECKING:
    from jokbo.data.tables import Row


def on_policy(policy: PreTrainedModel, *, seed: int) -> PreTrainedModel:
    """Return a reward model: the policy's backbone, and a head drawn from N(0, 1 / (hidden size + 1)) (Stiennon et al.
    2020)."""
    model = heads.on_last(policy, labels=1, seed=seed)
    score = access.score(model)
    nn.init.normal_(score.weight, std=(score.in_features + 1) ** -0.5)
    return model


def encode(tokenizer: PreTrainedTokenizerBase, rows: Iterable[Row], context: int) -> tuple[Tensor, Tensor]:
    """Return the preferred and the rejected sequences, prompt and response, int64 [N, context] each."""
    better, other = [], []
    for row in rows:
        better.append(row["prompt"] + row["responses"][preferred(row)])
        other.append(row["prompt"] + row["responses"][1 - preferred(row)])
    return heads.encode(tokenizer, better, context), heads.encode(tokenizer, other, context)


def batches(
    sides: tuple[Tensor, Tensor], labels: Labels, network: PreTrainedModel, batch_size: int, seed: int
) -> Callable[[int], dict[str, Tensor]]:
    """Return the batch of each step, pairs of like length, as `Compare` takes it.

    `sides`: preferred and rejected sequences, [N, S] each.
    """
    preferred_NS, rejected_NS = sides
    padding, end = network.config.pad_token_id, network.config.eos_token_id
    lengths_N = torch.maximum(*(heads.last_tokens(side_NS, padding, end) for side_NS in sides)).numpy()
    pairs_at = dealt_by_length(lengths_N, batch_size, seed, "data/preferences")

    def batch_at(step: int) -> dict[str, Tensor]:
        rows = torch.from_numpy(pairs_at(step))
        both_NS = heads.trimmed(torch.cat([preferred_NS[rows], rejected_NS[rows]]), padding, end)
        preferred_BS, rejected_BS = both_NS.chunk(2)
        return {
            "preferred_BS": preferred_BS,
            "rejected_BS": rejected_BS,
            "probability_B": labels.probability_N[rows],
            "margin_B": labels.margin_N[rows],
        }

    return batch_at


class Compare(nn.Module):
    """Bradley-Terry loss, nats a preference pair, of preferred against rejected responses.

    Without labels each pair is a choice.
    """

    def __init__(self, network: PreTrainedModel) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        preferred_BS: Tensor,
        rejected_BS: Tensor,
        probability_B: Tensor | float = 1.0,
        margin_B: Tensor | float = 0.0,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        both = torch.cat([preferred_BS, rejected_BS])
        rewards = heads.of_last(self.network, both).squeeze(-1)
        lead_B = rewards[: len(preferred_BS)] - rewards[len(preferred_BS) :]
        return losses(lead_B, probability_B, margin_B).mean(), {
            "accuracy": right(lead_B, probability_B).mean(),
            "margin": lead_B.detach().mean(),
        }


def normalise(model: PreTrainedModel, samples_NS: Tensor) -> None:
    """Make `rewards` have mean 0 and standard deviation 1 over these samples."""
    raw_N = heads.outputs(model, samples_NS).squeeze(-1).double()
    model.config.reward_mean = raw_N.mean().item()
    model.config.reward_std = raw_N.std().item()


def rewards(model: PreTrainedModel, tokens_NS: Tensor) -> Tensor:
    """Return the normalised reward, fp32 [N], of each sequence: prompt, response, end of text, padding."""
    raw_N = heads.outputs(model, tokens_NS).squeeze(-1)
    return (raw_N - model.config.reward_mean) / model.config.reward_std


def with_end_of_text(tokens_NS: Tensor, end_of_text: int, padding: int) -> Tensor:
    """Return the sequences, [N, S + 1], as the reward model reads them: a truncated response gets an end of text, and
    padding before the prompt goes to the end."""
    order_NS = torch.argsort(leading(tokens_NS, padding).int(), dim=1, stable=True)
    ended_NS = torch.cat([tokens_NS.gather(1, order_NS), torch.full((len(tokens_NS), 1), padding)], dim=1)
    last_N = heads.last_tokens(ended_NS, padding)
    rows = torch.arange(len(ended_NS))
    unfinished = ended_NS[rows, last_N] != end_of_text
    ended_NS[rows[unfinished], last_N[unfinished] + 1] = end_of_text
    return ended_NS
