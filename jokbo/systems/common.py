"""What the systems of the family share: their size, the special tokens of the tokenizer, the text that they read.

What the file of a paper has stands in protocol.py. `save` writes a network of either kind that is told of there; `load`
opens the plain ones, an Auto class of transformers the others.
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

from jokbo.data.corpus.batches import packed_batch
from jokbo.data.corpus.token_corpus import TokenCorpus
from jokbo.data.corpus.tokenizer import taken_literally
from jokbo.models import access
from jokbo.runtime.files import read_json

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Size:
    """Of a network. `more` holds what only one system has (ALBERT's embedding width, ELECTRA's generator ...)."""

    vocabulary: int
    layers: int
    width: int
    heads: int
    context: int
    dropout: float = 0.0
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Paper:
    """A published size and what the paper says of its parameters."""

    size: Size
    parameters: float  # as printed there
    counted: str = "all"  # what has to be counted to come to it
    tolerance: float = 0.02  # relative: papers round


@dataclass(frozen=True)
class SpecialTokens:
    """Token ids with a meaning of their own. A tokenizer of kind wordpiece has them all."""

    end_of_text: int
    padding: int
    unknown: int
    cls: int
    sep: int
    mask: int
    pieces: tuple[str, ...] = ()  # what all tokens are spelled like, by id; ELMo reads it


def special_tokens_of(tokenizer: PreTrainedTokenizerBase) -> SpecialTokens:
    """The special tokens that the tokenizer has; -1 for those that one of bytes has not."""
    roles = {"unknown": "unk", "cls": "cls", "sep": "sep", "mask": "mask"}
    found = {mark: getattr(tokenizer, f"{role}_token_id") for mark, role in roles.items()}
    return SpecialTokens(
        end_of_text=access.end_of_text(tokenizer),
        padding=access.padding(tokenizer),
        pieces=tuple(tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))),
        **{mark: -1 if id is None else id for mark, id in found.items()},
    )


@dataclass(frozen=True)
class Text:
    """What a system makes its input from: documents, each followed by an end-of-text token, as one row of tokens; for
    XLM also pairs of texts that say the same in the corpus' language and in another."""

    corpus: TokenCorpus
    special_tokens: SpecialTokens
    vocabulary: int
    pairs: Sequence[tuple[np.ndarray, np.ndarray]] = ()

    @cached_property
    def counts_V(self) -> np.ndarray:
        """How often each token comes, pairs and all."""
        parts = [*self.corpus.shards, *(side for pair in self.pairs for side in pair)]
        none_V = np.zeros(self.vocabulary, np.intp)
        return sum((np.bincount(tokens, minlength=self.vocabulary) for tokens in parts), start=none_V)

    def blocks(self, step: int, rows: int, length: int, seed: int) -> Tensor:
        """Full blocks of running text, int64 [rows, length], special tokens of document ends among them."""
        tokens_BS = packed_batch(
            self.corpus,
            step,
            batch=rows,
            context=length - 1,
            seed=seed,
            packing="joined",
            padding=self.special_tokens.padding,
        )
        return torch.from_numpy(tokens_BS)


def encoded(pairs: Sequence[tuple[str, str]], tokenizer: Tokenizer) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of texts as `Text` has them."""
    with taken_literally(tokenizer):
        sides = [
            tokenizer.encode_batch_fast(side, add_special_tokens=False) for side in zip(*pairs, strict=True)
        ]
    return [(np.array(a.ids), np.array(b.ids)) for a, b in zip(*sides, strict=True)]


def next_token_loss(logits_BTV: Tensor, tokens_BS: Tensor) -> Tensor:
    """Mean cross-entropy, nats, of all tokens but the first, of which the logits are those given what is before."""
    return nn.functional.cross_entropy(logits_BTV.float().flatten(0, 1), tokens_BS[:, 1:].flatten())


class NextTokenObjective(nn.Module):
    """Mean next-token loss of a network whose `network(tokens_BT)` is logits [B, T, V] of the token after each."""

    def __init__(self, network: nn.Module, special_tokens: SpecialTokens) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens_BS: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return next_token_loss(self.network(tokens_BS[:, :-1]), tokens_BS), {}


def next_token_batch(text: Text, step: int, rows: int, context: int, seed: int) -> dict[str, Tensor]:
    """Blocks of running text, of which every token but the first is predicted."""
    return {"tokens_BS": text.blocks(step, rows, context + 1, seed)}


def at(states_BTD: Tensor, places_B: Tensor) -> Tensor:
    """Of each row the state at one place, [B, D]."""
    return states_BTD[torch.arange(len(places_B), device=places_B.device), places_B]


def mean_state(states_BTD: Tensor, real_BT: Tensor) -> Tensor:
    """The mean [B, D] of each row's states that are real, not of padding; zeros for a row without any."""
    return (states_BTD * real_BT[:, :, None]).sum(dim=1) / real_BT.sum(dim=1, keepdim=True).clamp(min=1)


def sinusoids(length: int, width: int, device: torch.device | None = None) -> Tensor:
    """Positions [length, width]: sine and cosine in turn, wavelengths from 2 pi to 10000 * 2 pi (Vaswani et al. 2017,
    section 3.5)."""
    rates = torch.exp(torch.arange(0, width, 2, device=device) * (-math.log(10000) / width))
    angles = torch.arange(length, device=device)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)


def not_compiled(function: Function) -> Function:
    """Return the function, of which torch.compile keeps off: for loops over time, which it would unroll."""
    return torch.compiler.disable(function)  # pyright: ignore[reportReturnType]  # torch gives it no type


def exact(x: Tensor) -> torch.autocast:
    """Computing without autocast where x is: for recurrences, whose errors add up and whose small products it slows."""
    return torch.autocast(x.device.type, enabled=False)


def in_reverse(x_BTD: Tensor, lengths_B: Tensor) -> Tensor:
    """The first lengths[b] places of each row in reverse order, what comes after where it was."""
    places_T = torch.arange(x_BTD.shape[1], device=x_BTD.device)
    mirrored_BT = lengths_B[:, None] - 1 - places_T
    order_BT = torch.where(mirrored_BT >= 0, mirrored_BT, places_T)
    return x_BTD.gather(1, order_BT[..., None].expand_as(x_BTD))


def generator(seed: int, step: int, purpose: str = "") -> np.random.Generator:
    """The random numbers of one step, and of one purpose in it: the same on every rank and after every resume."""
    return np.random.Generator(np.random.Philox(key=[seed, step], counter=[0, 0, 0, hash_of(purpose)]))


def hash_of(purpose: str) -> int:
    """A number of 64 bits for a name, the same in every process."""
    return int.from_bytes(purpose.encode()[:8].ljust(8, b"\0"), "big")


def save(network: nn.Module, folder: Path) -> None:
    """Writes weights and size: transformers' files of a network that has them, else size.json and model.safetensors."""
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
    """A plain module that `save` wrote, made anew by its system's `network`."""
    made = network(Size(**read_json(folder / "size.json")), special_tokens, 0)
    load_model(made, folder / "model.safetensors")
    return made
