"""What people are asked to compare, and what they said: the files between the stage `preferences` and the page.

Both lie in `data/local/labels/NAME`, where DVC sees their changes: `batch.json` is written by the stage, `votes.jsonl`
by the page. A batch is of one policy and one way of sampling, whose hash is its id. A vote names the batch that it was
given in, so one that was given of other responses is known.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from jokbo.data.files.files import LOCAL
from jokbo.preferences.judgement import judged
from jokbo.preferences.records import records
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import Saved, atomic_write_file

LABELS = LOCAL / "labels"
# a withdrawal takes a person's last answer back; a late one came when others had answered in that person's place
Action = Literal["judged", "skipped", "withdrawn", "late"]
ANSWERS = ("judged", "skipped")  # what fills one of an item's places


@dataclass(frozen=True)
class Item:
    """Responses to one prompt that people compare: two, or more to be ranked."""

    id: str  # the hash of its texts
    prompt: str
    responses: list[str]
    ranking: list[list[int]] | None = None  # what a gold item must be judged; None of any other
    writers: list[str] | None = None  # the model that wrote each response, where several did

    @classmethod
    def of(cls, prompt: str, responses: Sequence[str], ranking: list[list[int]] | None = None) -> Item:
        text = json.dumps([prompt, list(responses)])
        return cls(hashlib.sha256(text.encode()).hexdigest()[:16], prompt, list(responses), ranking)


@dataclass(frozen=True)
class Batch(Saved):
    """What the page asks, of how many people, and by which instructions."""

    STAGE = "preferences"
    id: str
    name: str  # the labeller's, in params.yaml
    labels_per_item: int
    instructions: str
    items: list[Item]
    alike: int  # comparisons that are not asked: of responses that are empty or say the same
    evaluated: int  # of prompts that models are evaluated on
    published: str | None = None  # when, in ISO 8601

    def asked(self) -> list[Item]:
        """Return the items without gold ones."""
        return [item for item in self.items if item.ranking is None]


@dataclass(frozen=True)
class Vote:
    """What one person said of one item, at one time. A later one of the same person and item replaces it."""

    number: int  # votes are numbered in the order in which they came
    batch: str
    item: str
    gold: bool
    prompt: str
    responses: list[str]
    shown: list[int]  # which response stood first, second ...
    labeller: str  # a pseudonym
    time: str  # in ISO 8601
    seconds: float  # since the page showed the item, or since the person's answer before
    action: Action
    replaces: int | None = None  # the number of the vote that it changes or takes back
    ranking: list[list[int]] | None = None  # indices of responses, the best first; None if nobody judged
    both_bad: bool = False  # a tie, because no response is any good
    reason: str | None = None  # why it was skipped
    harmful: tuple[int, ...] = ()  # indices of responses
    note: str = ""
    better: str = ""  # a better response, written by hand


def published(name: str) -> Batch | None:
    """Return the batch of a labeller; None if there is none. InputError if somebody has changed its texts."""
    path = batch_file(name)
    if not path.exists():
        return None
    found = Batch.load(path)
    for item in found.items:
        if Item.of(item.prompt, item.responses).id != item.id:
            raise InputError(f"{path}: the texts of item {item.id} were changed: restore or remove the file")
    return found


def folder(name: str) -> Path:
    """Return where batch and votes of a labeller lie."""
    return LABELS / name


def batch_file(name: str) -> Path:
    return folder(name) / "batch.json"


def votes_file(name: str) -> Path:
    return folder(name) / "votes.jsonl"


def write_votes(votes: Iterable[Vote], path: Path) -> int:
    """Write all votes, a row each, also those that were replaced or taken back. Return how many."""
    rows = [row_of(vote).decode() + "\n" for vote in votes]
    with atomic_write_file(path) as file:
        file.writelines(rows)
    return len(rows)


def row_of(vote: Vote) -> bytes:
    """Return a vote as a line of a file, without its end. Texts are escaped: any of them is a line of UTF-8."""
    return json.dumps(asdict(vote)).encode()


def read_votes(path: Path) -> list[Vote]:
    """Return all votes of a file. InputError, with the row, for the first that is none."""
    return list(_votes(path)) if path.exists() else []


def _votes(path: Path) -> Iterator[Vote]:
    kind, remedy = TypeAdapter(Vote), "write the file again by `jokbo label export`"
    for location, record in records(path, "prompt"):
        try:
            vote = kind.validate_python(record)
        except ValidationError as error:
            first = error.errors()[0]
            what = f"{'.'.join(map(str, first['loc']))}: {first['msg'].lower()}"
            raise InputError(f"{location}: {what}: {remedy}") from error
        if Item.of(vote.prompt, vote.responses).id != vote.item:
            raise InputError(f"{location}: the texts of item {vote.item} were changed: {remedy}")
        if vote.action == "judged":
            judged(location, vote.prompt, vote.responses, vote.ranking)
        yield vote


def standing(votes: Iterable[Vote]) -> list[Vote]:
    """Return of each person and item the last vote, in order, without those that were taken back or came late."""
    last = {}
    for vote in sorted(votes, key=lambda vote: vote.number):
        last[vote.batch, vote.item, vote.labeller] = vote
    return [vote for vote in last.values() if vote.action in ANSWERS]
