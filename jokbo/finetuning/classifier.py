"""GPT-1's way to a classifier (Radford et al. 2018, section 3.2).

A text becomes `text, end-of-text`; the state at the end-of-text mark, the paper's extract token, goes through one
linear layer. The loss is L3 = L2 + lambda L1 (equation 5): that of the label, and that of the language model.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from jokbo.systems.gpt import mean_one, some_targets


def on_trunk(network: PreTrainedModel, *, labels: int, seed: int) -> PreTrainedModel:
    """A network with a copy of this one's trunk and a fresh linear layer of `labels` outputs."""
    torch.manual_seed(seed)
    config = network.config.__class__.from_dict({**network.config.to_dict(), "num_labels": labels})
    classifier = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    classifier.base_model.load_state_dict(network.base_model.state_dict())
    return classifier


def encode(tokenizer: PreTrainedTokenizerBase, texts: list[str], context: int) -> Tensor:
    """Texts as int64 [N, context]: the first context - 1 tokens, the end of text, padding."""
    rows = torch.full((len(texts), context), tokenizer.pad_token_id)
    for row, ids in zip(rows, tokenizer(texts, add_special_tokens=False)["input_ids"], strict=True):
        ids = [*ids[: context - 1], tokenizer.eos_token_id]
        row[: len(ids)] = torch.tensor(ids)
    return rows


def full(tokens_NS: Tensor, end_of_text: int) -> int:
    """How many rows of `encode` have no room left, so that the rest of their texts, if there is any, is not read."""
    return int((tokens_NS[:, -1] == end_of_text).sum())


def last_tokens(tokens_BS: Tensor, padding: int, end_of_text: int | None = None) -> Tensor:
    """Position [B] of the last token of each row that is not padding, or of its end of text where that is the same."""
    real_B = (tokens_BS != padding).sum(dim=1)
    return real_B.clamp(max=tokens_BS.shape[1] - 1) if padding == end_of_text else real_B - 1


def trimmed(tokens_BS: Tensor, padding: int, end_of_text: int | None = None) -> Tensor:
    """The rows without the columns at the end in which every one of them has padding."""
    return tokens_BS[:, : int(last_tokens(tokens_BS, padding, end_of_text).max()) + 1]


def states_and_outputs(network: PreTrainedModel, tokens_BS: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden states [B, S, D] and what the linear layer makes of the last one of each row [B, labels].

    Padding stands on the right, where no real token sees it, so no attention mask is needed.
    """
    hidden_BSD = network.base_model(input_ids=tokens_BS, use_cache=False).last_hidden_state
    last_B = last_tokens(tokens_BS, network.config.pad_token_id, network.config.eos_token_id)
    last_BD = hidden_BSD[torch.arange(len(last_B), device=last_B.device), last_B]
    return hidden_BSD, network.score(last_BD).float()


class Classify(nn.Module):
    """L3 of GPT-1. `weights_BT` weighs the language model's targets, with mean 1 over the global batch."""

    def __init__(self, network: PreTrainedModel, language_model_weight: float) -> None:
        super().__init__()
        self.network = network
        self.language_model_weight = language_model_weight

    def forward(
        self, tokens_BS: Tensor, weights_BT: Tensor, labels_B: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        hidden_BSD, logits_BC = states_and_outputs(self.network, tokens_BS)
        label_loss = nn.functional.cross_entropy(logits_BC, labels_B)
        chosen_N = some_targets(weights_BT)
        embeddings_VD = (
            self.network.get_input_embeddings().weight
        )  # tied: they are the language model's head too
        logits_NV = nn.functional.linear(hidden_BSD[:, :-1].flatten(0, 1)[chosen_N], embeddings_VD).float()
        nats_N = nn.functional.cross_entropy(
            logits_NV, tokens_BS[:, 1:].flatten()[chosen_N], reduction="none"
        )
        language_loss = (nats_N * weights_BT.flatten()[chosen_N]).sum() / weights_BT.numel()
        accuracy = (logits_BC.argmax(-1) == labels_B).float().mean()
        loss = label_loss + self.language_model_weight * language_loss
        return loss, {
            "label_loss": label_loss.detach(),
            "language_model_loss": language_loss.detach(),
            "accuracy": accuracy,
        }


def batch(
    tokens_NS: Tensor, labels_N: Tensor, indices_B: Tensor, padding: int, end_of_text: int | None = None
) -> dict[str, Tensor]:
    """The rows that the indices name, as `Classify` takes them."""
    tokens_BS = trimmed(tokens_NS[indices_B], padding, end_of_text)
    last_B = last_tokens(tokens_BS, padding, end_of_text)
    weights_BT = mean_one(torch.arange(1, tokens_BS.shape[1]) <= last_B[:, None])
    return {"tokens_BS": tokens_BS, "weights_BT": weights_BT, "labels_B": labels_N[indices_B]}


def outputs(network: PreTrainedModel, tokens_NS: Tensor, *, rows: int = 64) -> Tensor:
    """What the linear layer says of each row, fp32 [N, labels]."""
    network.eval()

    def read(tokens_BS: Tensor) -> Tensor:
        return states_and_outputs(network, tokens_BS.to(network.device))[1]

    return by_length(read, tokens_NS, network.config.pad_token_id, rows, network.config.eos_token_id)


@torch.no_grad()
def by_length(
    read: Callable[[Tensor], Tensor],
    tokens_NS: Tensor,
    padding: int,
    rows: int,
    end_of_text: int | None = None,
) -> Tensor:
    """What `read(tokens_BS)` gives for each row, [N, ...] on the CPU. Rows of like length go together, cut
    to the longest of them."""
    order = torch.argsort(last_tokens(tokens_NS, padding, end_of_text), stable=True)
    parts = [read(trimmed(tokens_NS[some], padding, end_of_text)).cpu() for some in order.split(rows)]
    return torch.cat(parts)[torch.argsort(order)]
