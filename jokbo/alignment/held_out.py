"""Which preference pairs a training learns, and by which its best weights are found (`keep` of kind best).

Whole prompts are set aside, so that nothing of what is measured was learned. Of pairs without a prompt it is texts that
are set aside: a pair of one text that is and one that is not is of neither part. Both parts are of the pairs to learn
from; those that a reward model or a policy is scored on stay apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from jokbo.data.keys import digest, normalised, split_of
from jokbo.runtime.errors import InputError

if TYPE_CHECKING:
    from jokbo.data.tables import Row
    from jokbo.params import KeepBestOfPairs, KeepLast


class Parts(NamedTuple):
    """Numbers of pairs."""

    train: list[int]
    validation: list[int]
    neither: int  # how many are of no part

    def left_out(self) -> Mapping[str, tuple[int, int, str]]:
        """Return how many pairs are not learned, of how many, and which, by a short name; nothing if all are."""
        if not self.validation:
            return {}
        whole = len(self.train) + len(self.validation) + self.neither
        why = "pairs are of a text for validation and of one to learn: nothing reads them"
        return {
            "validation": (len(self.validation), whole, "pairs are set aside for validation"),
            "across": (self.neither, whole, why),
        }


def parts_of(rows: Sequence[Row], keep: KeepLast | KeepBestOfPairs, seed: int, key: str) -> Parts:
    """Return which of the pairs are learned and which are for validation: a function of the normalised prompt, or of
    both texts, and the seed. All are learned where the last weights are kept.

    Raises InputError if a part is empty; `key` is of the training in params.yaml.
    """
    if keep.kind == "last":
        return Parts(list(range(len(rows))), [], 0)
    shares = {"validation": keep.held_out, "train": 1.0}

    def part(text: str) -> str:
        # not by the text's own hash, by which labellers have set some aside for the test already
        return split_of(digest(f"keep {normalised(text)}", seed), shares)

    of: dict[str, list[int]] = {"validation": [], "train": []}
    for number, row in enumerate(rows):
        found = {part(text) for text in ([row["prompt"]] if row["prompt"] else row["responses"])}
        if len(found) == 1:
            of[found.pop()].append(number)
    for name, what, advice in (("validation", "for validation", "raise"), ("train", "to learn", "lower")):
        if not of[name]:
            raise InputError(
                f"{key}.keep.held_out is {keep.held_out:g}: none of the {len(rows):,} pairs is {what}: {advice} it"
            )
    return Parts(of["train"], of["validation"], len(rows) - sum(map(len, of.values())))


def check_fills(count: int, what: str, batch_size: int, key: str) -> None:
    """Raise InputError if so many pairs, or prompts, for validation do not fill one batch; `key` is of the training."""
    if count < batch_size:
        raise InputError(
            f"{key}.keep.held_out leaves {count:,} {what} for validation, too few for one batch of {batch_size}: raise "
            f"it, or lower {key}.batch_size"
        )
