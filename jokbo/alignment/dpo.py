"""Direct preference optimisation: the policy learns from comparisons, without a reward model (Rafailov et al. 2023).

The loss is equation 7 there, -log sigmoid(margin), where a label is a choice, else the cross-entropy with the labels of
jokbo.alignment.labels. The margin is beta times the log ratio of policy to reference of the preferred response, less
that of the other; one that it must have by its label is an offset (Amini et al. 2024). The policy begins as the
reference, which is the supervised policy and never changes; so the log-probabilities of the reference are computed
once.

A sequence is `prompt, response, end of text, padding`. Prompt and response are tokenized each by itself, as the policy
reads a prompt before there is a response.

Shapes: N or B pairs, 2 sides (preferred, rejected), S tokens of a sequence, T targets (S - 1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from jokbo.alignment.labels import Labels, losses, preferred, right
from jokbo.data.corpus.batches import dealt_by_length
from jokbo.models import access
from jokbo.models.causal import token_losses
from jokbo.runtime.files import atomic_write_folder
from jokbo.runtime.progress import progress
from jokbo.training import processes

if TYPE_CHECKING:
    from jokbo.data.tables import Row
    from jokbo.training.engine import Batch

ROWS = 16  # pairs that the reference reads at once


@dataclass(frozen=True)
class Sides:
    """Both responses of N pairs, each after its prompt."""

    tokens_N2S: Tensor  # int64
    response_N2T: Tensor  # bool: which targets are the response's, its end of text among them
    lengths_N: Tensor  # int64: tokens of the longer side

    def __len__(self) -> int:
        return len(self.tokens_N2S)

    def of(self, numbers: Sequence[int]) -> Sides:
        """Return the pairs of these numbers."""
        return Sides(self.tokens_N2S[numbers], self.response_N2T[numbers], self.lengths_N[numbers])


def encode(
    tokenizer: PreTrainedTokenizerBase, rows: Iterable[Row], context: int
) -> tuple[Sides, list[Row], int]:
    """Return the pairs that fit, the rows that these are of, and how many do not fit.

    A pair fits if prompt, response and end of text are at most `context` tokens on both sides. None of the rows may
    have an empty prompt.
    """
    end, padding = access.end_of_text(tokenizer), access.padding(tokenizer)
    sequences: list[list[tuple[list[int], int]]] = []
    kept: list[Row] = []
    left_out = 0
    for row in rows:
        prompt, *responses = (
            tokenizer(text, add_special_tokens=False)["input_ids"]
            for text in (
                row["prompt"],
                row["responses"][preferred(row)],
                row["responses"][1 - preferred(row)],
            )
        )
        sides = [([*prompt, *response, end], len(prompt)) for response in responses]
        if max(len(tokens) for tokens, _ in sides) > context:
            left_out += 1
        else:
            sequences.append(sides)
            kept.append(row)
    lengths_N = torch.tensor([max(len(tokens) for tokens, _ in sides) for sides in sequences])
    tokens_N2S = torch.full((len(kept), 2, int(lengths_N.max()) if kept else 1), padding)
    response_N2T = torch.zeros(tokens_N2S[..., 1:].shape, dtype=torch.bool)
    for row, sides in enumerate(sequences):
        for side, (tokens, start) in enumerate(sides):
            tokens_N2S[row, side, : len(tokens)] = torch.tensor(tokens)
            response_N2T[row, side, start - 1 : len(tokens) - 1] = True
    return Sides(tokens_N2S, response_N2T, lengths_N), kept, left_out


def log_probs(network: PreTrainedModel, tokens_B2S: Tensor, response_B2T: Tensor) -> Tensor:
    """Return log p of each response given its prompt, nats, fp32 [B, 2]."""
    nats_CT = token_losses(
        network, tokens_B2S.flatten(0, 1)
    )  # padding stands on the right, where no token sees it
    return -(nats_CT.view(response_B2T.shape) * response_B2T).sum(-1)


@torch.no_grad()
def log_probs_of_all(network: PreTrainedModel, sides: Sides, precision: str) -> Tensor:
    """Return log p of all responses, [N, 2] on the CPU, computed as the training computes them."""
    network.eval()
    parts = []
    firsts = range(0, len(sides), ROWS)
    for first in progress(firsts, "dpo: reading what the policy says of both responses"):
        some = slice(first, first + ROWS)
        tokens_B2S, response_B2T = _cut(sides, torch.arange(len(sides))[some])
        with processes.autocast(precision):
            found = log_probs(network, tokens_B2S.to(network.device), response_B2T.to(network.device))
        parts.append(found.float().cpu())
    return torch.cat(parts)


def reference_log_probs(
    policy: PreTrainedModel, sides: Sides, precision: str, kept: Path | None = None
) -> Tensor:
    """Return log p of all responses under the policy as it is now, [N, 2].

    With a folder `kept` they are computed once: a run that goes on reads what the first one wrote there.
    """
    file = "log_probs.safetensors"
    if kept is not None and (kept / file).is_file():
        return load_file(kept / file)["reference_N2"]
    reference_N2 = log_probs_of_all(policy, sides, precision)
    if kept is not None and processes.rank() == 0:
        with atomic_write_folder(kept) as folder:
            save_file({"reference_N2": reference_N2}, folder / file)
    return reference_N2


def margins(log_probs_B2: Tensor, reference_B2: Tensor, beta: float) -> Tensor:
    """Return how much more the policy prefers the preferred response than the reference does, [B].

    That is beta times a difference of log ratios: of the rewards that the policy implies (section 4, equation 5).
    """
    ratio_B2 = log_probs_B2 - reference_B2
    return beta * (ratio_B2[:, 0] - ratio_B2[:, 1])


class DpoLoss(nn.Module):
    """Equation 7, nats, a mean over the pairs of the batch.

    Without labels each pair is a choice. Dropout is off: the policy begins as the reference, with margins of 0 and a
    loss of log 2.
    """

    def __init__(self, network: PreTrainedModel, beta: float) -> None:
        super().__init__()
        self.network, self.beta = network, beta

    def train(self, mode: bool = True) -> DpoLoss:
        return super().train(False)

    def forward(
        self,
        tokens_B2S: Tensor,
        response_B2T: Tensor,
        reference_B2: Tensor,
        probability_B: Tensor | float = 1.0,
        offset_B: Tensor | float = 0.0,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        margin_B = margins(log_probs(self.network, tokens_B2S, response_B2T), reference_B2, self.beta)
        return losses(margin_B, probability_B, offset_B).mean(), {
            "accuracy": right(margin_B, probability_B).mean(),
            "margin": margin_B.detach().mean(),
        }


def batches(
    sides: Sides, labels: Labels, reference_N2: Tensor, batch_size: int, seed: int
) -> Callable[[int], Batch]:
    """Return the batch of each step, pairs of like length, as `DpoLoss` takes it."""
    pairs_at = dealt_by_length(sides.lengths_N.numpy(), batch_size, seed, "data/preferences")

    def batch_at(step: int) -> Batch:
        rows = torch.from_numpy(pairs_at(step))
        tokens_B2S, response_B2T = _cut(sides, rows)
        return {
            "tokens_B2S": tokens_B2S,
            "response_B2T": response_B2T,
            "reference_B2": reference_N2[rows],
            "probability_B": labels.probability_N[rows],
            "offset_B": labels.margin_N[rows],
        }

    return batch_at


def _cut(sides: Sides, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return tokens and which targets are the response's, of some pairs, cut to the longest of them."""
    length = int(sides.lengths_N[rows].max())
    return sides.tokens_N2S[rows, :, :length], sides.response_N2T[rows, :, : length - 1]
