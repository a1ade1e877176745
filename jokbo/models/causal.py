"""A decoder-only transformer that predicts the next token: what every stage of the chain trains.

The network is transformers' own: `gpt2` (Radford et al. 2019: learned positions, layer norm, GELU) or `llama`
(Touvron et al. 2023: rotary positions, RMSNorm, SwiGLU), so that a saved model opens with `AutoModel`.

Shapes: B sequences of a batch, S tokens of each, T inputs or targets (S - 1), N chosen targets, V of the vocabulary,
D numbers of a state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from jokbo.models import access

if TYPE_CHECKING:
    from jokbo.params import Scratch

# The sizes of the papers, for the check of parameter counts (Radford et al. 2019, table 2, whose printed
# counts OpenAI's model card corrected to 124M ... 1.5B; Touvron et al. 2023, table 2).
PAPER_SIZES = {
    "gpt2": {"layers": 12, "hidden_size": 768, "heads": 12, "context": 1024, "vocabulary": 50257},
    "gpt2-xl": {"layers": 48, "hidden_size": 1600, "heads": 25, "context": 1024, "vocabulary": 50257},
    "llama-7b": {"layers": 32, "hidden_size": 4096, "heads": 32, "context": 2048, "vocabulary": 32000},
}
GELU = "gelu_pytorch_tanh"  # GPT's approximation, "gelu_new" to transformers, in one kernel instead of eight


class Sizes(Protocol):
    """What a network is described by, whatever its architecture."""

    @property
    def layers(self) -> int: ...

    @property
    def hidden_size(self) -> int: ...

    @property
    def heads(self) -> int: ...

    @property
    def context(self) -> int: ...

    @property
    def dropout(self) -> float: ...


def configuration(model: Scratch, *, vocabulary: int, end_of_text: int, padding: int) -> PretrainedConfig:
    """Return transformers' configuration of the network that the settings describe."""
    made = gpt2 if model.architecture == "gpt2" else llama
    return made(model, vocabulary=vocabulary, end_of_text=end_of_text, padding=padding)


def gpt2(model: Sizes, *, vocabulary: int, end_of_text: int, padding: int) -> PretrainedConfig:
    """Return transformers' configuration of a GPT-2 of these sizes."""
    return AutoConfig.for_model(
        "gpt2",
        n_layer=model.layers,
        n_embd=model.hidden_size,
        n_head=model.heads,
        n_positions=model.context,
        resid_pdrop=model.dropout,
        embd_pdrop=model.dropout,
        attn_pdrop=model.dropout,
        activation_function=GELU,
        **_tokens(vocabulary, end_of_text, padding),
    )


def llama(model: Sizes, *, vocabulary: int, end_of_text: int, padding: int) -> PretrainedConfig:
    """Return transformers' configuration of a LLaMA of these sizes."""
    return AutoConfig.for_model(
        "llama",
        num_hidden_layers=model.layers,
        hidden_size=model.hidden_size,
        intermediate_size=_intermediate(model.hidden_size),
        num_attention_heads=model.heads,
        max_position_embeddings=model.context,
        attention_dropout=model.dropout,
        tie_word_embeddings=True,
        **_tokens(vocabulary, end_of_text, padding),
    )


def _tokens(vocabulary: int, end_of_text: int, padding: int) -> dict[str, int]:
    ends = {"bos_token_id": end_of_text, "eos_token_id": end_of_text}
    return {"vocab_size": vocabulary, **ends, "pad_token_id": padding}


def _intermediate(hidden_size: int) -> int:
    """Return the inner size of SwiGLU: 8/3 of the hidden size, which keeps the size of GELU's two matrices.

    Shazeer 2020, section 2. It is rounded up to a multiple of 256, as LLaMA's are, or of the hidden size where that is
    less.
    """
    multiple = min(256, hidden_size)
    return -(-8 * hidden_size // 3 // multiple) * multiple


def build(config: PretrainedConfig, *, seed: int) -> PreTrainedModel:
    """Return a network with fresh weights, a function of the configuration and the seed alone."""
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def document_positions(tokens_BT: Tensor, end_of_text: int) -> Tensor:
    """Return the position of each input in its document, int64 [B, T]: it separates the documents of one row.

    transformers takes a position that does not follow on the one before for the start of another document, to which
    attention does not reach across (the document mask of Llama 3, Dubey et al. 2024, section 3.2).
    An end of text is a target of the document that it ends and, as an input, position 0 of the one after. So each
    document is predicted whole, from the end of text and itself alone, and no target is lost. A document that the row's
    start cuts begins anew there, at 0.
    """
    positions_T = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)
    starts_BT = torch.where(tokens_BT == end_of_text, positions_T, 0).cummax(dim=1).values
    return positions_T - starts_BT


