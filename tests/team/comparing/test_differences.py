"""What differs between two things, whether figures differ beyond their intervals, and how that is shown."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from jokbo.runtime.errors import InputError
from jokbo.team.comparing import shown
from jokbo.team.comparing.differences import Comparison, compare
from jokbo.team.comparing.facts import WHOLE, Facts, Made, of_inputs, together


def _measured(name: str, **metrics: float) -> Made:
    return Made(
        name, {"evaluate": Facts(metrics=[{key.replace("__", "/"): value for key, value in metrics.items()}])}
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
    """Each reaches 0.2 to either side; their difference reaches 0.28 by Student's t of 58 degrees of freedom."""
    found = compare(_measured("a", **_estimate(0.5)), _measured("b", **_estimate(other)))
    ((name, verdict, reach),) = [(each.name, each.beyond, each.reach) for each in found.found]
    assert (name, verdict) == ("x", beyond)
    assert reach == pytest.approx(2.0017 * 0.1 * 2**0.5, abs=1e-4)


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


def _seeds(name: str, *values: float, seed: int = 1) -> Made:
    """Runs of one stage with a seed each, of which one figure is known."""
    runs = [
        Made(
            f"{name}{number}",
            {
                "align": Facts(
                    {"data/prompts": {"md5": "1"}}, parameters={"align.seed": number}, metrics=[{"x": value}]
                )
            },
        )
        for number, value in enumerate(values, seed)
    ]
    return together(name, runs)


def test_seeds_are_one_and_what_each_has_of_its_own_is_named() -> None:
    found = compare(_seeds("a", 1.0, 1.1, 1.2), _seeds("b", 2.0, 2.1, 2.2, seed=4))
    seeds, figure = found.found
    assert (seeds.name, seeds.left, seeds.right) == ("align.seed", "1, 2, 3", "4, 5, 6")
    assert (figure.left, figure.right) == (pytest.approx(1.1), pytest.approx(2.1))
    assert (figure.beyond, figure.seeds) == (True, (3, 3))
    text = " ".join(_shown(found, 120).split())
    assert "a (3 seeds) b (3 seeds)" in text
    assert "1.1 2.1 a difference (±0.23; 3 and 3 seeds)" in text
    assert "1, 2, 3 4, 5, 6" in text
    assert compare(_seeds("a", 1.0, 1.1), _seeds("b", 1.0, 1.1)).found == []
    wide = compare(_seeds("a", 1.0, 2.0), _seeds("b", 1.5, 2.6)).found
    assert [each.beyond for each in wide] == [False]


def test_seeds_and_a_single_run_get_no_verdict_whatever_its_own_interval_says() -> None:
    many = [_measured(str(good), good=good, good_low=good, good_high=good) for good in (0.5, 0.51)]
    one = _measured("one", good=0.9, good_low=0.89, good_high=0.91)
    (found,) = compare(together("many", many), one).found
    assert (found.beyond, found.reach, found.seeds) == (None, None, (2, 1))
    assert "no verdict (2 and 1 seeds)" in _shown(compare(together("many", many), one), 120)


def test_runs_of_other_stages_are_no_seeds_of_one() -> None:
    runs = [Made("a", {"align": Facts()}), Made("b", {"reward": Facts()})]
    with pytest.raises(
        InputError, match=r"^a,b: they are not of one stage \(a is of align; b is of reward\)"
    ):
        together("a,b", runs)
    several = Made("s", {WHOLE: Facts(), "evaluate": Facts()})
    with pytest.raises(InputError, match="they have no stage in common"):
        compare(several, runs[0])


@pytest.mark.parametrize("width", [80, 200])
def test_the_tables_fit_the_terminal_and_lose_nothing(width: int) -> None:
    name = "judges/classifier/models/aligned/length_matched_win_rate"
    left = {f"{name}": 0.5, f"{name}_low": 0.4, f"{name}_high": 0.6}
    sides = [
        Made(
            label, {"evaluate": Facts(metrics=[own], parameters={"evaluate.judges.classifier.sources": own})}
        )
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
