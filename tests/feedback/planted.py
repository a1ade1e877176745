"""A judge with preferences that are known beforehand, for tests of what is made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from jokbo.feedback.constitution import comparisons
from jokbo.feedback.judge import Judge
from jokbo.feedback.question import Questions
from jokbo.feedback.verdicts import Method
from tests.support import words

KEY = "preferences.labellers.judge"
WORDS = [*words.SPECIAL, "A", "B", ":", "Answer", "good", "bad", *(f"w{i}" for i in range(61))]
A, B = 3, 4


def tokenizer(known: Sequence[str] = WORDS) -> PreTrainedTokenizerFast:
    """Return the judge's tokenizer."""
    return words.tokenizer(known)


class Planted(LlamaForCausalLM):
    """It answers A or B by the worth of the words that stand behind `A :` and behind `B :`, and by a love of A.

    The logit of A is half of what A has more, that of B minus half; that of all other tokens is `others`.
    """

    def __init__(
        self, worth: Mapping[str, float], *, love: float = 0.0, others: float = -30.0, context: int = 400
    ) -> None:
        super().__init__(words.configuration(WORDS, context))
        self.love, self.others = love, others
        self.worth_V = torch.tensor([worth.get(word, 0.0) for word in WORDS], dtype=torch.float64)
        self.rows = 0  # that it was given

    def forward(self, input_ids: Tensor, logits_to_keep: Any = 0, **_: Any) -> Any:
        self.rows += len(input_ids)
        logits_BTV = torch.full((*input_ids.shape, len(WORDS)), self.others, dtype=torch.float64)
        for row, tokens in enumerate(input_ids.tolist()):
            for end in range(1, len(tokens) + 1):
                more = self.love + self._more(tokens[:end])
                logits_BTV[row, end - 1, A], logits_BTV[row, end - 1, B] = more / 2, -more / 2
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        return SimpleNamespace(logits=logits_BTV[:, kept])

    def _more(self, tokens: list[int]) -> float:
        """Return the worth of the text behind the first `A :` less that of the one behind the first `B :`."""
        starts = [
            next((i + 2 for i in range(len(tokens) - 1) if tokens[i : i + 2] == [letter, 5]), None)
            for letter in (A, B)
        ]
        if None in starts:
            return 0.0
        first, second = tokens[starts[0] : starts[1]], tokens[starts[1] :]
        return float(self.worth_V[first].sum() - self.worth_V[second].sum())


def method(network: Any, reads: PreTrainedTokenizerFast | None = None, **changes: Any) -> Method:
    """Return how such a judge is asked."""
    own = {
        "judge": Judge(network, reads or tokenizer(), chat=False, key=KEY),
        "questions": Questions.of(),
        "principles": comparisons(),
        "thought": None,
        "minimum_mass": 0.1,
        "seed": 1,
    }
    return Method(**own | changes)