def padded_positions(tokens_BT: Tensor, padding: int) -> Tensor | None:
    """Return the position of each input in its sequence, int64 [B, T], where some rows begin with padding; else None.

    As with `document_positions`, what is not of the sequence is another document to it: padding reads itself alone.
    """
    leading_BT = leading(tokens_BT, padding)
    if not leading_BT[:, 0].any():
        return None
    positions_T = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)
    return positions_T - leading_BT.sum(1, keepdim=True) * ~leading_BT


def leading(tokens_BT: Tensor, padding: int) -> Tensor:
    """Return which tokens are of the padding that a row begins with, bool [B, T]."""
    return (tokens_BT == padding).cumprod(dim=1).bool()


def token_losses(network: PreTrainedModel, tokens_BS: Tensor, positions_BT: Tensor | None = None) -> Tensor:
    """Return the cross-entropy [B, T], nats, of each token given those before it.

    With `document_positions` of the inputs, given those before it in its document.
    """
    logits_BTV = network(input_ids=tokens_BS[:, :-1], position_ids=positions_BT, use_cache=False).logits
    targets_BT = tokens_BS[:, 1:]
    return nn.functional.cross_entropy(
        logits_BTV.float().flatten(0, 1), targets_BT.flatten(), reduction="none"
    ).view(targets_BT.shape)


class NextToken(nn.Module):
    """Mean next-token loss. `weights_BT` is each target's weight, made so that over the global batch they average 1."""

    def __init__(self, network: PreTrainedModel) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, tokens_BS: Tensor, weights_BT: Tensor, positions_BT: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return (token_losses(self.network, tokens_BS, positions_BT) * weights_BT).mean(), {}


class NextTokenWhere(NextToken):
    """The same where most weights are zero: logits, the dearest part, are computed for the other targets alone."""

    def forward(
        self, tokens_BS: Tensor, weights_BT: Tensor, positions_BT: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        chosen_N = some_targets(weights_BT)
        logits_NV = logits_at(self.network, tokens_BS, positions_BT, chosen_N)[0]
        targets_N, weights_N = tokens_BS[:, 1:].flatten()[chosen_N], weights_BT.flatten()[chosen_N]
        losses_N = nn.functional.cross_entropy(logits_NV, targets_N, reduction="none")
        return (losses_N * weights_N).sum() / weights_BT.numel(), {}


def some_targets(weights_BT: Tensor, multiple: int = 128) -> Tensor:
    """Return the indices [N], in the flattened [B * T], of all targets of some weight, and of others up to a multiple.

    Kernels are made for a shape, so that a new N each step would cost more than it saves.
    """
    count = int((weights_BT > 0).sum())
    order = torch.argsort((weights_BT == 0).flatten().int(), stable=True)
    return order[: -(-count // multiple) * multiple]


def logits_at(
    network: PreTrainedModel, tokens_BS: Tensor, positions_BT: Tensor | None, chosen_N: Tensor
) -> tuple[Tensor, Tensor]:
    """Return logits [N, V] of the chosen targets, fp32, and the last hidden states [N, D] that they come from."""
    states_BTD = network.base_model(
        input_ids=tokens_BS[:, :-1], position_ids=positions_BT, use_cache=False
    ).last_hidden_state
    states_ND = states_BTD.flatten(0, 1)[chosen_N]
    return access.language_head(network)(states_ND).float(), states_ND.float()


def mean_one(mask_BT: Tensor) -> Tensor:
    """Return a mask of targets as weights of mean 1 over the global batch.

    Any even share of its sequences then adds up right.
    """
    mask_BT = mask_BT.float()
    return mask_BT / mask_BT.mean()


def packed_rows(
    tokens_BS: Tensor, packing: Literal["joined", "masked", "padded"], *, end_of_text: int, padding: int
) -> dict[str, Tensor]:
    """Return a batch of `packed_batch` as `NextToken` takes it.

    joined: as GPT-2 and GPT-3 (Brown et al. 2020, appendix B), attention reaches over all documents of a row;
    masked: over one (document_positions); padded: one document a row, as for BERT, and padding is no target. It needs
    no mask: it comes last and attention goes backward only.
    """
    if packing == "padded":
        return {"tokens_BS": tokens_BS, "weights_BT": mean_one(tokens_BS[:, 1:] != padding)}
    rows = {"tokens_BS": tokens_BS, "weights_BT": torch.ones(tokens_BS[:, 1:].shape)}
    if packing == "masked":
        rows["positions_BT"] = document_positions(tokens_BS[:, :-1], end_of_text)
    return rows
