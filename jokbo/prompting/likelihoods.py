"""How likely a causal language model finds texts after prompts, in batches that read nothing twice.

Of sequences that begin alike the common beginning is read once, and its states are kept; a sequence with which another
begins is read with that one. Padding stands on the right, where no token sees it.

Shapes: B sequences of a batch, T tokens of each, L places whose logits are wanted, V tokens of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import Tensor
from transformers import DynamicCache

from jokbo.models import access
from jokbo.runtime.errors import InputError
from jokbo.runtime.text import printable

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

LOGITS = 2**26  # most numbers that a forward pass leaves
TOKENS = 2**13  # most tokens of a batch, padding among them
SHARED = 8  # tokens that sequences must have in common for them to be read by themselves


class Asked(NamedTuple):
    """A prompt, and an answer of which the likelihood is wanted."""

    prompt: list[int]
    answer: list[int]


@dataclass(frozen=True)
class Encoder:
    """Texts as tokens, as lm-evaluation-harness encodes them, so that its numbers and ours are of the same tokens."""

    tokenizer: PreTrainedTokenizerBase
    context: int

    @property
    def beginning(self) -> int:
        """The token before a text that has none before it: the beginning of text, else its end."""
        own = self.tokenizer.bos_token_id
        return own if isinstance(own, int) else access.end_of_text(self.tokenizer)

    def asked(self, prompt: str, answer: str) -> Asked:
        """Return both as tokens. White space at the prompt's end counts as the answer's.

        InputError if the answer has no token of its own, or more than the context.
        """
        spaces = len(prompt) - len(prompt.rstrip())
        prompt, answer = prompt[: len(prompt) - spaces], prompt[len(prompt) - spaces :] + answer
        before = self._encoded(prompt) if prompt else [self.beginning]
        after = (
            self._encoded(prompt + answer)[len(before) :] if prompt else self._encoded(answer, special=False)
        )
        if not 0 < len(after) <= self.context:
            raise InputError(
                f"the option {printable(answer.strip())[:40]!r} has {len(after):,} tokens after its question: it needs "
                f"1 to {self.context:,}, the model's context"
            )
        return Asked(before, after)

    def fits(self, asked: Asked) -> bool:
        """Return whether the model can read all but the last token, which it only predicts."""
        return len(asked.prompt) + len(asked.answer) <= self.context + 1

    def _encoded(self, text: str, *, special: bool = True) -> list[int]:
        tokens = cast(Any, self.tokenizer(text, add_special_tokens=special))["input_ids"]
        return tokens[:-1] if tokens and tokens[-1] == self.tokenizer.eos_token_id else tokens


@torch.no_grad()
def log_likelihoods(network: PreTrainedModel, asked: Sequence[Asked]) -> list[float]:
    """Return log p of each answer after its prompt, summed over its tokens, nats.

    A prompt that is too long for the context loses its beginning.
    """
    network.eval()
    most = access.context(network) + 1
    wholes = [tuple(each.prompt + each.answer)[-most:] for each in asked]
    chains, member = _chains([whole[:-1] for whole in wholes])
    firsts = [len(whole) - 1 - len(each.answer) for whole, each in zip(wholes, asked, strict=True)]
    of_chain: list[list[int]] = [[] for _ in chains]  # which are read with it
    for number, own in enumerate(member):
        of_chain[own].append(number)
    common = 0 if getattr(network, "_is_stateful", False) else _common(chains)
    common = min([common, *firsts, *(len(each) - 1 for each in chains)])
    states = _read(network, chains[0][:common]) if common >= SHARED else None
    common = 0 if states is None else common
    found = [0.0] * len(asked)
    for batch in _batches(chains, common, network.config.get_text_config().vocab_size):
        places = [number for own in batch for number in of_chain[own]]
        begin, end = min(firsts[n] for n in places), max(len(wholes[n]) - 1 for n in places)
        log_probs_BLV = _log_probs(
            network, [chains[own][common:] for own in batch], states, begin - common, end - common
        )
        row = {own: number for number, own in enumerate(batch)}
        for n in places:
            answer = torch.tensor(asked[n].answer)
            own_LV = log_probs_BLV[row[member[n]], firsts[n] - begin :][: len(answer)]
            found[n] = float(own_LV.gather(1, answer[:, None]).double().sum())
    return found


def _chains(inputs: Sequence[tuple[int, ...]]) -> tuple[list[tuple[int, ...]], list[int]]:
    """Return the sequences that are the beginning of no other, in their order, and of each input which one it is read
    with."""
    order = sorted(range(len(inputs)), key=inputs.__getitem__)
    chains: list[tuple[int, ...]] = []
    member = [0] * len(inputs)
    for number, own in enumerate(order):
        member[own] = len(chains)
        after = inputs[order[number + 1]] if number + 1 < len(order) else ()
        if after[: len(inputs[own])] != inputs[own]:
            chains.append(inputs[own])
    return chains, member


def _common(ordered: Sequence[tuple[int, ...]]) -> int:
    """Return how many tokens all sequences begin with, which are ordered; 0 for one alone."""
    if len(ordered) < 2:
        return 0
    pairs = zip(ordered[0], ordered[-1], strict=False)
    return sum(1 for _ in takewhile(lambda both: both[0] == both[1], pairs))


def _batches(chains: Sequence[tuple[int, ...]], common: int, vocabulary: int) -> Iterator[list[int]]:
    """Yield the numbers of sequences that are read together: of like length, so that little is padding."""
    order = sorted(range(len(chains)), key=lambda own: -len(chains[own]))
    while order:
        width = len(chains[order[0]]) - common
        rows = max(1, min(LOGITS // (width * vocabulary), TOKENS // width))
        yield order[:rows]
        order = order[rows:]


def _read(network: PreTrainedModel, tokens: Sequence[int]) -> DynamicCache:
    states = DynamicCache(config=network.config)
    tokens_1T = torch.tensor([tokens], device=network.device)
    network(input_ids=tokens_1T, past_key_values=states, use_cache=True, logits_to_keep=1)
    return states


def _log_probs(
    network: PreTrainedModel, some: Sequence[Sequence[int]], states: DynamicCache | None, begin: int, end: int
) -> Tensor:
    """Return log p of every token after the places begin to end of each sequence: fp32 [B, L, V], on the CPU."""
    width = max(map(len, some))
    tokens_BT = torch.tensor([[*each, *[each[0]] * (width - len(each))] for each in some])  # any token pads
    options: dict[str, Any] = {"use_cache": False}
    if states is not None:
        repeated = deepcopy(states)
        repeated.batch_repeat_interleave(len(some))
        options = {"past_key_values": repeated, "use_cache": True}
    keep_L = torch.arange(begin, end, device=network.device)
    logits_BLV = network(input_ids=tokens_BT.to(network.device), logits_to_keep=keep_L, **options).logits
    if logits_BLV.shape[1] != len(keep_L):  # a network that gives all of them, whatever it is asked
        logits_BLV = logits_BLV[:, begin:end]
    return logits_BLV.float().log_softmax(-1).cpu()
