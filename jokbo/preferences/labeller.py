"""What every labeller is: something that compares two responses, given the chain so far."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from jokbo.data.keys import digest, normalised, split_of
from jokbo.preferences.pairs import Pair

if TYPE_CHECKING:
    from datasets import DatasetDict
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from jokbo.data.conversations.chat import Chat
    from jokbo.data.prompts import Prompts
    from jokbo.evaluation.intervals import Estimated
    from jokbo.feedback.trust import Trust


@dataclass(frozen=True)
class Given:
    """What there is to compare, and how the labeller is called."""

    name: str  # in params.yaml
    seed: int
    documents: DatasetDict
    prompts: Callable[[str, int | None], Prompts]  # of a split, the first so many
    evaluated: Callable[[], list[str]]  # the prompts that models are evaluated on
    tokenizer: PreTrainedTokenizerBase
    policy: Callable[[], PreTrainedModel]  # the supervised one, which is loaded if somebody asks for it
    judge: Callable[[Any, str], tuple[PreTrainedModel, PreTrainedTokenizerBase]]  # of settings and their key
    say: Callable[[Iterable[str]], None]
    chat: Chat | None = None  # by which the policy is asked; None: it goes on with texts
    others: Mapping[str, Labelled] = field(
        default_factory=dict
    )  # what labellers before it preferred, by name

    def holds_out(self, prompt: str, share: float) -> bool:
        """Return whether the pairs of a prompt are of the test, which has that share of all prompts: a function of the
        normalised prompt and the seed."""
        key = digest(normalised(prompt), self.seed)
        return split_of(key, {"test": share, "train": 1.0}) == "test"


class LeftOut(NamedTuple):
    """How many were left out, of how many, and of what and why."""

    count: int
    whole: int
    what: str


@dataclass(frozen=True)
class Labelled:
    """What a labeller preferred."""

    train: list[Pair]
    test: list[Pair]  # that no stage learns from
    left_out: Mapping[str, LeftOut] = field(default_factory=dict)  # by a short name
    disagreement: Mapping[str, Estimated] = field(
        default_factory=dict
    )  # how often two raters of a pair differ
    trust: Trust | None = None  # how far a model that judges can be believed


class Labeller(Protocol):
    """One kind of `preferences.labellers`; `settings` is its class in jokbo.params."""

    def __call__(self, settings: Any, given: Given) -> Labelled: ...
