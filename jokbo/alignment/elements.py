"""The reward model's batch by prompts: all responses to a prompt, and each pair of them, are one element.

Ouyang et al. 2022, section 3.5: the K choose 2 pairs of a prompt are no independent ones, and a model that meets them
shuffled reads each response K - 1 times an epoch and overfits. As one element each response is read once. Equation 1
divides the sum over the pairs by their number, so each prompt weighs alike, however many responses it has.

Shapes: G prompts there are, B of a batch, M distinct responses of all prompts, K of a prompt at most, P pairs of a
prompt at most, S tokens of a sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from jokbo.alignment.labels import Labels, losses, preferred, right
from jokbo.data.corpus.batches import dealt_by_length
from jokbo.models import heads

if TYPE_CHECKING:
    from jokbo.data.tables import Row


@dataclass(frozen=True)
class Elements:
    """The pairs of a table by their prompts. What a prompt does not have, up to K and P, weighs nothing."""

    tokens_MS: Tensor  # int64: prompt, response, end of text, padding
    first_G: Tensor  # int64: the row of tokens_MS at which the responses to a prompt begin
    responses_G: Tensor  # int64: how many there are
    pairs_GP2: Tensor  # int64: a pair's preferred response and the other, counted from the prompt's first
    weights_GP: Tensor  # fp32: 1 / pairs of the prompt
    probability_GP: Tensor  # fp32, as Labels
    margin_GP: Tensor  # fp32
    lengths_G: Tensor  # int64: tokens of a prompt's longest response, the prompt among them

    def __len__(self) -> int:
        return len(self.first_G)

    def batch(self, rows_B: Tensor) -> dict[str, Tensor]:
        """Return some prompts as `CompareAll` takes them, cut to the longest and the most of them."""
        responses_B = self.responses_G[rows_B]
        most = int((self.weights_GP[rows_B] > 0).sum(1).max())
        # past a prompt's own responses the index is held inside the table: nothing reads what stands there
        place_BK = torch.arange(int(responses_B.max())).clamp(max=responses_B[:, None] - 1)
        found_BKS = self.tokens_MS[self.first_G[rows_B][:, None] + place_BK]
        return {
            "tokens_BKS": found_BKS[..., : int(self.lengths_G[rows_B].max())],
            "responses_B": responses_B,
            "pairs_BP2": self.pairs_GP2[rows_B, :most],
            "weights_BP": self.weights_GP[rows_B, :most],
            "probability_BP": self.probability_GP[rows_B, :most],
            "margin_BP": self.margin_GP[rows_B, :most],
        }


def of_pairs(
    rows: Sequence[Row], sides: tuple[Tensor, Tensor], labels: Labels, network: PreTrainedModel
) -> Elements:
    """Return the pairs by their prompts. A pair without a prompt is an element by itself.

    `sides`: preferred and rejected sequences of the rows, [N, S] each.
    """
    of_prompt: dict[str | int, list[int]] = {}
    for number, row in enumerate(rows):
        of_prompt.setdefault(row["prompt"] or number, []).append(number)
    tokens: list[Tensor] = []
    first, counts, pairs = [], [], []
    for numbers in of_prompt.values():
        place: dict[str, int] = {}
        first.append(len(tokens))
        for number in numbers:
            best = preferred(rows[number])
            for which, response in enumerate(rows[number]["responses"]):
                if response not in place:
                    place[response] = len(place)
                    tokens.append(sides[int(which != best)][number])
        chosen = [(rows[number]["responses"], preferred(rows[number])) for number in numbers]
        pairs.append(torch.tensor([(place[two[best]], place[two[1 - best]]) for two, best in chosen]))
        counts.append(len(place))
    at = [torch.tensor(numbers) for numbers in of_prompt.values()]
    pairs_GP2, weights_GP, probability_GP, margin_GP = (
        pad_sequence(parts, batch_first=True)
        for parts in (
            pairs,
            [torch.full((len(numbers),), 1 / len(numbers)) for numbers in at],
            [labels.probability_N[numbers] for numbers in at],
            [labels.margin_N[numbers] for numbers in at],
        )
    )
    tokens_MS = torch.stack(tokens)
    last_M = heads.last_tokens(tokens_MS, network.config.pad_token_id, network.config.eos_token_id)
    lengths_G = torch.tensor([int(part.max()) + 1 for part in last_M.split(counts)])
    return Elements(
        tokens_MS,
        torch.tensor(first),
        torch.tensor(counts),
        pairs_GP2,
        weights_GP,
        probability_GP,
        margin_GP,
        lengths_G,
    )


def batches(elements: Elements, batch_size: int, seed: int) -> Callable[[int], dict[str, Tensor]]:
    """Return the batch of each step: prompts whose longest responses are of like length."""
    prompts_at = dealt_by_length(elements.lengths_G.numpy(), batch_size, seed, "data/preferences")
    return lambda step: elements.batch(torch.from_numpy(prompts_at(step)))


class CompareAll(nn.Module):
    """Equation 1 of Ouyang et al. 2022, nats a pair: a mean over the prompts of the mean over each one's pairs."""

    def __init__(self, network: PreTrainedModel) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        tokens_BKS: Tensor,
        responses_B: Tensor,
        pairs_BP2: Tensor,
        weights_BP: Tensor,
        probability_BP: Tensor,
        margin_BP: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        there_BK = torch.arange(tokens_BKS.shape[1], device=tokens_BKS.device) < responses_B[:, None]
        rewards = heads.of_last(self.network, tokens_BKS[there_BK]).squeeze(-1)
        rewards_BK = torch.zeros(there_BK.shape, device=rewards.device).masked_scatter(there_BK, rewards)
        lead_BP = rewards_BK.gather(1, pairs_BP2[..., 0]) - rewards_BK.gather(1, pairs_BP2[..., 1])

        def mean(values_BP: Tensor) -> Tensor:
            return (values_BP * weights_BP).sum(1).mean()

        return mean(losses(lead_BP, probability_BP, margin_BP)), {
            "accuracy": mean(right(lead_BP, probability_BP)),
            "margin": mean(lead_BP.detach()),
        }
