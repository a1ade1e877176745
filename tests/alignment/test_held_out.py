"""The pairs by which the best weights are found are nobody's else: their prompts, or texts, are not learned."""

from __future__ import annotations

from typing import Any

import pytest

from jokbo.alignment.held_out import Parts, check_fills, parts_of
from jokbo.data.keys import digest, normalised, split_of
from jokbo.params import KeepBestOfPairs, KeepLast
from jokbo.runtime.errors import InputError
from tests.alignment.test_dpo import row

KEY = "reward.training"
PROMPTS = [row(f"Prompt {number}", first, "w9") for number in range(300) for first in ("w2", "w3")]
TEXTS = [row("", f"Text {number}", f"Text {(7 * number + 1) % 300}") for number in range(300)]


def best(share: float = 0.2) -> KeepBestOfPairs:
    return KeepBestOfPairs(kind="best", every=1, batches=1, held_out=share)


def parted(rows: list[dict[str, Any]], share: float = 0.2, seed: int = 1) -> Parts:
    return parts_of(rows, best(share), seed, KEY)


def test_the_last_weights_are_of_all_pairs() -> None:
    found = parts_of(TEXTS, KeepLast(kind="last"), 1, KEY)
    assert found == (list(range(300)), [], 0)
    assert not found.left_out()


def test_prompts_are_set_aside_whole_and_none_is_lost() -> None:
    found = parted(PROMPTS)
    assert sorted(found.train + found.validation) == list(range(600))
    learned, measured = (
        {PROMPTS[number]["prompt"] for number in part} for part in (found.train, found.validation)
    )
    assert learned.isdisjoint(measured)
    assert 0.12 < len(measured) / 300 < 0.28
    assert found == parted([each | {"prompt": each["prompt"].upper() + " !"} for each in PROMPTS])
    assert found != parted(PROMPTS, seed=2)


def test_of_pairs_without_a_prompt_no_text_is_on_both_sides_and_what_is_lost_is_counted() -> None:
    found = parted(TEXTS)
    learned, measured = (
        {text for number in part for text in TEXTS[number]["responses"]}
        for part in (found.train, found.validation)
    )
    assert learned
    assert measured
    assert learned.isdisjoint(measured)
    assert found.neither == 300 - len(found.train) - len(found.validation) > 0
    counts = [(count, whole) for count, whole, _ in found.left_out().values()]
    assert counts == [(len(found.validation), 300), (found.neither, 300)]


def test_what_a_labeller_held_out_by_the_same_seed_and_share_leaves_as_many() -> None:
    """Its prompts are those of the lowest hashes: by these none would be left to set aside."""
    shares = {"test": 0.2, "train": 1.0}
    left = [each for each in PROMPTS if split_of(digest(normalised(each["prompt"]), 1), shares) == "train"]
    assert 0.12 < len(parted(left).validation) / len(left) < 0.28


@pytest.mark.parametrize(
    ("share", "said"), [(0.001, "for validation: raise it"), (0.999, "to learn: lower it")]
)
def test_an_empty_part_is_refused(share: float, said: str) -> None:
    with pytest.raises(InputError) as told:
        parted(PROMPTS[:20], share)
    assert str(told.value) == f"reward.training.keep.held_out is {share:g}: none of the 20 pairs is {said}"


def test_less_than_a_batch_is_refused() -> None:
    check_fills(8, "pairs", 8, KEY)
    with pytest.raises(
        InputError, match=r"^reward\.training\.keep\.held_out leaves 7 prompts for validation, too few"
    ):
        check_fills(7, "prompts", 8, KEY)
