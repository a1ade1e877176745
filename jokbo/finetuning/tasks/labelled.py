"""The rows of a labelled task: as people read them, as tokens, and as batches.

Shapes: N rows, B of a batch, K sequences of a row, S tokens of a sequence, T targets (S - 1), M sequences of all rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from jokbo.data.corpus.batches import dealt_by_length
from jokbo.finetuning.tasks.kind import Example, Kind
from jokbo.models import access
from jokbo.models.causal import mean_one
from jokbo.models.heads import last_tokens, trimmed
from jokbo.runtime.errors import InputError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict
    from transformers import PreTrainedTokenizerBase

    from jokbo.training.engine import Batch

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class SpecialTokens:
    """Tokens that are no text."""

    end_of_text: int
    padding: int
    delimiter: tuple[int, ...]  # between the texts of a sequence

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> SpecialTokens:
        """Return those of a tokenizer. The delimiter is its [SEP], or else the end of text."""
        end, padding, between = (
            access.end_of_text(tokenizer),
            access.padding(tokenizer),
            tokenizer.sep_token_id,
        )
        if isinstance(between, int):
            return cls(end, padding, (between,))
        # where padding is the end of text, a second one in a row would count as padding
        line = tokenizer("\n", add_special_tokens=False)["input_ids"] if end == padding else [end]
        return cls(end, padding, tuple(line))


@dataclass(frozen=True)
class Labelled:
    """The rows of one source by split, in the data set's order."""

    source: str
    classes: list[str]  # of the training rows; a label is a place in it
    rows: Mapping[str, list[Example]]
    labels: Mapping[str, Tensor]  # int64 [N]
    tokens: Mapping[str, Tensor]  # int64 [N, K, S]: `text, end of text, padding`
    cut: Mapping[str, int]  # rows that the context does not hold whole
    special: SpecialTokens

    @classmethod
    def of(
        cls, documents: DatasetDict, source: str, kind: Kind, tokenizer: PreTrainedTokenizerBase, context: int
    ) -> Labelled:
        """Return the labelled rows of a source.

        Raises InputError for fewer than two classes, for a label that no training row has, and for a row that is not of
        this kind.
        """
        rows = {split: _rows(documents[split], source) for split in SPLITS}
        classes = in_order({row.label for row in rows["train"]})
        if len(classes) < 2:
            raise InputError(
                f"{source} has training rows of {len(classes)} classes: a task needs two or more"
            )
        for split in SPLITS:
            for row in rows[split]:
                unknown = None if row.label in classes else "no training row has its label"
                if fault := unknown or kind.fault(classes, row):
                    raise InputError(f"{source}, {split}, label {row.label!r:.40}: {fault}")
        special = SpecialTokens.of(tokenizer)
        labels = {split: torch.tensor([classes.index(row.label) for row in rows[split]]) for split in SPLITS}
        encoded = {
            split: encode([kind.sequences(row) for row in rows[split]], tokenizer, special, context)
            for split in SPLITS
        }
        tokens = {split: tokens_NKS for split, (tokens_NKS, _) in encoded.items()}
        cut = {split: count for split, (_, count) in encoded.items()}
        return cls(source, classes, rows, labels, tokens, cut, special)

    def texts(self, split: str) -> list[str]:
        return [row.text for row in self.rows[split]]

    def first(self, count: int, seed: int) -> Labelled:
        """Return the data with so many training rows, drawn by the seed: a row of each class before all others."""
        order = np.random.default_rng(seed).permutation(len(self.rows["train"]))
        labels = self.labels["train"].numpy()[order]
        of_each = np.zeros(len(order), dtype=bool)
        of_each[np.unique(labels, return_index=True)[1]] = True
        chosen = np.concatenate([order[of_each], order[~of_each]])[:count]
        rows, where = self.rows["train"], torch.from_numpy(chosen)
        return replace(
            self,
            rows={**self.rows, "train": [rows[i] for i in chosen]},
            labels={**self.labels, "train": self.labels["train"][where]},
            tokens={**self.tokens, "train": self.tokens["train"][where]},
        )

    def batches(self, batch_size: int, seed: int, split: str = "train") -> Callable[[int], Batch]:
        """Return the batch of each step, of a split's rows of like length, as `Classify` takes it."""
        tokens_NKS, labels_N, special = self.tokens[split], self.labels[split], self.special
        longest_N = last_tokens(tokens_NKS.flatten(0, 1), special.padding, special.end_of_text)
        longest_N = longest_N.unflatten(0, tokens_NKS.shape[:2]).amax(1)
        rows_at = dealt_by_length(longest_N.numpy(), batch_size, seed, self.source)

        def batch_at(step: int) -> Batch:
            return batch(tokens_NKS, labels_N, torch.from_numpy(rows_at(step)), special)

        return batch_at


