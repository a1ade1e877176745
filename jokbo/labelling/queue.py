"""Which item a person is given next, and what becomes of an answer.

An item is reserved for a person for a while, so that it is given to as many people as are asked for and no more. All
that changes a batch happens in one transaction at a time (store.alone).
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

import sqlalchemy as sql
from sqlalchemy import Connection, Engine

from jokbo.labelling.store import ELSEWHERE, alone, batches, items, places, rows_of_votes, vote_of, votes
from jokbo.preferences.batch import ANSWERS, Item, Vote

GOLD_SHARE = (
    0.1  # of the items that a person is given, as long as there are gold ones that they have not seen
)
EDITABLE = 10  # of a person's last answers
# stored; there already; the person has answered it otherwise in another tab; others have answered in their place; it
# was never given to the person, or has changed meanwhile
Outcome = Literal["stored", "repeated", "answered", "late", "unknown"]


@dataclass(frozen=True)
class Queue:
    """The items of one batch, given out to people."""

    engine: Engine
    batch: str
    timeout: float = 900.0  # seconds that an item stays reserved
    clock: Callable[[], float] = time.time


@dataclass(frozen=True)
class Place:
    """An item that a person was given."""

    item: Item
    shown: list[int]  # the order of its responses on the page
    answered: bool


@dataclass(frozen=True)
class Answer:
    """What a person says of an item, its responses by their index in the item."""

    action: Literal["judged", "skipped"]
    ranking: list[list[int]] | None = None
    both_bad: bool = False
    reason: str | None = None
    harmful: tuple[int, ...] = ()
    note: str = ""
    better: str = ""


def take(queue: Queue, person: str, beside: str | None = None) -> Place | None:
    """Return the item that a person has to answer, reserved for them; None if there is none for them now.

    beside: an item that they are answering; then it is the one after that.
    """
    now = queue.clock()
    with alone(queue.engine, queue.batch) as connection:
        held = sql.and_(_own(queue, person), places.c.until > now, places.c.item != (beside or ""))
        found = connection.execute(sql.select(places).where(held).order_by(places.c.turn).limit(1)).first()
        item = found.item if found else _free(connection, queue, person, now)
        if item is None:
            return None
        if found is None:
            _reserve(connection, queue, person, item, now)
        return _place(connection, queue, person, item)


def place(queue: Queue, person: str, item: str) -> Place | None:
    """Return an item as the person was given it; None if they were not."""
    with queue.engine.connect() as connection:
        return _place(connection, queue, person, item)


def answer(queue: Queue, person: str, item: str, given: Answer, replaces: int | None = None) -> Outcome:
    """Add a vote, and say what became of it. It is on disk then.

    replaces: the number of the person's vote that it changes. What was sent twice is kept once.
    """
    now = queue.clock()
    with alone(queue.engine, queue.batch) as connection:
        own = _place_row(connection, queue, person, item)
        if own is None:
            return "unknown"
        last = _last(connection, queue, person, item)
        if last and last.action != "withdrawn" and _says(last) == given:
            return "late" if last.action == "late" else "repeated"
        if replaces is not None:
            if last is None or last.number != replaces or own.until is not None:
                return "unknown"
            _add(connection, queue, own, given, replaces)
            return "stored"
        if own.until is None:
            return "answered"
        if own.until <= now and not _has_room(connection, queue, item, person, now):
            _add(connection, queue, own, given, None, action="late")
            return "late"
        _add(connection, queue, own, given, None)
        this = sql.and_(_own(queue, person), places.c.item == item)
        connection.execute(places.update().where(this).values(until=None))
        held = sql.and_(_own(queue, person), places.c.until > now)
        connection.execute(places.update().where(held).values(until=now + queue.timeout))
        return "stored"


def withdraw(queue: Queue, person: str, item: str) -> Outcome:
    """Take a person's last answer to an item back, and give it to them again."""
    now = queue.clock()
    with alone(queue.engine, queue.batch) as connection:
        own = _place_row(connection, queue, person, item)
        last = _last(connection, queue, person, item)
        if own is None or last is None:
            return "unknown"
        if own.until is not None:
            return "repeated"
        _add(connection, queue, own, _says(last), last.number, action="withdrawn")
        this = sql.and_(_own(queue, person), places.c.item == item)
        connection.execute(places.update().where(this).values(until=now + queue.timeout))
        return "stored"


