"""What the systems share: their size, special tokens, the text that they read, and small functions.

What the file of a paper has stands in protocol.py. `save` writes a network of either kind that is named there. `load`
opens the plain ones; an Auto class of transformers opens the others.

Shapes: B sequences of a batch, T tokens of a sequence, S = T + 1 (inputs and, one further on, targets), V vocabulary,
D numbers of a state.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors.torch import load_model, save_model
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from jokbo.data.corpus.batches import Layout, TokenCorpus, packed_batch
from jokbo.data.corpus.tokenizer import taken_literally
from jokbo.models import access
from jokbo.runtime.files import read_json

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Size:
    """The size of a network.

    `more` holds what only one system has: ALBERT's size of embeddings, ELECTRA's generator ...
    """

    vocabulary: int
    layers: int
    hidden_size: int
    heads: int
    context: int
    dropout: float = 0.0
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Paper:
    """A published size, and what the paper says of its parameters."""

    size: Size
    parameters: float  # as printed there
    counted: str = "all"  # what has to be counted to come to it
    tolerance: float = 0.02  # relative: papers round


@dataclass(frozen=True)
class SpecialTokens:
    """Ids of the tokens with a meaning of their own; a tokenizer of kind wordpiece has them all."""

    end_of_text: int
    padding: int
    unknown: int
    cls: int
    sep: int
    mask: int
    token_strings: tuple[str, ...] = ()  # of all tokens, by id; ELMo reads their characters


def special_tokens_of(tokenizer: PreTrainedTokenizerBase) -> SpecialTokens:
    """Return the special tokens of the tokenizer; -1 for those that a tokenizer of bytes lacks."""
    roles = {"unknown": "unk", "cls": "cls", "sep": "sep", "mask": "mask"}
    found = {name: getattr(tokenizer, f"{role}_token_id") for name, role in roles.items()}
    return SpecialTokens(
        end_of_text=access.end_of_text(tokenizer),
        padding=access.padding(tokenizer),
        token_strings=tuple(tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))),
        **{name: -1 if id is None else id for name, id in found.items()},
    )


@dataclass(frozen=True)
class Text:
    """What a system makes its input from: documents, one after the other, each followed by an end-of-text token.

    `pairs`, for XLM, are texts in the corpus' language with the same in another language, as token ids.
    """

    corpus: TokenCorpus
    special_tokens: SpecialTokens
    vocabulary: int
    pairs: Sequence[tuple[np.ndarray, np.ndarray]] = ()

    @cached_property
    def counts_V(self) -> np.ndarray:
        """Return how often each token comes, in the documents and in the pairs, [V]."""
        parts = [*self.corpus.shards, *(side for pair in self.pairs for side in pair)]
        none_V = np.zeros(self.vocabulary, np.intp)
        return sum((np.bincount(tokens, minlength=self.vocabulary) for tokens in parts), start=none_V)

    def blocks(self, step: int, batch_size: int, length: int, seed: int) -> Tensor:
        """Return full blocks of running text, int64 [B, length]; end-of-text tokens are among the tokens."""
        layout = Layout(batch_size, length - 1, seed, "joined")
        tokens_BS = packed_batch(self.corpus, step, layout, self.special_tokens.padding)
        return torch.from_numpy(tokens_BS)


def encoded(pairs: Sequence[tuple[str, str]], tokenizer: Tokenizer) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return pairs of texts as pairs of token ids, as `Text` has them."""
    with taken_literally(tokenizer):
        sides = [
            tokenizer.encode_batch_fast(side, add_special_tokens=False) for side in zip(*pairs, strict=True)
        ]
    return [(np.array(a.ids), np.array(b.ids)) for a, b in zip(*sides, strict=True)]


def next_token_loss(logits_BTV: Tensor, tokens_BS: Tensor) -> Tensor:
    """Return the mean cross-entropy, nats, of each token but the first, given the tokens before it."""
    return nn.functional.cross_entropy(logits_BTV.float().flatten(0, 1), tokens_BS[:, 1:].flatten())


