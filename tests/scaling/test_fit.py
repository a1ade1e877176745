"""Laws that were planted come back, and what cannot be fitted is one line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from jokbo.runtime.errors import InputError
from jokbo.scaling import approaches, fit, fitting, laws, results
from jokbo.scaling.fitting import Form
from jokbo.scaling.runs import COUNTS, Counted, Runs, of_rows
from tests.scaling import planted

FORMS = (laws.CHINCHILLA, laws.KAPLAN)


def counted(*arguments: Any, **options: Any) -> Counted:
    return of_rows(planted.rows(*arguments, **options), "planted").counted("parameters")


@pytest.fixture(scope="module")
def tree() -> dict[str, Any]:
    return fit.fitted(of_rows(planted.rows(1), "planted"), 100, 1, "planted")


def test_planted_numbers_are_in_their_intervals(tree: dict[str, Any]) -> None:
    """240 runs, 2% noise."""
    found = tree["counts"]["parameters"]
    true = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28}
    for name, value in true.items():
        assert found["chinchilla"][name]["low"] < value < found["chinchilla"][name]["high"]
    for name in ("parametric loss", "isoFLOP parabolas", "envelope of results"):
        assert found["exponents"][name]["low"] < 0.28 / 0.62 < found["exponents"][name]["high"], name
    assert found["chinchilla"]["alpha"]["high"] - found["chinchilla"]["alpha"]["low"] < 0.15


def test_what_is_planned_is_the_best_of_all_sizes(tree: dict[str, Any]) -> None:
    for budget in (1e20, 1e23):
        sizes = np.geomspace(1e7, 1e12, 100_000)
        best = sizes[planted.loss(sizes, budget / 6 / sizes).argmin()]
        parameters, tokens = laws.optimum(planted.THETA, budget)
        assert parameters == pytest.approx(best, rel=1e-3)
        assert 6 * parameters * tokens == pytest.approx(budget)
        said = fit.planned(tree, budget)
        assert said["parameters"]["low"] < best < said["parameters"]["high"]
        assert said["loss"]["low"] < planted.loss(best, budget / 6 / best) < said["loss"]["high"]
    assert said["beyond"] == pytest.approx(1e23 / (6 * 1e10 * 4e11))


def test_parabolas_find_the_best_size_of_all() -> None:
    """Three sizes a factor of ten, each with runs at exactly these FLOPs."""
    budgets, sizes = (1e19, 1e20, 1e21), np.geomspace(1e8, 3e9, 7)
    rows = [
        {"parameters": size, "tokens": flops / 6 / size, "loss": planted.loss(size, flops / 6 / size)}
        for flops in budgets
        for size in sizes
    ]
    found = approaches.parabolas(of_rows(rows, "planted").counted("parameters"))
    assert [each.flops for each in found] == pytest.approx(budgets)
    fine = np.geomspace(1e8, 3e9, 100_000)
    for each in found[1:]:  # the first budget's best size is at the edge
        best = fine[planted.loss(fine, each.flops / 6 / fine).argmin()]
        assert each.lowest is not None
        assert each.lowest[0] == pytest.approx(best, rel=0.15)
        assert each.lowest[1] == pytest.approx(planted.loss(best, each.flops / 6 / best), rel=2e-3)


def test_a_size_is_interpolated_between_its_runs() -> None:
    """Sizes by tokens have no FLOPs in common: the losses that a parabola goes through are still those of the law."""
    (found, *_) = approaches.parabolas(counted(0, noise=0.0))
    assert len(found.parameters) >= approaches.LEAST_SIZES
    assert found.loss == pytest.approx(
        planted.loss(found.parameters, found.flops / 6 / found.parameters), rel=5e-3
    )


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.names[-1])
def test_derivatives_are_those_of_the_law(form: Form) -> None:
    runs = counted(0)
    theta = np.array([starts[1] for starts in form.grid], dtype=float)
    steps = 1e-6 * np.eye(len(theta))
    slow = [(form.predict(theta + h, runs)[0] - form.predict(theta - h, runs)[0]) / 2e-6 for h in steps]
    assert form.predict(theta, runs)[1] == pytest.approx(np.array(slow), rel=1e-3, abs=1e-5)


def test_kaplans_law_comes_back() -> None:
    """Equation 1.5 with the numbers of table 2, without noise."""
    theta = np.array([0.076 / 0.103 * np.log(6.4e13), np.log(1.8e13), 0.076 / 0.103, 0.103])
    size, data = (grid.ravel() for grid in np.meshgrid(planted.SIZES, planted.TOKENS))
    runs = Counted(size, data, laws.loss(laws.KAPLAN, theta, size, data))
    hand = ((6.4e13 / size) ** (0.076 / 0.103) + 1.8e13 / data) ** 0.103
    assert runs.loss == pytest.approx(hand)
    found = laws.KAPLAN.read(fitting.fit(laws.KAPLAN, runs).theta)
    assert {name: float(value) for name, value in found.items()} == pytest.approx(
        {"N_c": 6.4e13, "D_c": 1.8e13, "alpha_N": 0.076, "alpha_D": 0.103}, rel=0.02
    )


def test_the_largest_fifth_is_told_by_the_others() -> None:
    runs = counted(0, noise=0.0)
    found = fit.held_out(laws.CHINCHILLA, runs)
    assert found is not None
    assert found["runs"] == 48
    assert found["largest_error"] < 1e-3
    assert min(found["measured"]) >= 1.69
    wrong = fit.held_out(laws.KAPLAN, runs)  # its loss goes to zero, the planted one does not
    assert wrong is not None
    assert wrong["mean_error"] > 10 * found["mean_error"]


def test_without_embeddings_the_exponent_is_larger() -> None:
    """Pearce and Song 2024: networks whose embeddings are a smaller share the larger they are."""
    sizes = np.geomspace(1e6, 1e8, 8)
    rows = planted.rows(0, 0.001, sizes, np.geomspace(1e7, 1e10, 6))
    for row in rows:
        row["parameters_without_embeddings"] = row["parameters"] - 200 * row["parameters"] ** 0.55
    runs = of_rows(rows, "planted")
    both = [laws.exponent(fitting.fit(laws.CHINCHILLA, runs.counted(count)).theta) for count in COUNTS]
    assert both[1] > both[0] + 0.02
    table = {row["claim"]: row for row in results.fit_of(runs, 20, 1, "planted")["claims"]}
    (counting,) = [row for claim, row in table.items() if "embeddings are not counted" in claim]
    assert counting["verdict"] == "seen"


def with_noise_scale(slope: float) -> Runs:
    rows = [{**row, "noise_scale": 1e3 * row["loss"] ** slope} for row in planted.rows(0)]
    return of_rows(rows, "planted")


def test_the_critical_batch_is_a_power_of_the_loss() -> None:
    runs = with_noise_scale(-4.8)
    found = fit.critical_batch(fit.Given(runs, fitting.resamples(len(runs), 20, 0)))
    assert found is not None
    assert found["slope"]["value"] == pytest.approx(-4.8)
    assert found["size_slope"]["value"] == pytest.approx(0, abs=1e-6)
    assert found["tokens"][1] == pytest.approx(1e3 * min(runs["loss"]) ** -4.8)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (planted.rows(0)[:7], "7 runs: a fit of five numbers needs 8 or more"),
        (planted.rows(0, sizes=[1e8]), "16 runs of 1 size (1e+08): a fit needs 3 or more"),
        (planted.rows(0, tokens=[1e9]), "15 runs of 1 number of tokens (1e+09): a fit needs 3 or more"),
        ([{**row, "loss": 2.0} for row in planted.rows(0)], "the fit has not converged"),
        ([{**row, "loss": 4 - row["loss"] / 2} for row in planted.rows(0)], "the fit has not converged"),
    ],
)
def test_what_cannot_be_fitted_is_one_line(rows: list[dict[str, float]], said: str) -> None:
    with pytest.raises(InputError) as error:
        fit.fitted(of_rows(rows, "runs.csv"), 20, 1, "runs.csv")
    assert str(error.value).startswith("runs.csv: ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)
