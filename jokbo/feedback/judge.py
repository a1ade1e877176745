"""What a language model answers where A and B are the answers: the log-probabilities of these letters.

Shapes: N questions, 2 letters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel

from jokbo.data.conversations.chat import special_tokens
from jokbo.models import access
from jokbo.runtime.errors import InputError, line_of
from jokbo.runtime.progress import progress
from jokbo.sampling import sample

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from jokbo.params.preferences import ChainOfThought

ROWS = 16  # questions read at once
LETTERS = "AB"


@dataclass(frozen=True)
class Judge:
    """A causal language model that is asked which of two responses is better."""

    network: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    chat: bool  # whether it is asked by its chat template
    key: str  # of params.yaml, as messages name it

    def __post_init__(self) -> None:
        """Raise InputError, one line, for a model that cannot be asked."""
        template = self.tokenizer.chat_template
        if self.chat and not template:
            raise InputError(f"{self.key}.chat is true, but the judge has no chat template: set it to false")
        if self.chat and "strftime_now" in self.tokenizer.get_chat_template():
            why = "the judge's chat template writes the date, so that no run could be repeated"
            raise InputError(f"{self.key}.chat is true, but {why}: set it to false")
        one, other = self.letters
        if set(one) & set(other):
            raise InputError(f"{self.key}: the judge's tokenizer does not tell A from B: name another judge")

    @cached_property
    def letters(self) -> list[list[int]]:
        """The tokens that mean A, and those that mean B: the letter, and the letter after a space."""
        found = []
        for letter in LETTERS:
            spelt = [self._encoded(variant) for variant in (letter, f" {letter}")]
            known = {each[0] for each in spelt if len(each) == 1 and each[0] != self.tokenizer.unk_token_id}
            if not known:
                raise InputError(
                    f"{self.key}: the judge's tokenizer has no token for the letter {letter}: name another judge"
                )
            found.append(sorted(known))
        return found

    @cached_property
    def special(self) -> list[str]:
        return special_tokens(self.tokenizer)

    @property
    def context(self) -> int:
        return access.context(self.network)

    def asked(self, question: str, begun: str) -> list[int]:
        """Return the tokens of a question and of what its answer begins with."""
        if not self.chat:
            tokens = self._encoded(f"{question}\n\n{begun}", special=True)
            return tokens[:-1] if tokens[-1] == self.tokenizer.eos_token_id else tokens
        turns = [{"role": "user", "content": question}]
        try:
            text = self.tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        except Exception as error:  # whatever the template's own code raises
            raise InputError(
                f"{self.key}: the judge's chat template fails ({line_of(error)}): set chat to false"
            ) from error
        return self._encoded(f"{text}{begun}")

    def lead(self, lead: str) -> list[int]:
        """Return the tokens of what an answer begins with, after a chain of thought."""
        return self._encoded(f"\n\n{lead}")

    def thoughts(self, prompts: Sequence[list[int]], settings: ChainOfThought, seed: int) -> list[list[int]]:
        """Return the tokens that it writes after each prompt before it answers: a function of the prompts and the
        seed."""
        end, found = access.end_of_text(self.tokenizer), []
        for number, some in enumerate(progress(list(_batches(prompts)), "the judge thinks")):
            rollout = sample(
                self.network,
                left_padded(some, access.padding(self.tokenizer)),
                response_tokens=settings.tokens,
                temperature=settings.temperature,
                seed=(seed + number) % 2**32,
            )
            written_BR = rollout.tokens_BS[:, rollout.prompt_tokens :]
            for own, mask in zip(written_BR, rollout.mask_BR, strict=True):
                found.append([token for token in own[mask].tolist() if token != end])
        return found

    @torch.no_grad()
    def answers(self, sequences: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
        """Return log p of the next token's being A, and B, given each sequence of tokens: nats, float64 [N, 2]; and the
        probability of either, [N]."""
        self.network.eval()
        order = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))  # so that little is padding
        letters_N2 = torch.empty(len(sequences), len(LETTERS), dtype=torch.float64)
        for rows in progress(list(_batches(order)), "the judge answers"):
            log_probs_BV = self._next([sequences[row] for row in rows])
            letters_N2[rows] = torch.stack([log_probs_BV[:, own].logsumexp(-1) for own in self.letters], -1)
        return letters_N2, letters_N2.exp().sum(-1)

    def _next(self, some: Sequence[list[int]]) -> Tensor:
        """Return log p of every token as the next one of each sequence: float64 [B, V].

        Padding stands on the right, where no token sees it.
        """
        last_B = torch.tensor([len(each) - 1 for each in some])
        tokens_BT = torch.full((len(some), int(last_B.max()) + 1), access.padding(self.tokenizer))
        for row, each in enumerate(some):
            tokens_BT[row, : len(each)] = torch.tensor(each)
        ends, of_B = last_B.unique(return_inverse=True)
        logits_BEV = self.network(
            input_ids=tokens_BT.to(self.network.device),
            logits_to_keep=ends.to(self.network.device),
            use_cache=False,
        ).logits
        return logits_BEV[torch.arange(len(some)), of_B].cpu().double().log_softmax(-1)

    def _encoded(self, text: str, *, special: bool = False) -> list[int]:
        return cast(Any, self.tokenizer(text, add_special_tokens=special))["input_ids"]


def left_padded(sequences: Sequence[list[int]], padding: int) -> Tensor:
    """Return the sequences as rows, int64 [B, P], padded on the left."""
    wide = max(map(len, sequences))
    return torch.tensor([[padding] * (wide - len(each)) + each for each in sequences])


def _batches(items: Sequence[Any]) -> Iterator[list[Any]]:
    for first in range(0, len(items), ROWS):
        yield list(items[first : first + ROWS])
