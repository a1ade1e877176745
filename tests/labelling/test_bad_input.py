"""What the page makes of wrong or hostile input: texts, tokens, forms, tabs, expired items, a database that fails."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from jokbo.labelling.forms import CHARACTERS
from jokbo.labelling.showing import visible
from jokbo.preferences.batch import Batch, Item
from tests.labelling.conftest import Page, batch, pair, votes

Making = Callable[[Batch], Page]
ITEMS = [pair(i) for i in range(4)]


def test_two_tabs_of_one_person(page: Making) -> None:
    """The second tab's other answer is refused in words, its note is shown, and nothing is doubled."""
    made = page(batch(ITEMS))
    ann = made.visitor()
    tab = replace(ann)
    tab.get("/")
    assert tab.field("item") == ann.field("item")
    ann.vote("first")
    tab.vote("second", note="seen late")
    assert tab.status == 409
    assert "in another tab: that answer stands" in tab.text
    assert "seen late" in tab.text
    assert len(votes(made)) == 1
    tab.get("/")
    assert tab.field("item") == ann.field("item")


def test_what_is_sent_twice_is_kept_once(page: Making) -> None:
    made = page(batch(ITEMS))
    ann = made.visitor()
    tab = replace(ann)
    ann.vote("first", note="x")
    tab.vote("first", note="x")
    assert tab.status == 200
    assert tab.field("item") == ann.field("item") != votes(made)[0].item
    assert len(votes(made)) == 1


def test_a_vote_for_an_item_that_expired(page: Making) -> None:
    made = page(batch(ITEMS[:1], labels=1))
    ann = made.visitor()
    bo = made.visitor("bo")
    assert "1 labels are left for other people" in bo.text
    made.clock.now += 61
    bo.get("/")
    bo.vote("second")
    ann.vote("first", better="my own words")
    assert ann.status == 409
    assert "Your time for this one was over" in ann.text
    assert "my own words" in ann.text
    assert [(vote.labeller, vote.action) for vote in votes(made)] == [("bo", "judged"), ("ann", "late")]


def test_an_expired_item_that_nobody_took_is_answered_as_usual(page: Making) -> None:
    made = page(batch(ITEMS[:1], labels=1))
    ann = made.visitor()
    made.clock.now += 10_000
    ann.vote("first")
    assert ann.status == 200
    assert [vote.action for vote in votes(made)] == ["judged"]


def test_a_vote_for_an_item_that_was_never_shown_to_them(page: Making) -> None:
    made = page(batch(ITEMS))
    ann = made.visitor()
    ann.vote("first", item=ITEMS[3].id)
    assert ann.status == 409
    ann.get("/")
    ann.vote("first", item="nonsense")
    assert ann.status == 409
    assert votes(made) == []


@pytest.mark.parametrize("token", ["", "wrong", "the token of the lin", "ümlaut"])
def test_a_forged_token_opens_nothing(page: Making, token: str) -> None:
    made = page(batch(ITEMS))
    stranger = made.visitor(None, token)
    for address in ("/", "/mine", f"/ahead/{ITEMS[0].id}", f"/edit/{ITEMS[0].id}"):
        stranger.get(address)
        assert stranger.status == 403
        assert "needs its whole link" in stranger.text
        assert "Question" not in stranger.text
    for address in ("/join", "/vote", "/undo"):
        stranger.send(address, name="eve", item=ITEMS[0].id, choice="first")
        assert stranger.status == 403
    assert votes(made) == []


def test_a_link_that_was_replaced_opens_nothing(page: Making) -> None:
    made = page(batch(ITEMS))
    ann = made.visitor()
    made.desk = replace(made.desk, token="another")
    later = made.visitor(None)
    later.client.cookies = ann.client.cookies
    later.get("/")
    assert later.status == 403


