"""What one person said of the responses to one prompt, whatever the form of the file that says it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations
from typing import Any

from jokbo.preferences.pairs import Pair
from jokbo.runtime.errors import InputError

SEEN = 60  # most characters of a value that a message shows
Ranking = Sequence[Sequence[int]]  # indices of responses, the best first, those that are tied together
TIE: Ranking = [[0, 1]]


@dataclass(frozen=True)
class Judgement:
    """Responses to one prompt in the order in which somebody prefers them."""

    location: str  # file and row, as messages name it
    prompt: str
    responses: Sequence[str]
    ranking: Ranking
    labeller: str | None  # None if nobody is named
    time: str | None  # in ISO 8601; None if unknown


@dataclass(frozen=True)
class Skipped:
    """A row in which nobody chose, or whose choice has no place in the table."""

    location: str
    reason: str


def judged(
    location: str,
    prompt: Any,
    responses: Sequence[Any],
    ranking: Any,
    *,
    labeller: Any = None,
    time: Any = None,
) -> Judgement:
    """Return a judgement whose parts are checked. InputError, one line with the location, for what is wrong.

    ranking: indices of the responses, the best first; a list of indices stands for responses that are tied.
    """
    for name, text in (("prompt", prompt), *((f"response {i}", each) for i, each in enumerate(responses))):
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"{location}: the {name} is {seen(text)}: give a text, or remove the row")
    if len(responses) < 2:
        raise InputError(f"{location}: there are {len(responses)} responses: give two or more")
    for one, other in combinations(range(len(responses)), 2):
        if responses[one].strip() == responses[other].strip():
            raise InputError(
                f"{location}: responses {one} and {other} are equal: nobody can prefer one; remove the row"
            )
    if labeller is not None and not isinstance(labeller, str | int):
        raise InputError(f"{location}: the labeller is {seen(labeller)}: give a name, or nothing")
    name = None if labeller in (None, "") else str(labeller)
    groups = _groups(location, ranking, len(responses))
    return Judgement(location, prompt, list(responses), groups, name, moment(location, time))


def _groups(location: str, ranking: Any, count: int) -> Ranking:
    groups = (
        [each if isinstance(each, list) else [each] for each in ranking] if isinstance(ranking, list) else []
    )
    indices = [index for group in groups for index in group]
    if any(type(index) is not int for index in indices) or sorted(indices) != list(range(count)):
        wanted = f"give each of 0 to {count - 1} once, the best first"
        raise InputError(
            f"{location}: the ranking {seen(ranking)} is no permutation of the responses: {wanted}"
        )
    return groups


def moment(location: str, time: Any) -> str | None:
    """Return a time in ISO 8601, in UTC, as `2026-01-31T12:00:00Z`, given that or seconds since 1970; None for none.

    InputError if it is neither.
    """
    if time is None or time == "":
        return None
    try:
        if isinstance(time, str):
            found = datetime.fromisoformat(time)
        else:
            found = time if isinstance(time, datetime) else datetime.fromtimestamp(time, UTC)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (TypeError, ValueError, OverflowError, OSError) as error:
        wanted = "write 2026-01-31T12:00:00Z, or seconds since 1970"
        raise InputError(f"{location}: the time is {seen(time)}: {wanted}, or nothing") from error
    return found.isoformat().replace("+00:00", "Z")


def pairs_of(judgement: Judgement, source: str) -> list[Pair]:
    """Return a pair of every two responses (Ouyang et al. 2022, section 3.5), a tie where they are tied.

    Where there are two, they keep their order. Else a hash decides which one stands first, so that a ranking does not
    tell by the order which one was preferred.
    """
    place = {index: place for place, group in enumerate(judgement.ranking) for index in group}
    found = []
    for pair in combinations(range(len(judgement.responses)), 2):
        one, other = pair if len(place) == 2 else shuffled(judgement.prompt, judgement.responses, *pair)
        choice = None if place[one] == place[other] else int(place[other] < place[one])
        found.append(
            {
                "prompt": judgement.prompt,
                "responses": [judgement.responses[one], judgement.responses[other]],
                "choice": choice,
                "labeller": judgement.labeller,
                "time": judgement.time,
                "source": source,
                "agreement": 1.0,
                "by_policy": False,
            }
        )
    return found


def shuffled(prompt: str, responses: Sequence[str], one: int, other: int) -> tuple[int, int]:
    """Return two indices in an order that is a function of the texts alone, and by chance either."""
    texts = {index: f"{prompt}\0{responses[index]}".encode() for index in (one, other)}
    first, second = sorted(texts, key=lambda index: hashlib.sha256(texts[index]).digest())
    return first, second


def seen(value: Any) -> str:
    """Return what a message shows of a value."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= SEEN else f"{text[:SEEN]}..."
