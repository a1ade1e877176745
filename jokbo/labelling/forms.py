"""What the page's forms send, read and checked."""

from __future__ import annotations

import secrets
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request

from jokbo.labelling.queue import Answer, Place
from jokbo.labelling.words import REASONS
from jokbo.preferences.batch import Vote

BYTES = 2**22  # most of a form
CHARACTERS = 100_000  # most of a note or an answer
NAME_CHARACTERS = 40
Fields = Mapping[str, str]


class Refused(Exception):
    """What the page says instead of doing what was asked: `problem_` and this word, with an HTTP status."""

    def __init__(self, problem: str, status: int = 400, **values: Any) -> None:
        super().__init__(problem)
        self.problem, self.status, self.values = problem, status, values


async def sent(request: Request) -> Fields:
    """Return the fields of a form of this session. Refused if it is too long, or of no session."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BYTES:
            raise Refused("large", 413)
    try:
        pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=100)
    except ValueError:
        raise Refused("large", 413) from None
    # kept where also a page that refuses them finds them
    fields = request.state.fields = {name: value.replace("\r\n", "\n") for name, value in pairs}
    given, own = fields.get("csrf", ""), request.session.get("csrf", "")
    if not own or not secrets.compare_digest(given.encode(), own.encode()):
        raise Refused("csrf", 403)
    return fields


def name_of(text: str) -> str | None:
    """Return the pseudonym that somebody typed; None if it is none."""
    name = " ".join(unicodedata.normalize("NFC", text).split())
    return name if name.isprintable() and 0 < len(name) <= NAME_CHARACTERS else None


def answer_of(fields: Fields, place: Place) -> Answer:
    """Return what a form says of an item. Refused if it says nothing that can be kept."""
    texts = {name: fields.get(name, "").strip() for name in ("note", "better")}
    if any(len(text) > CHARACTERS for text in texts.values()):
        raise Refused("long", 422, most=f"{CHARACTERS:,}")
    flagged = (index for at, index in enumerate(place.shown) if fields.get(f"harmful_{at}"))
    more = {"harmful": tuple(sorted(flagged)), **texts}
    choice = fields.get("choice")
    if choice == "skip":
        if fields.get("reason") not in REASONS:
            raise Refused("choose", 422)
        return Answer("skipped", reason=fields["reason"], **more)
    if choice == "ranking" and len(place.shown) > 2:
        return Answer("judged", _ranking(fields, place), **more)
    if choice in ("first", "second") and len(place.shown) == 2:
        best = place.shown[choice == "second"]
        return Answer("judged", [[best], [1 - best]], **more)
    if choice in ("tie", "bad") and len(place.shown) == 2:
        return Answer("judged", [[0, 1]], both_bad=choice == "bad", **more)
    raise Refused("choose", 422)


def _ranking(fields: Fields, place: Place) -> list[list[int]]:
    groups: dict[int, list[int]] = {}
    for at, index in enumerate(place.shown):
        rank = fields.get(f"rank_{at}", "")
        if rank not in [str(i) for i in range(1, len(place.shown) + 1)]:
            raise Refused("ranks", 422)
        groups.setdefault(int(rank), []).append(index)
    return [sorted(groups[rank]) for rank in sorted(groups)]


@dataclass(frozen=True)
class Draft:
    """What stands in a form when it is shown."""

    choice: str = ""
    reason: str = ""
    note: str = ""
    better: str = ""
    harmful: tuple[int, ...] = ()  # as the responses stand on the page
    ranks: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of_fields(cls, fields: Fields) -> Draft:
        """Return what somebody typed that was refused."""
        texts = {name: fields.get(name, "") for name in ("choice", "reason", "note", "better")}
        harmful = tuple(at for at in range(9) if fields.get(f"harmful_{at}"))
        ranks = {
            at: int(found)
            for at in range(9)
            if (found := fields.get(f"rank_{at}", "")) in "123456789" and found
        }
        return cls(**texts, harmful=harmful, ranks=ranks)

    @classmethod
    def of_vote(cls, vote: Vote) -> Draft:
        """Return what a vote says, so that it can be changed."""
        harmful = tuple(at for at, index in enumerate(vote.shown) if index in vote.harmful)
        places = {index: rank for rank, group in enumerate(vote.ranking or [], 1) for index in group}
        ranks = {at: places[index] for at, index in enumerate(vote.shown) if places}
        return cls(chosen(vote), vote.reason or "", vote.note, vote.better, harmful, ranks)


def chosen(vote: Vote) -> str:
    """Return what was chosen, as the form names it."""
    if vote.ranking is None:
        return "skip"
    if len(vote.shown) > 2:
        return "ranking"
    if len(vote.ranking) == 1:
        return "bad" if vote.both_bad else "tie"
    return "first" if vote.ranking[0] == [vote.shown[0]] else "second"
