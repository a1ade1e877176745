from __future__ import annotations

import pytest

from jokbo.runtime import progress
from jokbo.runtime.progress import Progress, duration


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds, which stands still until a test moves it."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_the_time_left_leaves_compilation_out(clock: list[float]) -> None:
    with Progress("pretrain", 850, done=0, compiles=True) as shown:
        assert shown.seconds_left() is None
        clock[0] += 50  # the first step
        shown.advance(loss=8.3)
        assert shown.seconds_left() is None
        for _ in range(3):
            clock[0] += 0.5
            shown.advance(loss=8.0)
        assert shown.seconds_left() == pytest.approx(846 * 0.5)


def test_the_time_left_follows_the_last_steps(clock: list[float]) -> None:
    with Progress("ppo", 1000, done=100, compiles=False) as shown:
        for seconds in [3.0] * 40 + [1.0] * (progress.WINDOW + 1):
            clock[0] += seconds
            shown.advance(kl=1.0)
        assert shown.seconds_left() == pytest.approx(1000 - shown.done)


def test_lines_name_their_training_once_and_fit_80_columns(
    clock: list[float], capsys: pytest.CaptureFixture
) -> None:
    with Progress("classifier-scratch", 1000, done=0, compiles=True) as shown:
        for _ in range(1000):
            clock[0] += 11.0
            shown.advance(loss=1.5)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "classifier-scratch: 1,000 steps"
    assert "compiling" in lines[1]
    assert lines[5] == "classifier-scratch 4/1000  loss 1.500  3 h 02 min left"
    assert "trained in 3 h 03 min" in lines[-1]
    assert all(line.count("classifier-scratch") == 1 for line in lines)
    assert max(len("12:00:00  " + line) for line in lines) <= 80


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (450, "7 min 30 s"), (7500, "2 h 05 min")]
)
def test_durations_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_items_show_themselves_in_a_log_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    assert list(progress.progress(range(2), "reading")) == [0, 1]
    assert list(progress.progress(iter("ab"), "sending")) == ["a", "b"]
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == ["reading: 1 of 2", "reading: 2 of 2", "sending: 1", "sending: 2"]
