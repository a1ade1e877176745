"""Which answered examples stand before a question: drawn by a seed, the same for all rows, as many as fit."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest

import numpy as np

from jokbo.prompting.task import Row
from jokbo.runtime.errors import InputError


def check(pool: Sequence[Row], k: int, *, balanced: bool) -> None:
    """Raise InputError if there are not enough rows to draw k examples of which none is the question."""
    have = len({row.question for row in pool}) - 1
    if k > have:
        raise InputError(f"{k} examples: there are {have} to draw from, the question left out: ask for fewer")
    if balanced and len({row.options for row in pool}) > 1:
        raise InputError(
            "balanced examples: each row has options of its own, so there are no classes: draw them all"
        )


def drawn(pool: Sequence[Row], seed: int, *, balanced: bool) -> list[Row]:
    """Return all rows in the order in which they are taken as examples: a function of the rows and the seed alone.

    The first k are the examples. Balanced: the classes take turns, in an order that is new in each round.
    """
    rng = np.random.default_rng(seed)
    order = [pool[i] for i in rng.permutation(len(pool))]
    if not balanced:
        return order
    classes = [[row for row in order if row.right == right] for right in sorted({row.right for row in pool})]
    rounds = (list(each) for each in zip_longest(*classes))
    shuffled = ([each[i] for i in rng.permutation(len(each))] for each in rounds)
    return [row for row in chain.from_iterable(shuffled) if row is not None]


def before(row: Row, order: Sequence[Row], k: int) -> list[Row]:
    """Return the first k examples that do not ask what the row asks."""
    found: list[Row] = []
    for each in order:
        if len(found) == k:
            break
        if each.question != row.question:
            found.append(each)
    return found
