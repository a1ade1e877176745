"""The page in a real Chromium, on a small and a large screen, by keyboard alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jokbo.labelling import store
from jokbo.preferences.batch import Batch, Item, batch_file
from tests.labelling.conftest import batch, pair
from tests.support.browser import PROGRAM, Browser, browsing
from tests.support.labels import served

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium: apt-get install chromium")
SCREENS = [(390, 844, False), (1400, 900, True)]
LONG = Item.of("?" * 500, ["가" * 3000, "x" * 3000 + " <b>\u202e"])


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JOKBO_LABELS", raising=False)
    return tmp_path


def published(given: Batch) -> None:
    given.save(batch_file(given.name))


def votes(project: Path) -> list[dict]:
    engine = store.open_store(f"sqlite:///{project / '.jokbo/labels/labels.db'}")
    found = store.all_votes(engine, name="film")
    engine.dispose()
    return [vars(vote) for vote in found]


def enter(browser: Browser, link: str, name: str = "ann") -> None:
    """Open the link, and choose a name, without a mouse."""
    browser.open(link)
    browser.until("document.activeElement.name === 'name'")
    browser.write(name)
    browser.press("Enter")
    browser.until("!!document.querySelector('#vote') && document.readyState === 'complete'")


def item(browser: Browser) -> str:
    return browser.run("document.querySelector('#vote')?.dataset.item || ''")


def press(browser: Browser, key: str) -> None:
    """Press a key, and wait for another item."""
    before = item(browser)
    browser.press(key)
    browser.until(f"(document.querySelector('#vote')?.dataset.item || '') !== '{before}' && !busy")


@pytest.mark.parametrize(("width", "height", "dark"), SCREENS)
def test_by_keyboard_alone(browser: Browser, project: Path, width: int, height: int, dark: bool) -> None:
    published(batch([pair(i) for i in range(8)], labels=1))
    browser.screen(width, height, dark=dark)
    with served() as (_, link):
        enter(browser, link)
        assert "token" not in browser.run("location.href")
        for key in "1209":
            press(browser, key)
        answered = item(browser)
        press(browser, "1")
        press(browser, "Backspace")
        assert item(browser) == answered
        browser.press("f")
        browser.press(" ")
        browser.press("n")
        browser.write("1 note")  # digits that are typed are no votes
        browser.press("Escape")
        browser.press("b")
        browser.write("better")
        browser.press("Escape")
        press(browser, "2")
        browser.press("s")
        browser.press("ArrowDown")
        for _ in range(50):
            if browser.run("document.activeElement.value") == "skip":
                break
            browser.press("Tab")
        press(browser, "Enter")
        browser.press("i")
        assert browser.run("document.querySelector('#instructions').open")
        browser.press("m")
        browser.until("!!document.querySelector('.mine')")
        assert browser.run("document.querySelectorAll('.mine li').length") == 6
    found = votes(project)
    assert [vote["action"] for vote in found] == ["judged"] * 5 + ["withdrawn", "judged", "skipped"]
    chosen = [[vote["shown"].index(group[0]) for group in vote["ranking"]] for vote in found[:2]]
    assert chosen == [[0, 1], [1, 0]]
    assert [vote["both_bad"] for vote in found[2:4]] == [False, True]
    assert (found[6]["note"], found[6]["better"], found[6]["harmful"]) == (
        "1 note",
        "better",
        (found[6]["shown"][0],),
    )
    assert found[7]["reason"] == "unclear"


@pytest.mark.parametrize(("width", "height", "dark"), SCREENS)
def test_everything_fits_the_screen(
    browser: Browser, project: Path, width: int, height: int, dark: bool
) -> None:
    ranked = Item.of("Rank?", [f"answer {i} " + "long " * 100 for i in range(9)])
    published(batch([LONG, ranked, pair(1)], labels=1, instructions="x" * 400))
    browser.screen(width, height, dark=dark)
    with served() as (_, link):
        browser.open(link)
        assert browser.run("document.documentElement.scrollWidth <= innerWidth")
        enter(browser, link)
        for key in ("1", "RANK", "9"):
            assert browser.run("document.documentElement.scrollWidth <= innerWidth"), key
            buttons = "[...document.querySelectorAll('.choices button')].map((each) => each.getBoundingClientRect())"
            assert browser.run(f"{buttons}.every((box) => box.bottom <= innerHeight && box.height >= 44)"), (
                key
            )
            if key != "RANK":
                press(browser, key)
                continue
            browser.run("document.querySelector('.answer .text').focus()")
            for rank in "123456789":
                browser.press(rank)
            assert browser.run("document.querySelectorAll('input:checked').length") == 9
            press(browser, "Enter")
        assert "nothing left" in browser.run("document.querySelector('h1').textContent")
    assert votes(project)[1]["ranking"] == [[index] for index in votes(project)[1]["shown"]]


def test_the_server_is_killed_and_nothing_that_was_written_is_lost(browser: Browser, project: Path) -> None:
    published(batch([pair(i) for i in range(3)], labels=1))
    browser.screen(1400, 900)
    with served() as (process, link):
        enter(browser, link)
        port = int(browser.run("location.port"))
        press(browser, "1")
        browser.press("n")
        browser.write("my note")
        browser.press("Escape")
        process.kill()
        process.wait()
        browser.press("2")
        browser.until("!document.querySelector('#problem').hidden")
        assert "Nothing that you wrote is lost" in browser.run(
            "document.querySelector('#problem').textContent"
        )
        with served(port):
            press(browser, "2")
    found = votes(project)
    assert [vote["note"] for vote in found] == ["", "my note"]


def test_a_model_s_script_does_not_run(browser: Browser, project: Path) -> None:
    evil = "<script>window.evil = 1</script><img src=x onerror='window.evil = 1'>"
    published(batch([Item.of(evil, [evil + "1", evil + "2"]), pair(1)], labels=1, instructions=evil))
    with served() as (_, link):
        enter(browser, link)
        assert "<script>window.evil" in browser.run("document.querySelector('.prompt .text').textContent")
        press(browser, "1")
        press(browser, "Backspace")  # by the page that the script swaps in
        assert browser.run("window.evil === undefined")
