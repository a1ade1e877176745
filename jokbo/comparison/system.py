"""A system of the comparison with what it is made from: its file, its size, and the text that it reads."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from jokbo.comparison.texts import COUNTS, TRANSLATIONS
from jokbo.comparison.training_settings import adafactor, adamw, muon, training_settings
from jokbo.data.corpus.batches import TokenCorpus
from jokbo.runtime.files import read_json
from jokbo.systems.common import Size, SpecialTokens, Text, encoded, special_tokens_of
from jokbo.systems.protocol import Decoder, OneCycle, SystemModule
from jokbo.training.engine import Batch

if TYPE_CHECKING:
    from jokbo.params import Compute, Family, System, Training


Features = Callable[[nn.Module, Tensor], Tensor]  # network and tokens [B, T] -> [B, D]


@dataclass(frozen=True)
class OpenedSystem:
    """A system, made of what `settings` says of all and `own` of it alone."""

    settings: Family
    own: System
    module: SystemModule
    size: Size
    special_tokens: SpecialTokens
    train: Text
    validation: Text
    unigram: float  # entropy of token frequencies on the validation text, nats
    tokenizer: PreTrainedTokenizerBase
    unit: int = 1  # every batch has a multiple of so many rows, for ranks and micro-batches to share

    def fresh(self, seed: int, *, begins: bool = True) -> nn.Module:
        """Return the untrained network; where it begins with a teacher's layers, only if it `begins`."""
        more = {key: value for key, value in self.size.more.items() if begins or key != "teacher"}
        return self.module.network(replace(self.size, more=more), self.special_tokens, seed)

    def training(self, steps: int, *, adam: bool = False) -> Training:
        """Return the settings of its pretraining for so many steps; or, for a probe, the same with Adam."""
        own, settings = self.own, self.settings
        of_its_kind = muon if own.optimizer == "muon" and not adam else adamw
        optimizer = of_its_kind(settings, own.learning_rate)
        warmup = round(settings.warmup_fraction * steps)
        return training_settings(settings, optimizer, own.precision, steps, own.batch_size, warmup)

    def optimizer(self, objective: nn.Module) -> torch.optim.Optimizer | None:
        """Return that of its pretraining, where the engine does not make it."""
        return adafactor(self.own.learning_rate, objective) if self.own.optimizer == "adafactor" else None

    def rows_at(self, share: float) -> int:
        """Return the rows of a batch when a share of the budget is spent."""
        if self.own.schedule == "one_cycle":
            return (
                -(-cast(OneCycle, self.module).batch_size(share, self.own.batch_size) // self.unit)
                * self.unit
            )
        return self.own.batch_size

    def batch(self, text: Text, step: int, rows: int) -> Batch:
        """Return the input of a step of its pretraining, or of a held-out one."""
        return self.module.batch(text, step, rows, self.own.context, self.settings.seed)

    def features(self, network: nn.Module, tokens_BT: Tensor) -> Tensor:
        """Return what a classifier reads of each text, [B, D]: the mean of the states."""
        return self.module.features(network, tokens_BT, self.special_tokens)

    def last(self, network: nn.Module, tokens_BT: Tensor) -> Tensor:
        """Return the state at each text's end, [B, D], which GPT's paper reads."""
        return cast(Decoder, self.module).last(network, tokens_BT, self.special_tokens)


def opened(name: str, settings: Family, data: Path, compute: Compute) -> OpenedSystem:
    """Return the system of that name, on the text that the stage family_text left in the folder `data`."""
    own = settings.systems[name]
    folder = data / own.text
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    special_tokens, pairs = special_tokens_of(tokenizer), []
    if (folder / TRANSLATIONS).exists():
        pairs = encoded(read_json(folder / TRANSLATIONS), tokenizer.backend_tokenizer)
    train, validation = (
        Text(TokenCorpus.open(folder / split), special_tokens, len(tokenizer), pairs)
        for split in ("train", "validation")
    )
    more = own.more.model_dump(exclude_none=True)
    size = Size(len(tokenizer), own.layers, own.hidden_size, own.heads, own.context, own.dropout, more)
    module = cast(SystemModule, importlib.import_module(f"jokbo.systems.{own.module}"))
    unigram = read_json(data / COUNTS)["texts"][own.text]["unigram_entropy"]
    unit = compute.processes * max(compute.micro_batch, 1)
    return OpenedSystem(
        settings, own, module, size, special_tokens, train, validation, unigram, tokenizer, unit
    )
