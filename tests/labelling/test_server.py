"""The page as a browser without JavaScript meets it: over the real application and a real database file."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from jokbo.labelling.words import WORDS
from jokbo.preferences.batch import Batch, Item, standing
from tests.labelling.conftest import Page, Visitor, batch, pair, votes

Making = Callable[[Batch], Page]
ITEMS = [pair(i) for i in range(4)]


def side_of(ann: Visitor, beginning: str) -> str:
    """The choice of the answer that begins so, on the page on screen."""
    first, second = re.findall(r'aria-labelledby="answer-.">\s*(.*?)</div>', ann.text, re.DOTALL)
    assert first.startswith(beginning) != second.startswith(beginning)
    return "first" if first.startswith(beginning) else "second"


def test_each_choice_is_kept_by_response_whatever_its_side(page: Making) -> None:
    made = page(batch([pair(i) for i in range(20)], labels=1))
    ann = made.visitor()
    for _ in range(17):
        ann.vote(side_of(ann, "yes"))
    for choice in ("tie", "bad", "second"):
        ann.vote(choice)
    found = votes(made)
    assert [vote.ranking for vote in found[:17]] == [[[0], [1]]] * 17
    assert len({tuple(vote.shown) for vote in found[:17]}) == 2
    assert [(vote.ranking, vote.both_bad) for vote in found[17:19]] == [([[0, 1]], False), ([[0, 1]], True)]
    assert found[19].ranking == [[found[19].shown[1]], [found[19].shown[0]]]
    assert "there is nothing left for you" in ann.text
    assert "All labels are in." in ann.text


def test_a_flag_a_note_and_a_better_answer_are_kept(page: Making) -> None:
    made = page(batch(ITEMS))
    ann = made.visitor()
    at = 0 if side_of(ann, "no") == "first" else 1
    ann.vote("tie", note=" so so\r\nand so ", better="<b>mine</b>", **{f"harmful_{at}": "1"})
    (vote,) = votes(made)
    assert (vote.harmful, vote.note, vote.better) == ((1,), "so so\nand so", "<b>mine</b>")


def test_a_skip_needs_a_reason_and_is_an_answer(page: Making) -> None:
    made = page(batch(ITEMS))
    ann = made.visitor()
    item = ann.field("item")
    assert "Choose an answer, or a reason to skip" in ann.vote("skip", note="wait")
    assert ann.status == 422
    assert ">\nwait</textarea>" in ann.text  # what was typed is not lost
    assert ann.field("item") == item
    ann.vote("skip", reason="knowledge")
    assert ann.field("item") != item
    assert [(vote.action, vote.reason, vote.ranking) for vote in votes(made)] == [
        ("skipped", "knowledge", None)
    ]


def test_an_answer_is_taken_back_and_given_again(page: Making) -> None:
    made = page(batch(ITEMS))
    ann = made.visitor()
    item = ann.field("item")
    ann.vote("first")
    following = ann.field("item")
    ann.send("/undo", item=item)
    assert ann.field("item") == item
    ann.vote("tie")
    assert ann.field("item") == following
    assert [vote.action for vote in votes(made)] == ["judged", "withdrawn", "judged"]
    (last,) = standing(votes(made))
    assert last.ranking == [[0, 1]]


def test_one_of_the_last_ten_is_changed_and_the_first_vote_stays(page: Making) -> None:
    made = page(batch([pair(i) for i in range(15)]))
    ann = made.visitor()
    items = []
    for _ in range(12):
        items.append(ann.field("item"))
        ann.vote("first", note="a note")
    ann.get("/mine")
    assert re.findall(r"/edit/(\w+)", ann.text) == items[:1:-1]
    ann.get(f"/edit/{items[5]}")
    assert ">\na note</textarea>" in ann.text
    ann.vote("bad", replaces=ann.field("replaces"), note="another")
    changed = [vote for vote in votes(made) if vote.item == items[5]]
    assert [vote.both_bad for vote in changed] == [False, True]
    assert changed[1].replaces == changed[0].number
    assert [vote.note for vote in standing(votes(made)) if vote.item == items[5]] == ["another"]
    assert len(standing(votes(made))) == 12


def test_an_answer_outside_the_last_ten_is_not_shown_to_be_changed(page: Making) -> None:
    made = page(batch([pair(i) for i in range(12)]))
    ann = made.visitor()
    first = ann.field("item")
    for _ in range(11):
        ann.vote("first")
    ann.get(f"/edit/{first}")
    assert ann.status == 409


def test_the_next_item_is_there_before_it_is_asked_for(page: Making) -> None:
    made = page(batch(ITEMS))
    ann = made.visitor()
    first = ann.field("item")
    tab = replace(ann)
    tab.get(f"/ahead/{first}")
    following = tab.field("item")
    assert following != first
    assert "You have answered 1 " in tab.text
    assert ann.vote("first", headers={"X-Ahead": tab.field("item")})
    assert ann.status == 204
    assert tab.field("item") in ann.get("/")
    share = re.compile(r"[1-9]\d*% of all labels are in")
    assert share.findall(tab.text) == share.findall(ann.text) != []
    tab.vote("second")
    assert [vote.item for vote in votes(made)] == [first, following]


def test_a_page_ahead_that_is_not_what_comes_next_is_not_shown(page: Making) -> None:
    made = page(batch(ITEMS))
    ann = made.visitor()
    ann.vote("first", headers={"X-Ahead": "something else"})
    assert ann.status == 200


def test_a_name_in_use_is_taken_up_by_who_says_so(page: Making) -> None:
    made = page(batch(ITEMS))
    made.visitor("ann <b>").vote("first")
    other = made.visitor(None)
    other.send("/join", name="ann <b>")
    assert other.status == 409
    assert "The name ann &lt;b&gt; is in use" in other.text
    other.send("/join", name="ann <b>", again="1")
    assert "You have answered 1 " in other.text
    other.send("/leave")
    assert 'name="name"' in other.text


def test_rankings(page: Making) -> None:
    item = Item.of("Rank?", [f"answer {i}" for i in range(9)])
    made = page(batch([item], labels=1))
    ann = made.visitor()
    shown = [int(found) for found in re.findall(r">answer (\d)</div>", ann.text)]
    assert sorted(shown) == list(range(9))
    ann.vote("ranking", **{f"rank_{at}": "1" for at in range(8)})
    assert ann.status == 422
    assert ann.text.count(" checked") == 8
    ann.vote("first")
    assert ann.status == 422
    ranks = {f"rank_{at}": str(1 + index // 2) for at, index in enumerate(shown)}
    ann.vote("ranking", **ranks)
    (vote,) = votes(made)
    assert vote.ranking == [[0, 1], [2, 3], [4, 5], [6, 7], [8]]
    ann.get(f"/edit/{item.id}")
    assert ann.text.count(" checked") == 9


def test_how_one_agrees_with_the_others(page: Making) -> None:
    made = page(batch(ITEMS))
    ann, bo = made.visitor("ann"), made.visitor("bo")
    for number in range(4):
        ann.vote(side_of(ann, "yes"))
        bo.vote(side_of(bo, "yes" if number else "no"))
    assert "You said the same as others in 3 of 4 comparisons (75%)." in ann.get("/mine")


def test_both_languages_say_the_same_things(page: Making) -> None:
    assert WORDS["en"].keys() == WORDS["ko"].keys()
    for name, text in WORDS["en"].items():
        assert sorted(re.findall(r"{\w+}", text)) == sorted(re.findall(r"{\w+}", WORDS["ko"][name])), name
    ann = page(batch(ITEMS)).visitor()
    ann.get("/", **{"Accept-Language": "ko-KR,ko;q=0.9"})
    assert '<html lang="ko">' in ann.text
    assert "어느 답이 더 낫습니까?" in ann.text
    ann.get("/")
    assert '<html lang="en">' in ann.text
    ann.send("/language", language="ko")
    assert '<html lang="ko">' in ann.text
    assert ann.vote("nothing")
    assert "이유를 고르십시오" in ann.text


def test_the_page_asks_nobody_else_for_anything(page: Making) -> None:
    ann = page(batch(ITEMS)).visitor()
    for address in ("/", "/mine", "/file/label.css", "/file/label.js"):
        assert "//" not in re.sub(r"(?m)^//.*| // .*", "", ann.get(address)).replace("<!doctype", "")
        assert ann.status == 200
    for address in ("/file/server.py", "/file/..%2fserver.py", "/nothing"):
        ann.get(address)
        assert ann.status == 404


def test_the_end_is_told_once_all_labels_are_in(page: Making) -> None:
    made = page(batch(ITEMS[:2], labels=1))
    told: list[int] = []
    made.desk = replace(made.desk, finished=lambda: told.append(len(votes(made))))
    ann = made.visitor()
    ann.vote("first")
    assert told == []
    ann.vote("first")
    assert told == [2]