def recent(queue: Queue, person: str, count: int = EDITABLE) -> list[Vote]:
    """Return a person's last answers that stand, the newest first."""
    newest = (
        sql.select(sql.func.max(votes.c.number))
        .join(
            places,
            sql.and_(
                places.c.batch == votes.c.batch,
                places.c.item == votes.c.item,
                places.c.person == votes.c.person,
            ),
        )
        .where(_own(queue, person), places.c.until.is_(None), votes.c.action.in_(ANSWERS))
        .group_by(votes.c.item)
    )
    query = rows_of_votes().where(votes.c.number.in_(newest)).order_by(votes.c.number.desc()).limit(count)
    with queue.engine.connect() as connection:
        return [vote_of(row) for row in connection.execute(query)]


@dataclass(frozen=True)
class Progress:
    """How far a batch is."""

    needed: int  # labels
    given: int
    own: int  # answers of the person who is asked, gold items among them
    seconds: float | None  # of one answer: the median of the person's last ones; None if there is none

    @property
    def missing(self) -> int:
        return self.needed - self.given

    @property
    def percent(self) -> int:
        return 100 * self.given // self.needed if self.needed else 100


def progress(queue: Queue, person: str = "", coming: str | None = None) -> Progress:
    """Return how many labels are there, and how many are asked for. A skipped item counts as answered.

    coming: an item that counts as answered by the person, though their answer is not in yet.
    """
    soon = sql.and_(places.c.person == person, places.c.item == (coming or ""))
    answered = sql.and_(places.c.batch == queue.batch, sql.or_(places.c.until.is_(None), soon))
    with queue.engine.connect() as connection:
        wanted = _labels(connection, queue)
        ordinary = sql.and_(items.c.batch == queue.batch, items.c.gold.is_(False))
        count = connection.scalar(sql.select(sql.func.count()).select_from(items).where(ordinary)) or 0
        each = (
            sql.select(sql.func.count().label("there"))
            .join(items, sql.and_(items.c.batch == places.c.batch, items.c.id == places.c.item))
            .where(answered, items.c.gold.is_(False))
            .group_by(places.c.item)
        )
        given = sum(min(there, wanted) for there in connection.scalars(each))
        own = connection.scalar(
            sql.select(sql.func.count()).select_from(places).where(answered, places.c.person == person)
        )
    times = sorted(vote.seconds for vote in recent(queue, person, 2 * EDITABLE)) if person else []
    return Progress(count * wanted, given, own or 0, times[len(times) // 2] if times else None)


def _own(queue: Queue, person: str) -> sql.ColumnElement[bool]:
    return sql.and_(places.c.batch == queue.batch, places.c.person == person)


def _labels(connection: Connection, queue: Queue) -> int:
    wanted = sql.select(batches.c.labels_per_item).where(batches.c.id == queue.batch)
    return connection.scalar(wanted) or 0


def _taken(queue: Queue, now: float) -> sql.ColumnElement[bool]:
    return sql.and_(places.c.batch == queue.batch, sql.or_(places.c.until.is_(None), places.c.until > now))


def _has_room(connection: Connection, queue: Queue, item: str, person: str, now: float) -> bool:
    """Return whether fewer others hold or have answered an item than are asked for. Gold items have room for all."""
    if connection.scalar(sql.select(items.c.gold).where(items.c.batch == queue.batch, items.c.id == item)):
        return True
    others = sql.and_(_taken(queue, now), places.c.item == item, places.c.person != person)
    there = connection.scalar(sql.select(sql.func.count()).select_from(places).where(others)) or 0
    return there < _labels(connection, queue)


def _free(connection: Connection, queue: Queue, person: str, now: float) -> str | None:
    """Return an item to reserve: at times a gold one, else one that is nearest to having all its labels."""
    count = connection.scalar(sql.select(sql.func.count()).select_from(places).where(_own(queue, person)))
    # what they hold or have answered; a reservation that ended may be given again
    own = sql.select(places.c.item).where(_own(queue, person), _taken(queue, now))
    fresh = sql.and_(items.c.batch == queue.batch, items.c.id.not_in(own))
    if random.Random(f"{queue.batch} {person} {count}").random() < GOLD_SHARE:
        gold = sql.select(items.c.id).where(fresh, items.c.gold.is_(True)).order_by(items.c.position).limit(1)
        if found := connection.scalar(gold):
            return found
    there = (
        sql.select(places.c.item, sql.func.count().label("labels"))
        .where(_taken(queue, now))
        .group_by(places.c.item)
        .subquery()
    )
    labels = sql.func.coalesce(there.c.labels, 0)
    return connection.scalar(
        sql.select(items.c.id)
        .outerjoin(there, there.c.item == items.c.id)
        .where(fresh, items.c.gold.is_(False), labels < _labels(connection, queue))
        .order_by(labels.desc(), items.c.position)
        .limit(1)
    )


def _reserve(connection: Connection, queue: Queue, person: str, item: str, now: float) -> None:
    if _place_row(connection, queue, person, item):  # a reservation of theirs that ended
        this = sql.and_(_own(queue, person), places.c.item == item)
        connection.execute(places.update().where(this).values(since=now, until=now + queue.timeout))
        return
    count = connection.scalar(sql.select(sql.func.count()).select_from(places).where(_own(queue, person)))
    content = connection.scalar(
        sql.select(items.c.content).where(items.c.batch == queue.batch, items.c.id == item)
    )
    shown = list(range(len(json.loads(content or "")["responses"])))
    random.SystemRandom().shuffle(shown)
    connection.execute(
        places.insert().values(
            batch=queue.batch,
            item=item,
            person=person,
            turn=count,
            shown=json.dumps(shown),
            since=now,
            until=now + queue.timeout,
        )
    )


def _place_row(connection: Connection, queue: Queue, person: str, item: str) -> sql.Row[Any] | None:
    return connection.execute(sql.select(places).where(_own(queue, person), places.c.item == item)).first()


def _place(connection: Connection, queue: Queue, person: str, item: str) -> Place | None:
    own = _place_row(connection, queue, person, item)
    if own is None:
        return None
    texts = sql.select(items.c.content).where(items.c.batch == queue.batch, items.c.id == item)
    content = json.loads(connection.scalar(texts) or "")
    return Place(Item(item, **content), json.loads(own.shown), own.until is None)


def _last(connection: Connection, queue: Queue, person: str, item: str) -> Vote | None:
    of = sql.and_(votes.c.batch == queue.batch, votes.c.person == person, votes.c.item == item)
    row = connection.execute(rows_of_votes().where(of).order_by(votes.c.number.desc()).limit(1)).first()
    return vote_of(row) if row else None


def _says(vote: Vote) -> Answer:
    """Return what a vote says. One that was taken back or came late says what it said."""
    action = "skipped" if vote.ranking is None else "judged"
    return Answer(action, vote.ranking, vote.both_bad, vote.reason, vote.harmful, vote.note, vote.better)


def _add(
    connection: Connection,
    queue: Queue,
    own: sql.Row[Any],
    given: Answer,
    replaces: int | None,
    action: str | None = None,
) -> None:
    now = queue.clock()
    before = connection.scalar(
        sql.select(votes.c.content)
        .where(votes.c.batch == queue.batch, votes.c.person == own.person)
        .order_by(votes.c.number.desc())
        .limit(1)
    )
    begun = max(own.since, datetime.fromisoformat(json.loads(before)["time"]).timestamp() if before else 0.0)
    time = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    vote = Vote(
        number=0,
        batch=queue.batch,
        item=own.item,
        gold=False,
        prompt="",
        responses=[],
        labeller=own.person,
        shown=json.loads(own.shown),
        time=time,
        seconds=round(max(now - begun, 0.0), 1),
        replaces=replaces,
        **asdict(replace(given, action=action or given.action)),  # pyright: ignore[reportArgumentType]
    )
    content = {name: value for name, value in asdict(vote).items() if name not in ELSEWHERE}
    connection.execute(
        votes.insert().values(
            batch=queue.batch,
            item=own.item,
            person=own.person,
            action=vote.action,
            content=json.dumps(content),
        )
    )