def batch(tokens_NKS: Tensor, labels_N: Tensor, indices_B: Tensor, special: SpecialTokens) -> Batch:
    """Return the rows that the indices name as `Classify` takes them."""
    chosen_BKS = tokens_NKS[indices_B]
    tokens_MS = trimmed(chosen_BKS.flatten(0, 1), special.padding, special.end_of_text)
    last_M = last_tokens(tokens_MS, special.padding, special.end_of_text)
    weights_MT = mean_one(torch.arange(1, tokens_MS.shape[1]) <= last_M[:, None])
    shape = chosen_BKS.shape[:2]
    return {
        "tokens_BKS": tokens_MS.unflatten(0, shape),
        "weights_BKT": weights_MT.unflatten(0, shape),
        "labels_B": labels_N[indices_B],
    }


def encode(
    rows: Sequence[Sequence[Sequence[str]]],
    tokenizer: PreTrainedTokenizerBase,
    special: SpecialTokens,
    context: int,
) -> tuple[Tensor, int]:
    """Return the sequences of each row, each with its texts, as int64 [N, K, context]; and how many rows were cut.

    A sequence is its texts, a delimiter between two, the end of text, padding. Where it is longer than the context,
    its longest texts lose their ends.
    """
    flat = [text for row in rows for sequence in row for text in sequence]
    ids = iter(tokenizer(flat, add_special_tokens=False)["input_ids"])
    count = len(rows[0]) if rows else 1
    tokens_NKS = torch.full((len(rows), count, context), special.padding)
    cut = 0
    for row, places in zip(rows, tokens_NKS, strict=True):
        whole = True
        for sequence, place in zip(row, places, strict=True):
            parts: list[list[int]] = [next(ids) for _ in sequence]
            between = len(special.delimiter) * (len(parts) - 1)
            kept = shortened([len(part) for part in parts], context - 1 - between)
            whole &= kept == [len(part) for part in parts]
            joined = [*parts[0][: kept[0]]]
            for part, length in zip(parts[1:], kept[1:], strict=True):
                joined += [*special.delimiter, *part[:length]]
            joined.append(special.end_of_text)
            place[: len(joined)] = torch.tensor(joined)
        cut += not whole
    return tokens_NKS, cut


def shortened(lengths: Sequence[int], room: int) -> list[int]:
    """Return lengths that fit into the room together: the longest are cut to what all may have."""
    if sum(lengths) <= room:
        return [*lengths]
    left, most = room, 0
    for place, length in enumerate(sorted(lengths)):
        most = left // (len(lengths) - place)
        if length > most:
            break
        left -= length
    return [min(length, most) for length in lengths]


def in_order(labels: Iterable[str]) -> list[str]:
    """Return the labels in the order of their numbers if all of them are whole numbers, else by name."""
    found = list(labels)
    return (
        sorted(found, key=int) if all(re.fullmatch("-?[0-9]+", label) for label in found) else sorted(found)
    )


def _rows(documents: Dataset, source: str) -> list[Example]:
    rows = zip(*(documents[name] for name in ("text", "others", "label", "sources")), strict=True)
    return [
        Example(text, tuple(others or ()), label)
        for text, others, label, own in rows
        if source in own and label is not None
    ]
