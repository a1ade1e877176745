"""Continuing a review: prompts, the answers that people wrote, and sequences to train on.

A prompt is the first tokens of a sentence somewhere in a review; its answer goes on to the last end of a sentence
within reach, and then the end of text. So a policy trained on them ends its answers where people end theirs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from jokbo.data.selection import texts_from
from jokbo.runtime.errors import InputError

SENTENCE_END = re.compile(r"[.!?]+[\"')\]]*(?=\s)|\Z")


@dataclass(frozen=True)
class Continuations:
    """N sequences of P prompt tokens and up to R answer tokens, the end of text among them, padded to P + R."""

    tokens_NS: Tensor  # int64 [N, P + R]
    lengths_N: Tensor  # int64 [N]: answer tokens, at least 2
    prompt_tokens: int
    texts: int = 0  # that they were looked for in
    without: int = 0  # texts that gave none: no sentence drawn of theirs is long enough and ends within reach

    def __len__(self) -> int:
        return len(self.tokens_NS)

    @property
    def prompts_NP(self) -> Tensor:
        return self.tokens_NS[:, : self.prompt_tokens]

    @property
    def real_NT(self) -> Tensor:
        """Bool [N, P + R - 1]: which targets (tokens but the first) are no padding."""
        return self._places_T < (self.prompt_tokens + self.lengths_N)[:, None]

    @property
    def mask_NT(self) -> Tensor:
        """Bool [N, P + R - 1]: which targets are of the answer, its end of text among them."""
        return self.real_NT & (self._places_T >= self.prompt_tokens)

    @property
    def ends_NT(self) -> Tensor:
        """Bool [N, P + R - 1]: which targets are the answer's end of text."""
        return self._places_T == (self.prompt_tokens + self.lengths_N - 1)[:, None]

    @property
    def _places_T(self) -> Tensor:
        return torch.arange(1, self.tokens_NS.shape[1])


def continuations(
    tokenizer: PreTrainedTokenizerBase,
    texts: list[str],
    *,
    prompt_tokens: int,
    response_tokens: int,
    seed: int,
    per_text: int,
    limit: int | None = None,
) -> Continuations:
    """Up to `per_text` sequences from each text, which sentences being a function of the seed, then shuffled.

    Raises InputError if no text is long enough for one.
    """
    generator = np.random.default_rng(seed)
    starts: list[str] = []
    owners: list[int] = []  # the text of each start
    for number, text in enumerate(texts):
        begins = [0, *(match.end() for match in SENTENCE_END.finditer(text) if match.end() < len(text))]
        chosen = generator.permutation(len(begins))[:per_text]
        starts += [
            text[begins[i] :].lstrip()[: 12 * (prompt_tokens + response_tokens)] for i in sorted(chosen)
        ]
        owners += [number] * len(chosen)
    encodings = tokenizer(starts, add_special_tokens=False, return_offsets_mapping=True)
    rows, lengths, gave = [], [], set()
    tokens = zip(encodings["input_ids"], encodings["offset_mapping"], strict=True)
    for text, owner, (ids, offsets) in zip(starts, owners, tokens, strict=True):
        ends = {match.end() for match in SENTENCE_END.finditer(text) if match.end() < len(text)}
        reach = range(prompt_tokens, min(len(ids), prompt_tokens + response_tokens - 1))
        end = max((i for i in reach if offsets[i][1] in ends), default=None)
        if end is None:
            continue
        row = [*ids[: end + 1], tokenizer.eos_token_id]
        lengths.append(len(row) - prompt_tokens)
        gave.add(owner)
        rows.append(row + [tokenizer.pad_token_id] * (prompt_tokens + response_tokens - len(row)))
    if not rows:
        raise InputError(
            f"no text holds a sentence that goes on for more than {prompt_tokens} tokens and ends within "
            f"{prompt_tokens + response_tokens}: shorten finetune.policy.prompt_tokens or add longer texts"
        )
    order = generator.permutation(len(rows))[:limit]
    counts = {"texts": len(texts), "without": len(texts) - len(gave)}
    return Continuations(torch.tensor(rows)[order], torch.tensor(lengths)[order], prompt_tokens, **counts)


def for_policy(
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    documents: Dataset,
    *,
    seed: int,
    per_text: int,
    limit: int | None = None,
) -> Continuations:
    """Sequences of the kind that a policy was fine-tuned on, as its configuration tells, from other documents."""
    return continuations(
        tokenizer,
        texts_from(documents, policy.config.prompt_sources),
        prompt_tokens=policy.config.prompt_tokens,
        response_tokens=policy.config.response_tokens,
        seed=seed,
        per_text=per_text,
        limit=limit,
    )