class NextTokenObjective(nn.Module):
    """The mean next-token loss of a network.

    `network(tokens_BT)` must give the logits [B, T, V] of the token after each.
    """

    def __init__(self, network: nn.Module, special_tokens: SpecialTokens) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens_BS: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean loss of the batch in nats a token, and no metrics."""
        return next_token_loss(self.network(tokens_BS[:, :-1]), tokens_BS), {}


def next_token_batch(text: Text, step: int, batch_size: int, context: int, seed: int) -> dict[str, Tensor]:
    """Return blocks of running text, of which every token but the first is predicted."""
    return {"tokens_BS": text.blocks(step, batch_size, context + 1, seed)}


def at(states_BTD: Tensor, positions_B: Tensor) -> Tensor:
    """Return the state [B, D] at one position of each sequence."""
    return states_BTD[torch.arange(len(positions_B), device=positions_B.device), positions_B]


def mean_state(states_BTD: Tensor, real_BT: Tensor) -> Tensor:
    """Return the mean [B, D] of each sequence's states where `real_BT` is true: not at padding. Zeros if none is."""
    return (states_BTD * real_BT[:, :, None]).sum(dim=1) / real_BT.sum(dim=1, keepdim=True).clamp(min=1)


def sinusoids(length: int, hidden_size: int, device: torch.device | None = None) -> Tensor:
    """Return vectors of positions [length, D]: sine and cosine in turn.

    Wavelengths go from 2 pi to 10000 * 2 pi (Vaswani et al. 2017, section 3.5).
    """
    rates = torch.exp(torch.arange(0, hidden_size, 2, device=device) * (-math.log(10000) / hidden_size))
    angles = torch.arange(length, device=device)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)


def not_compiled(function: Function) -> Function:
    """Return the function, which torch.compile will leave as it is.

    For loops over time, which it would unroll.
    """
    return torch.compiler.disable(function)  # pyright: ignore[reportReturnType]  # torch gives it no type


def exact(x: Tensor) -> torch.autocast:
    """Return a context in which nothing is computed in bf16, on the device of x.

    For recurrences: their errors add up, and autocast slows their small products.
    """
    return torch.autocast(x.device.type, enabled=False)


def in_reverse(x_BTD: Tensor, lengths_B: Tensor) -> Tensor:
    """Return the first lengths[b] positions of each sequence in reverse order, and the rest as it was."""
    positions_T = torch.arange(x_BTD.shape[1], device=x_BTD.device)
    mirrored_BT = lengths_B[:, None] - 1 - positions_T
    order_BT = torch.where(mirrored_BT >= 0, mirrored_BT, positions_T)
    return x_BTD.gather(1, order_BT[..., None].expand_as(x_BTD))


def rng_of(seed: int, step: int, purpose: str = "") -> np.random.Generator:
    """Return the rng of one step, and of one purpose in it.

    It gives the same numbers on every rank and after every resume.
    """
    return np.random.Generator(np.random.Philox(key=[seed, step], counter=[0, 0, 0, hash_of(purpose)]))


def hash_of(purpose: str) -> int:
    """Return a number of 64 bits for a name, the same in every process."""
    return int.from_bytes(purpose.encode()[:8].ljust(8, b"\0"), "big")


def save(network: nn.Module, folder: Path) -> None:
    """Write a network's weights and size to the folder.

    Those are the files of transformers if it has `save_pretrained`, else size.json and model.safetensors.
    """
    save_pretrained: Callable[[Path], None] | None = getattr(network, "save_pretrained", None)
    if save_pretrained is not None:
        save_pretrained(folder)
        return
    size = network.size
    assert isinstance(size, Size)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "size.json").write_text(json.dumps(asdict(size), indent=2) + "\n")
    save_model(network, str(folder / "model.safetensors"))


def load(
    network: Callable[[Size, SpecialTokens, int], access.Network], special_tokens: SpecialTokens, folder: Path
) -> access.Network:
    """Return a plain module that `save` wrote, made anew by its system's `network`."""
    made = network(Size(**read_json(folder / "size.json")), special_tokens, 0)
    load_model(made, folder / "model.safetensors")
    return made
