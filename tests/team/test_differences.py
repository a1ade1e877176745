"""What differs between two things, whether figures differ beyond their intervals, and how that is shown."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from jokbo.team import shown
from jokbo.team.differences import Comparison, compare
from jokbo.team.facts import WHOLE, Facts, Made, of_inputs


def _measured(name: str, **metrics: float) -> Made:
    return Made(
        name, {"evaluate": Facts(metrics={key.replace("__", "/"): value for key, value in metrics.items()})}
    )


def _estimate(value: float, error: float = 0.1, units: int = 30) -> dict[str, float]:
    return {"x__value": value, "x__standard_error": error, "x__units": units, "x__low": 0.0, "x__high": 1.0}


def _shown(comparison: Comparison, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    shown.show(comparison, console)
    return console.file.getvalue()


@pytest.mark.parametrize(("other", "beyond"), [(0.51, False), (0.75, False), (0.82, True)])
def test_an_estimate_differs_if_the_difference_is_beyond_both_errors_together(
    other: float, beyond: bool
) -> None:
    """Each reaches 0.2 to either side, so that their difference reaches 0.29."""
    found = compare(_measured("a", **_estimate(0.5)), _measured("b", **_estimate(other)))
    ((name, verdict, reach),) = [(each.name, each.beyond, each.reach) for each in found.found]
    assert (name, verdict) == ("x", beyond)
    assert reach == pytest.approx(0.289, abs=0.001)


def test_a_share_has_its_interval_beside_it_and_a_figure_without_one_gets_no_verdict() -> None:
    left = _measured("a", good=0.5, good_low=0.4, good_high=0.6, kl=3.0, same=1.0)
    right = _measured("b", good=0.7, good_low=0.6, good_high=0.8, kl=4.0, same=1.0)
    found = {each.name: each.beyond for each in compare(left, right).found}
    assert found == {"good": True, "kl": None}
    wide = _measured("c", good=0.7, good_low=0.3, good_high=1.0, kl=4.0, same=1.0)
    assert {each.name: each.beyond for each in compare(left, wide).found} == {"good": False, "kl": None}


def test_nothing_that_differs_is_said() -> None:
    found = compare(_measured("a", **_estimate(0.5)), _measured("b", **_estimate(0.5)))
    assert not found.found
    assert _shown(found, 80) == "a and b: nothing differs\n"


def test_what_one_side_does_not_tell_is_no_difference() -> None:
    left, right = Made("a", {"x": Facts(data={})}), Made("b", {"x": Facts(environment={"python": "3"})})
    found = compare(left, right)
    assert not found.found
    assert found.unknown == {"data": "nothing tells of it for b", "environment": "nothing tells of it for a"}


def test_hashes_of_different_kinds_are_not_held_against_each_other() -> None:
    left = Made(
        "a", {"x": Facts(parents={"models/base": {"weights": "1"}, "models/other": {"weights": "3"}})}
    )
    both = of_inputs({"models/base": "9", "models/other": "8"}, {"models/other": "4"})
    found = compare(left, Made("b", {"x": Facts(parents=both["parents"])}))
    assert [(each.name, each.left, each.right) for each in found.found] == [("models/other", "3", "4")]
    assert found.unknown == {"parents": "models/base: their hashes are of different kinds"}


def test_what_several_stages_share_is_shown_once_and_of_a_project_only_the_stage_that_is_asked_for() -> None:
    def project(name: str, md5: str, seed: int) -> Made:
        code = {"jokbo/models": {"md5": md5}}
        stages = {stage: Facts(code=code) for stage in ("pretrain", "finetune")}
        return Made(name, {WHOLE: Facts(parameters={"finetune.seed": seed}), **stages}, whole=True)

    found = compare(project("a", "1", 1), project("b", "2", 2))
    assert [(each.aspect, each.name, each.stages) for each in found.found] == [
        ("parameters", "finetune.seed", (WHOLE,)),
        ("code", "jokbo/models", ("pretrain", "finetune")),
    ]
    one = compare(Made("run", {"finetune": Facts(code={"jokbo/models": {"md5": "1"}})}), project("b", "2", 2))
    assert [(each.name, each.stages) for each in one.found] == [("jokbo/models", ("finetune",))]
    gone = compare(
        project("a", "1", 1), Made("b", {WHOLE: Facts(parameters={"finetune.seed": 1})}, whole=True)
    )
    assert [(each.aspect, each.name) for each in gone.found] == [
        ("stages", "pretrain"),
        ("stages", "finetune"),
    ]


@pytest.mark.parametrize("width", [80, 200])
def test_the_tables_fit_the_terminal_and_lose_nothing(width: int) -> None:
    name = "judges/classifier/models/aligned/length_matched_win_rate"
    left = {f"{name}": 0.5, f"{name}_low": 0.4, f"{name}_high": 0.6}
    sides = [
        Made(label, {"evaluate": Facts(metrics=own, parameters={"evaluate.judges.classifier.sources": own})})
        for label, own in (("evaluate 50a40ea0", left), ("models/aligned", dict.fromkeys(left, 0.9)))
    ]
    found = compare(*sides)
    text = _shown(found, width)
    assert max(map(len, text.splitlines())) <= width
    if width == 200:
        assert f" {name} " in text
    else:
        assert name in "".join(line.strip().partition(" ")[0] for line in text.splitlines())
    assert "a difference (±0.1)" in " ".join(text.split())
    assert json.loads(json.dumps(shown.json_of(found)))["found"][1]["beyond"] is True