def test_the_token_leaves_the_address(page: Making) -> None:
    made = page(batch(ITEMS))
    client = made.visitor(None).client
    answer = client.get("/?token=the token of the link", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("csrf", ["", "wrong"])
def test_a_form_of_another_site_does_nothing(page: Making, csrf: str) -> None:
    made = page(batch(ITEMS))
    ann = made.visitor()
    item = ann.field("item")
    for address in ("/vote", "/undo", "/join", "/leave", "/language"):
        ann.send(address, csrf=csrf, item=item, choice="first", name="eve", language="ko", note="mine")
        assert ann.status == 403
        assert "This form is not of your session" in ann.text
    assert votes(made) == []
    ann.get("/")
    assert ann.field("item") == item
    bo = made.visitor("bo")
    ann.vote("first", csrf=bo.field("csrf"))
    assert ann.status == 403


HARD = "<script>alert('x')</script><img src=x onerror=alert(1)> & \"quoted\" {{ 7 * 7 }} </div></form>"


def test_text_of_a_model_is_never_markup(page: Making) -> None:
    item = Item.of(HARD, [HARD + " one", HARD + " two"])
    made = page(batch([item], instructions=HARD))
    ann = made.visitor()
    for text in (
        ann.text,
        ann.vote("tie", note=HARD, better=HARD),
        ann.get("/mine"),
        ann.get(f"/edit/{item.id}"),
    ):
        assert "<script>alert" not in text
        assert "<img" not in text
        assert "49" not in re.sub(r"\w{16,}", "", text)
    assert f">\n{visible(HARD)}</textarea>" in ann.text
    policy = ann.client.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_characters_that_nobody_would_see_are_shown() -> None:
    assert str(visible("a\u202eb<\x00\x1b[0m\u200b")) == (
        'a<span class="unseen">U+202E</span>b&lt;<span class="unseen">U+0000</span>'
        '<span class="unseen">U+001B</span>[0m<span class="unseen">U+200B</span>'
    )
    kept = "두 줄\n\t\u0645\u0631\u062d\u0628\u0627 \U0001f469\u200d\U0001f467 e\u0301"
    assert str(visible(kept.replace("\n", "\r\n"))) == kept
    assert "U+D800" in visible("\ud800")


def test_control_characters_and_half_characters_go_through_the_database(page: Making) -> None:
    texts = ["\x00\x01 one \u202e", "\ud800 two \x85"]
    made = page(batch([Item.of("\x00?", texts)]))
    ann = made.visitor()
    assert ann.status == 200
    ann.vote("first", note="\x00 \u202e note")
    (vote,) = votes(made)
    assert (vote.responses, vote.note) == (texts, "\x00 \u202e note")


def test_a_hundred_thousand_characters(page: Making) -> None:
    long = "가" * 100_000
    made = page(batch([Item.of(long, [long + "1", long + "2"]), *ITEMS]))
    ann = made.visitor()
    assert long + "1" in ann.text
    ann.vote("first", better=long)
    assert votes(made)[0].better == long
    ann.vote("first", better=long + "!")
    assert ann.status == 422
    assert f"longer than {CHARACTERS:,} characters" in ann.text
    assert long + "!" in ann.text  # not lost
    ann.vote("first", better="x" * 5_000_000)
    assert ann.status == 413
    ann.get("/")
    ann.send("/vote", **{"item": ann.field("item"), "choice": "tie"} | {f"field{i}": "" for i in range(200)})
    assert ann.status == 413
    assert len(votes(made)) == 1


@pytest.mark.parametrize("name", ["", "   ", "x" * 41, "a\u202eb", "a\x00"])
def test_a_name_that_is_none(page: Making, name: str) -> None:
    ann = page(batch(ITEMS)).visitor(None)
    ann.send("/join", name=name)
    assert ann.status == 422
    assert 'name="name"' in ann.text


def test_a_database_that_refuses_is_said_and_nothing_is_lost(page: Making) -> None:
    made = page(batch(ITEMS))
    ann = made.visitor()
    with made.queue.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE label_votes RENAME TO gone")
    ann.vote("first", note="my note")
    assert ann.status == 503
    assert "It could not be stored" in ann.text
    assert "my note" in ann.text
