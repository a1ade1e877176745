"""Few-shot accuracy is what plain forward passes give, one option at a time; what is left out is counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jokbo.exporting.opening import Opened
from jokbo.prompting import examples, scores, shots
from jokbo.prompting import task as tasks
from jokbo.prompting.likelihoods import Asked
from jokbo.prompting.shots import Asker, Settings
from tests.prompting.conftest import ROWS
from tests.prompting.test_likelihoods import plainly

Given = Callable[..., Path]


def asker_of(model: Opened, file: Path) -> Asker:
    return Asker(model.network, model.tokenizer, tasks.load(file))


def by_hand(model: Opened, asker: Asker, k: int, seed: int) -> dict[str, list[int]]:
    """Return which rows are right by each score, one option at a time."""
    task, encode = asker.task, model.tokenizer.encode
    order = examples.drawn(task.pool, seed, balanced=False)
    right: dict[str, list[int]] = {}
    for row in task.rows:
        shown = examples.before(row, order, k)

        def nats(prompt: str, option: str) -> float:
            return plainly(model, Asked(encode(prompt), encode(f" {option}")))

        own = np.array([nats(task.prompt(row, shown), option) for option in row.options])
        alone = np.array([nats("Answer:", option) for option in row.options])
        free = np.array(
            [[nats(task.prompt(each, order[:k]), o) for o in row.options] for each in task.content_free]
        )
        shares = np.exp(free) / np.exp(free).sum(1, keepdims=True)
        found = {
            "sum": own,
            "token": own / [len(encode(f" {option}")) for option in row.options],
            "character": own / [len(option) for option in row.options],
            "unconditional": own - alone,
            "calibrated": own - np.log(shares.mean(0)),
        }
        for score, values in found.items():
            right.setdefault(score, []).append(int(values.argmax() == row.right))
    return right


@pytest.mark.parametrize("k", [0, 2])
def test_as_one_option_at_a_time(model: Opened, given: Given, k: int) -> None:
    asker = asker_of(model, given(question="{{text}} =", fewshot_delimiter="\n"))
    found = asker.ask(Settings(k, seed=1))
    assert found.right == by_hand(model, asker, k, seed=1)
    assert found.shown == [k] * len(ROWS)
    assert found.cut == 0


def test_examples_that_do_not_fit_are_left_out_and_counted(
    model: Opened, given: Given, tmp_path: Path
) -> None:
    """The context holds 96 tokens: short rows get more of 6 examples than long ones; the longest is cut itself."""
    (tmp_path / "shown.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    long = [{"text": "They say the plot was dull. " * times, "label": "pos"} for times in (5, 7, 40)]
    asker = asker_of(model, given([*ROWS, *long], question="{{text}} =", examples="shown.jsonl"))
    found = asker.ask(Settings(6, seed=1))
    assert found.cut == 1
    assert len({*found.shown}) > 2
    assert found.shown[-1] == 0
    order = examples.drawn(asker.task.pool, 1, balanced=False)
    for row, shown in zip(asker.task.rows, found.shown, strict=True):
        before = examples.before(row, order, 6)
        fits = [
            all(
                len(model.tokenizer.encode(asker.task.prompt(row, before[:k]) + f" {option}")) <= 97
                for option in row.options
            )
            for k in range(7)
        ]
        assert shown == sum(fits[1:])  # as many as fit
    (summed,) = shots.summary([found])
    assert summed["short"] == sum(count < 6 for count in found.shown)
    assert summed["shown"] == pytest.approx(np.mean(found.shown))


def test_options_of_each_row_are_not_calibrated(model: Opened, given: Given) -> None:
    rows = [{"text": row["text"], "label": 0, "o": ["good", "bad and dull"]} for row in ROWS]
    found = asker_of(model, given(rows, options="o")).ask(Settings(1, seed=1))
    assert set(found.right) == set(scores.SCORES) - {scores.CALIBRATED}


def test_what_was_asked_is_not_asked_again(
    model: Opened, given: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was stopped goes on; another task, seed or model is asked anew."""
    asker, wanted = asker_of(model, given()), shots.settings_of([0, 1], 2, balanced=False)
    assert wanted == [Settings(0, 1), Settings(1, 1), Settings(1, 2)]
    first = next(shots.outcomes(asker, wanted, tmp_path / "kept"))
    asked: list[Settings] = []
    plain = Asker.ask

    def noted(self: Asker, settings: Settings) -> shots.Outcome:
        asked.append(settings)
        return plain(self, settings)

    monkeypatch.setattr(Asker, "ask", noted)
    assert next(shots.outcomes(asker, wanted, tmp_path / "kept")) == first
    whole = list(shots.outcomes(asker, wanted, tmp_path / "kept"))
    assert asked == wanted[1:]
    assert whole == [asker.ask(each) for each in wanted]
    asked.clear()
    other = asker_of(model, given(ROWS[:-1]))
    list(shots.outcomes(other, wanted, tmp_path / "kept"))
    assert asked == wanted
    assert json.loads(json.dumps(whole[1].row())) == whole[1].row()


def test_a_summary_is_over_rows_and_seeds() -> None:
    outcomes = [
        shots.Outcome(Settings(2, seed), {"sum": right}, [2, 1, 2, 2], 0)
        for seed, right in ((1, [1, 1, 0, 1]), (2, [0, 1, 0, 1]))
    ]
    (found,) = shots.summary(outcomes)
    own = found["scores"]["sum"]
    assert (own["value"], own["seeds"], found["short"], found["shown"]) == (0.625, [0.75, 0.5], 1.0, 1.75)
    assert own["low"] < 0.625 < own["high"]
