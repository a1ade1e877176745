"""What the page keeps: batches, people, who has which item, and votes, which are only ever added.

SQLite in a file, or any database that SQLAlchemy opens by its URL. Texts are kept as JSON with escapes, so that every
character is kept everywhere: PostgreSQL's text has no NUL.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Engine,
    Float,
    ForeignKey,
    Integer,
    String,
    Table,
    Text,
    event,
)
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from jokbo.preferences.batch import Batch, Vote
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import writing
from jokbo.runtime.secrets import hidden, hidden_of

WAIT_SECONDS = 60.0  # for a lock that another process holds
tables = sql.MetaData()
batches = Table(
    "label_batches",
    tables,
    Column("id", String(16), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("labels_per_item", Integer, nullable=False),
    Column("instructions", Text, nullable=False),  # JSON
)
items = Table(
    "label_items",
    tables,
    Column("batch", ForeignKey(batches.c.id), primary_key=True),
    Column("id", String(16), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("gold", Boolean, nullable=False),
    Column("content", Text, nullable=False),  # JSON: prompt, responses and a gold item's ranking
)
people = Table("label_people", tables, Column("name", String(40), primary_key=True))
# one row an item and person: the key keeps an item from being given to one person twice
places = Table(
    "label_places",
    tables,
    Column("batch", String(16), primary_key=True),
    Column("item", String(16), primary_key=True),
    Column("person", ForeignKey(people.c.name), primary_key=True),
    Column("turn", Integer, nullable=False),  # the person's first item has 0
    Column("shown", String(40), nullable=False),  # JSON: the order of the responses on the page
    Column("since", Float, nullable=False),  # seconds since 1970
    Column("until", Float),  # when the reservation ends; null: the person has answered
)
votes = Table(
    "label_votes",
    tables,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("batch", String(16), nullable=False),
    Column("item", String(16), nullable=False),
    Column("person", ForeignKey(people.c.name), nullable=False),
    Column("action", String(10), nullable=False),
    Column("content", Text, nullable=False),  # JSON: the fields of a Vote that are not said by the rows above
    sql.Index("label_votes_of", "batch", "person", "item"),
)
ELSEWHERE = {"number", "batch", "item", "gold", "prompt", "responses", "labeller", "action"}


def open_store(url: str) -> Engine:
    """Return the database behind a URL, its tables made if they are not there. InputError if it cannot be opened."""
    try:
        address = sql.make_url(url)
        if address.drivername == "postgresql":
            address = address.set(drivername="postgresql+psycopg")
        if address.get_backend_name() == "sqlite":
            engine = _sqlite(address)
        else:
            engine = sql.create_engine(address, pool_pre_ping=True)
        with writing(Path(address.database or "")):
            tables.create_all(engine)
    except (SQLAlchemyError, ImportError) as error:
        why = hidden_of(url, str(getattr(error, "orig", None) or error)).strip().partition("\n")[0]
        remedy = "install what it needs, for PostgreSQL the extra jokbo[postgresql]"
        if not isinstance(error, ImportError):
            remedy = "correct --database"
        raise InputError(f"the database {hidden(url)} cannot be opened ({why}): {remedy}") from error
    return engine


def _sqlite(address: sql.URL) -> Engine:
    """Return an engine whose transactions take the lock when they begin and are on disk when they end."""
    if address.database:
        Path(address.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sql.create_engine(address, connect_args={"timeout": WAIT_SECONDS})

    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # sqlite3 would begin transactions of its own
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


@contextmanager
def alone(engine: Engine, batch: str) -> Iterator[Connection]:
    """Yield a transaction beside which no other changes the batch; it is on disk when the block ends."""
    with engine.begin() as connection:
        connection.execute(sql.select(batches.c.id).where(batches.c.id == batch).with_for_update())
        yield connection


def publish(engine: Engine, batch: Batch) -> None:
    """Add a batch, or what is new in it. An item that is there stays as it is."""
    settings = {"labels_per_item": batch.labels_per_item, "instructions": json.dumps(batch.instructions)}
    with engine.begin() as connection:
        here = sql.select(batches.c.id).where(batches.c.id == batch.id).with_for_update()
        if connection.execute(here).first():
            connection.execute(batches.update().where(batches.c.id == batch.id).values(settings))
        else:
            connection.execute(batches.insert().values(id=batch.id, name=batch.name, **settings))
        known = set(connection.scalars(sql.select(items.c.id).where(items.c.batch == batch.id)))
        rows = [
            {
                "batch": batch.id,
                "id": item.id,
                "position": position,
                "gold": item.ranking is not None,
                "content": json.dumps(
                    {"prompt": item.prompt, "responses": item.responses, "ranking": item.ranking}
                ),
            }
            for position, item in enumerate(batch.items)
            if item.id not in known
        ]
        if rows:
            connection.execute(items.insert(), rows)


def join(engine: Engine, name: str) -> bool:
    """Add a person. Return whether the name was free."""
    with engine.begin() as connection:
        if connection.execute(sql.select(people).where(people.c.name == name)).first():
            return False
        try:
            with connection.begin_nested():
                connection.execute(people.insert().values(name=name))
        except IntegrityError:  # in the same moment somebody else took it
            return False
    return True


def all_votes(engine: Engine, *, batch: str | None = None, name: str | None = None) -> list[Vote]:
    """Return every vote of a batch, or of all batches of a name, in the order in which they came."""
    wanted = votes.c.batch == batch if batch else batches.c.name == name
    query = (
        rows_of_votes().join(batches, batches.c.id == votes.c.batch).where(wanted).order_by(votes.c.number)
    )
    with engine.connect() as connection:
        return [vote_of(row) for row in connection.execute(query)]


def rows_of_votes() -> sql.Select[Any]:
    """Return the query for votes, each with the item's `gold` and `texts`, as `vote_of` reads them."""
    return sql.select(votes, items.c.gold, items.c.content.label("texts")).join(
        items, sql.and_(items.c.batch == votes.c.batch, items.c.id == votes.c.item)
    )


def vote_of(row: sql.Row[Any]) -> Vote:
    """Return the vote that a row of `votes`, with the item's `gold` and `texts`, says."""
    texts, content = json.loads(row.texts), json.loads(row.content)
    content["harmful"] = tuple(content["harmful"])
    return Vote(
        number=row.number,
        batch=row.batch,
        item=row.item,
        gold=row.gold,
        prompt=texts["prompt"],
        responses=texts["responses"],
        labeller=row.person,
        action=row.action,
        **content,
    )
