"""Who gets which item, and what becomes of answers, as laws that hold for any order of events."""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from threading import Thread

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from jokbo.labelling import queue, store
from jokbo.labelling.queue import Answer, Queue
from jokbo.preferences.batch import Item, standing
from tests.labelling.conftest import Clock, batch, pair

PEOPLE = ["ann", "bo", "cy"]
ITEMS, LABELS, TIMEOUT = 4, 2, 60.0
YES, NO, SKIP = Answer("judged", [[0], [1]]), Answer("judged", [[1], [0]]), Answer("skipped", reason="alike")


class People(RuleBasedStateMachine):
    """People who take, answer, change, take back, forget and come late, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = Clock()
        engine = store.open_store(f"sqlite:///{Path(self.folder.name) / 'labels.db'}")
        store.publish(engine, batch([pair(i) for i in range(ITEMS)], LABELS))
        self.queue = Queue(engine, "b" * 16, TIMEOUT, self.clock)
        for name in PEOPLE:
            store.join(engine, name)
        self.shown: dict[str, list[str]] = defaultdict(list)  # what each was given, ever
        self.answered: dict[tuple[str, str], Answer] = {}  # what stands
        self.events = 0

    def teardown(self) -> None:
        self.queue.engine.dispose()
        self.folder.cleanup()

    @rule(person=st.sampled_from(PEOPLE), ahead=st.booleans())
    def take(self, person: str, ahead: bool) -> None:
        current = queue.take(self.queue, person)
        found = queue.take(self.queue, person, beside=current.item.id) if ahead and current else current
        if found:
            assert not found.answered
            assert (person, found.item.id) not in self.answered
            assert sorted(found.shown) == [0, 1]
            self.shown[person].append(found.item.id)
        if current:
            self.shown[person].append(current.item.id)

    @precondition(lambda self: self.shown)
    @rule(data=st.data(), given=st.sampled_from([YES, NO, SKIP]))
    def answer(self, data: st.DataObject, given: Answer) -> None:
        person = data.draw(st.sampled_from(sorted(self.shown)))
        item = data.draw(st.sampled_from(sorted(set(self.shown[person]))))
        before = self.answered.get((person, item))
        found = queue.answer(self.queue, person, item, given)
        if before:
            assert found == ("repeated" if before == given else "answered")
        else:
            assert found in ("stored", "late")
            if found == "stored":
                self.answered[person, item] = given
                assert queue.answer(self.queue, person, item, given) == "repeated"

    @precondition(lambda self: self.answered)
    @rule(data=st.data(), given=st.sampled_from([YES, NO, SKIP]))
    def change(self, data: st.DataObject, given: Answer) -> None:
        person, item = data.draw(st.sampled_from(sorted(self.answered)))
        last = next(vote for vote in queue.recent(self.queue, person) if vote.item == item)
        found = queue.answer(self.queue, person, item, given, replaces=last.number)
        assert found == ("repeated" if self.answered[person, item] == given else "stored")
        if found == "stored":
            assert queue.answer(self.queue, person, item, last_of(given), replaces=last.number) == "unknown"
        self.answered[person, item] = given

    @precondition(lambda self: self.answered)
    @rule(data=st.data())
    def take_back(self, data: st.DataObject) -> None:
        person, item = data.draw(st.sampled_from(sorted(self.answered)))
        assert queue.withdraw(self.queue, person, item) == "stored"
        assert queue.withdraw(self.queue, person, item) == "repeated"
        del self.answered[person, item]
        again = queue.place(self.queue, person, item)
        assert again is not None
        assert not again.answered

    @rule(seconds=st.sampled_from([1.0, 30.0, TIMEOUT + 1]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def no_item_has_more_than_its_labels(self) -> None:
        with self.queue.engine.connect() as connection:
            rows = connection.execute(store.places.select()).all()
        held = Counter(row.item for row in rows if row.until is None or row.until > self.clock.now)
        assert max(held.values(), default=0) <= LABELS

    @invariant()
    def what_stands_is_what_was_said_last(self) -> None:
        votes = store.all_votes(self.queue.engine, batch=self.queue.batch)
        found = {(vote.labeller, vote.item): vote.ranking for vote in standing(votes)}
        assert found == {key: given.ranking for key, given in self.answered.items()}
        assert len(votes) >= self.events, "a vote is gone"
        self.events = len(votes)
        wanted = sum(min(LABELS, count) for count in Counter(item for _, item in found).values())
        assert queue.progress(self.queue).given == wanted


def last_of(given: Answer) -> Answer:
    return YES if given != YES else NO


TestPeople = People.TestCase
TestPeople.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)


def fresh(tmp_path: Path, items: list[Item], labels: int = 1, people: list[str] = PEOPLE) -> Queue:
    engine = store.open_store(f"sqlite:///{tmp_path / 'labels.db'}")
    store.publish(engine, batch(items, labels))
    for name in people:
        store.join(engine, name)
    return Queue(engine, "b" * 16, TIMEOUT, Clock())


def test_people_at_once_never_get_more_labels_than_asked_for(tmp_path: Path) -> None:
    """Threads that all take and answer at once, over one file."""
    given = fresh(tmp_path, [pair(i) for i in range(12)], labels=2)

    def work(name: str) -> None:
        while found := queue.take(given, name):
            assert queue.answer(given, name, found.item.id, YES) == "stored"

    threads = [Thread(target=work, args=(name,)) for name in PEOPLE]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    votes = store.all_votes(given.engine, batch=given.batch)
    labels = Counter(vote.item for vote in votes)
    assert len(labels) == 12
    assert set(labels.values()) <= {1, 2}
    assert len({(vote.item, vote.labeller) for vote in votes}) == len(votes)
    for name in PEOPLE:  # what somebody held while another ended
        work(name)
    assert queue.progress(given).missing == 0


def test_a_reservation_that_ended_goes_to_another_and_its_vote_is_kept_apart(tmp_path: Path) -> None:
    given = fresh(tmp_path, [pair(1)])
    (place, none) = (queue.take(given, "ann"), queue.take(given, "bo"))
    assert place is not None
    assert none is None
    given.clock.now += TIMEOUT + 1
    assert queue.take(given, "bo") is not None
    assert queue.answer(given, "bo", place.item.id, YES) == "stored"
    assert queue.answer(given, "ann", place.item.id, NO) == "late"
    assert queue.answer(given, "ann", place.item.id, NO) == "late"
    votes = store.all_votes(given.engine, batch=given.batch)
    assert [(vote.labeller, vote.action) for vote in votes] == [("bo", "judged"), ("ann", "late")]
    assert [vote.labeller for vote in standing(votes)] == ["bo"]


def test_an_answer_renews_the_reservation_of_the_item_that_was_loaded_ahead(tmp_path: Path) -> None:
    given = fresh(tmp_path, [pair(1), pair(2)])
    first = queue.take(given, "ann")
    assert first is not None
    second = queue.take(given, "ann", beside=first.item.id)
    assert second is not None
    given.clock.now += TIMEOUT - 10
    queue.answer(given, "ann", first.item.id, YES)
    given.clock.now += TIMEOUT - 10
    assert queue.take(given, "bo") is None
    assert queue.take(given, "ann") == second


def test_gold_items_are_mixed_in_for_everybody_and_are_no_labels(tmp_path: Path) -> None:
    gold = [Item.of(f"Gold {i}?", ["right", "wrong"], [[0], [1]]) for i in range(3)]
    given = fresh(tmp_path, [*(pair(i) for i in range(60)), *gold], labels=3)
    for name in PEOPLE:
        order = []
        while found := queue.take(given, name):
            order.append(found.item.ranking is not None)
            queue.answer(given, name, found.item.id, YES)
        assert sum(order) == 3
        assert not all(order[-3:])
    found = queue.progress(given, "ann")
    assert (found.needed, found.given, found.own) == (180, 180, 63)


def test_sides_are_swapped_by_chance_and_recorded(tmp_path: Path) -> None:
    given = fresh(tmp_path, [pair(i) for i in range(40)])
    while found := queue.take(given, "ann"):
        queue.answer(given, "ann", found.item.id, YES)
    first = Counter(vote.shown[0] for vote in store.all_votes(given.engine, batch=given.batch))
    assert min(first[0], first[1]) >= 5  # by chance less often than once in a million times


def test_seconds_are_counted_from_the_answer_before(tmp_path: Path) -> None:
    given = fresh(tmp_path, [pair(i) for i in range(2)])
    first = queue.take(given, "ann")
    assert first is not None
    second = queue.take(given, "ann", beside=first.item.id)
    assert second is not None
    for place, seconds in ((first, 10.0), (second, 4.0)):
        given.clock.now += seconds
        queue.answer(given, "ann", place.item.id, YES)
    assert [vote.seconds for vote in store.all_votes(given.engine, batch=given.batch)] == [10.0, 4.0]
    assert queue.progress(given, "ann").seconds == 10.0
