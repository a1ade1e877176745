"""What a language model writes after many prompts that begin alike.

What they have in common is read once, and its states are kept. A row is done when its text has one of the stops in it;
the others go on without it. Shapes: B prompts, T tokens of a prompt, G rows that go on, V tokens of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import Tensor
from transformers import DynamicCache, TopPLogitsWarper

from jokbo.feedback.judge import left_padded
from jokbo.models import access, causal
from jokbo.runtime.errors import InputError
from jokbo.sampling import Padded, drawn_from

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Drawing:
    """How tokens are drawn: from the likeliest that together have `top_p` of the probability, at a temperature."""

    tokens: int  # the most that is written
    temperature: float = 0.0  # 0 takes the likeliest token each time
    top_p: float = 1.0

    def drawn(self, logits_GV: Tensor, network: PreTrainedModel, rng: torch.Generator) -> Tensor:
        """Return the next tokens [G, 1], given the logits of all."""
        logits_GV = drawn_from(logits_GV, network.config, self.temperature or 1.0)
        if not self.temperature:
            return logits_GV.argmax(-1, keepdim=True)
        if self.top_p < 1:
            logits_GV = TopPLogitsWarper(self.top_p)(cast(Any, None), cast(Any, logits_GV))
        return torch.multinomial(logits_GV.softmax(-1), 1, generator=rng)


def check_fitted(network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise InputError, one line, for a model that no stage has fitted for sampling."""
    read_by = (network.config, tokenizer)
    if any(type(number) is not int for each in read_by for number in (each.eos_token_id, each.pad_token_id)):
        raise InputError(
            "the model has no padding, or not one end of text: adopt it by pretrain.start, then name models/base"
        )


class Written(NamedTuple):
    text: str  # up to the first stop, or the end of text
    ended: bool  # whether it came to one of them, and not to the most tokens


@dataclass(frozen=True)
class Beginning:
    """The text with which prompts begin, as the model has read it."""

    tokens: int
    states: DynamicCache


@dataclass(frozen=True)
class Writer:
    """A causal language model that goes on with texts."""

    network: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    def __post_init__(self) -> None:
        """Raise InputError, one line, for a model that no stage has fitted for sampling."""
        check_fitted(self.network, self.tokenizer)

    @torch.no_grad()
    def begun(self, text: str) -> Beginning:
        """Return the beginning of prompts."""
        self.network.eval()
        tokens = cast(Any, self.tokenizer(text))["input_ids"]
        tokens = tokens[:-1] if tokens[-1] == self.tokenizer.eos_token_id else tokens
        states = DynamicCache(config=self.network.config)
        tokens_1T = torch.tensor([tokens], device=self.network.device)
        self.network(input_ids=tokens_1T, past_key_values=states, use_cache=True, logits_to_keep=1)
        return Beginning(len(tokens), states)

    def encoded(self, text: str) -> list[int]:
        """Return the tokens of what follows a beginning."""
        return cast(Any, self.tokenizer(text, add_special_tokens=False))["input_ids"]

    @torch.no_grad()
    def next(self, begun: Beginning, prompts: Sequence[str]) -> Tensor:
        """Return log p of every token as the next one of each prompt: nats, fp32 [B, V]."""
        logits_BV, _, _ = self._read(begun, prompts)
        return logits_BV.float().log_softmax(-1)

    @torch.no_grad()
    def after(
        self, begun: Beginning, prompts: Sequence[str], stops: Sequence[str], drawing: Drawing, seed: int
    ) -> list[Written]:
        """Return what the model writes after each prompt: a function of the beginning, the prompts, the stops, the
        drawing and the seed alone."""
        logits_GV, states, where = self._read(begun, prompts)
        rng = torch.Generator(self.network.device).manual_seed(seed)
        end = access.end_of_text(self.tokenizer)
        rows: list[list[int]] = [[] for _ in prompts]
        written = [Written("", ended=False) for _ in prompts]
        going = list(range(len(prompts)))
        for _ in range(drawing.tokens):
            tokens_G1 = drawing.drawn(logits_GV, self.network, rng)
            for i, token in zip(going, tokens_G1[:, 0].tolist(), strict=True):
                rows[i].append(token)
                written[i] = self._so_far(rows[i], stops, end)
            left = [row for row, i in enumerate(going) if not written[i].ended]
            if not left:
                break
            if len(left) < len(going):
                left_G = torch.tensor(left, device=tokens_G1.device)
                states.batch_select_indices(left_G)
                where, tokens_G1 = where.of_rows(left_G), tokens_G1[left_G]
                going = [going[row] for row in left]
            where = where.after()
            logits_GV = self._logits(tokens_G1, states, where)
        return written

    def _so_far(self, tokens: list[int], stops: Sequence[str], end: int) -> Written:
        ended = tokens[-1] == end
        text = str(self.tokenizer.decode(tokens[:-1] if ended else tokens, skip_special_tokens=True))
        at = [place for stop in stops if (place := text.find(stop)) >= 0]
        return Written(text[: min(at)], ended=True) if at else Written(text, ended)

    def _read(self, begun: Beginning, prompts: Sequence[str]) -> tuple[Tensor, DynamicCache, Padded]:
        """Return the logits [B, V] of the next tokens, and the states and places of those that were read."""
        padding = access.padding(self.tokenizer)
        tokens_BT = left_padded([self.encoded(prompt) for prompt in prompts], padding).to(self.network.device)
        real_BT = (~causal.leading(tokens_BT, padding)).long()
        ones_BT = real_BT.new_ones(len(prompts), begun.tokens)
        positions_BT = begun.tokens + (real_BT.cumsum(1) - 1).clamp(min=0)
        states = deepcopy(begun.states)
        states.batch_repeat_interleave(len(prompts))
        where = Padded(torch.cat([ones_BT, real_BT], dim=1), positions_BT)
        return self._logits(tokens_BT, states, where), states, where

    def _logits(self, tokens_BT: Tensor, states: DynamicCache, where: Padded) -> Tensor:
        options: dict[str, Any] = where.options()
        read = self.network(
            input_ids=tokens_BT, past_key_values=states, use_cache=True, logits_to_keep=1, **options
        )
        return read.logits[:, -1]
