from __future__ import annotations

import pytest

from jokbo.comparison import figures
from jokbo.reporting.figures import svg
from tests.comparison import made_up


@pytest.fixture(scope="module")
def comparison():
    return made_up.comparison()


def test_marks_stand_at_the_means_with_their_errors(comparison) -> None:
    (chart,) = figures.downstream(comparison["rows"])
    axes = chart.figure.axes[0]
    systems = [row for row in comparison["rows"] if row["pretrained"]]
    labels = {
        round(height): text.get_text()
        for height, text in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
    }
    for start, marks in zip(("scratch", "pretrained"), axes.containers, strict=True):
        for row, x, y, bar in zip(
            systems, marks[0].get_xdata(), marks[0].get_ydata(), marks[2][0].get_segments(), strict=True
        ):
            assert labels[round(y)] == row["label"]
            assert x == row[start]["mean"]
            assert (bar[1, 0] - bar[0, 0]) / 2 == pytest.approx(row[start]["error"])
    lines = {line.get_label(): line.get_xdata()[0] for line in axes.lines if line.get_label()[0] != "_"}
    assert lines == {each["title"]: each["downstream"]["mean"] for each in made_up.baselines().values()}


def test_gradients_are_a_panel_a_stack_and_a_line_a_norm() -> None:
    charts = figures.gradients_by_depth(made_up.GRADIENTS)
    assert [chart.name for chart in charts] == ["family-gradients-encoder", "family-gradients-decoder"]
    for chart, stack in zip(charts, ("encoder", "decoder"), strict=True):
        drawn = {line.get_label(): list(line.get_ydata()) for line in chart.figure.axes[0].lines}
        assert drawn == {f"{norm}-norm": made_up.GRADIENTS[norm][stack] for norm in ("post", "pre")}


def test_the_alignment_is_a_square_for_each_pair_of_words() -> None:
    (chart,) = figures.alignment(**made_up.ALIGNMENT)
    axes = chart.figure.axes[0]
    shades = {
        (round(patch.get_y() + 0.5), round(patch.get_x() + 0.5)): patch.get_alpha() for patch in axes.patches
    }
    weights = made_up.ALIGNMENT["weights"]
    assert shades == {(row, column): weights[row][column] for row in range(2) for column in range(3)}
    across, down = axes.get_xlim(), axes.get_ylim()
    assert across[0] < across[1]
    assert down[0] > down[1]  # the first word written is on top
    text = svg(chart)
    for word in ("$a$", "##b", "c$", "&lt;e&gt;"):
        assert f">{word}</text>" in text


def test_memory_is_a_line_for_each_way_of_attention() -> None:
    (chart,) = figures.attention_memory(**made_up.MEMORY)
    drawn = [(list(line.get_xdata()), list(line.get_ydata())) for line in chart.figure.axes[0].lines]
    assert drawn == [([64, 128], [1.0, 4.0]), ([64, 128], [0.5, 1.0])]
    assert "from 1 to 4 MB, fused from 0.5 to 1 MB" in chart.alt


def test_a_system_has_a_panel_with_its_curve_and_its_end(comparison) -> None:
    charts = figures.pretraining(comparison["rows"], comparison["curves"])
    systems = [row for row in comparison["rows"] if row["name"] in comparison["curves"]]
    assert [chart.title for chart in charts] == [row["label"] for row in systems]
    assert len(systems) == len(made_up.systems())
    level, curve = charts[0].figure.axes[0].lines
    assert set(level.get_ydata()) == {systems[0]["unigram"]}
    assert list(curve.get_ydata()) == comparison["curves"][systems[0]["name"]]["nats"]
    (end,) = charts[0].figure.axes[0].collections[0].get_offsets()
    assert end[1] == systems[0]["nats"]
