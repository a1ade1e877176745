"""A CSV file of runs: what is read of it, and one line for what is no run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from jokbo.cli import app
from jokbo.runtime.errors import InputError
from jokbo.scaling import approaches
from jokbo.scaling.runs import read
from tests.scaling import planted

HEADER = "parameters,tokens,loss"


def file_of(folder: Path, text: str) -> Path:
    path = folder / "runs.csv"
    path.write_text(text)
    return path


def test_tokens_follow_from_flops_and_flops_from_tokens(tmp_path: Path) -> None:
    by_flops, _ = read(file_of(tmp_path, "loss, parameters ,flops\n3,2e6,2.4e14\n"))
    assert by_flops["tokens"].tolist() == [2e7]
    by_tokens, ignored = read(file_of(tmp_path, "who,parameters,tokens,loss\nme,2e6,2e7,3\n"))
    assert by_tokens["flops"].tolist() == [2.4e14]
    assert ignored == ["who"]


def test_rows_of_one_run_are_its_training_curve(tmp_path: Path) -> None:
    text = f"run,{HEADER},noise_scale\na,2e6,2e7,3,\na,2e6,1e7,4,500\nb,4e6,1e7,3.5,\n"
    runs, _ = read(file_of(tmp_path, text))
    assert runs.last.tolist() == [True, False, True]
    assert runs.results["loss"].tolist() == [3, 3.5]
    first, second = approaches.by_run(runs, "parameters")
    assert first.tokens.tolist() == [1e7, 2e7]
    assert len(second) == 1
    assert np.isnan(runs["noise_scale"]).tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no column parameters or parameters_without_embeddings: it has none"),
        ("N,tokens,loss\n", "no column parameters or parameters_without_embeddings: it has N, tokens, loss"),
        ("parameters,loss\n", "no column tokens or flops"),
        ("parameters,tokens\n", "no column loss"),
        ("parameters,tokens,loss,loss\n", "2 columns loss"),
        (f"{HEADER}\n", "no runs in it"),
        (f"{HEADER}\n1e6,1e7,3\n1e6,1e7,nan\n", "line 3: loss is nan"),
        (f"{HEADER}\n1e6,1e7,inf\n", "line 2: loss is inf"),
        (f"{HEADER}\n1e6,1e7,\n", "line 2: loss is '': write a number"),
        (f"{HEADER}\n1e6,1e7,three\n", "line 2: loss is 'three': write a number"),
        (f"{HEADER}\n1e6,1e7,3,4\n", "line 2: more cells than columns"),
        (f"{HEADER}\n-1e6,1e7,3\n", "line 2: parameters is -1e+06: it must be above 0"),
        (f"{HEADER}\n124,1e7,3\n", "line 2: parameters is 124: write the number itself, not millions"),
        (f"{HEADER}\n1e6,2.5,3\n", "line 2: tokens is 2.5: write the number itself"),
        (
            f"{HEADER}\n1e6,1e7,68.8\n",
            "line 2: loss is 68.8: it must be in nats a token; a perplexity is exp of that",
        ),
        ("parameters,flops,loss\n1e6,0.7,3\n", "line 2: flops is 0.7: write the number itself"),
        (
            f"{HEADER},flops\n1e6,1e7,3,6e16\n",
            "flops is 6e+16, but 6 parameters tokens is 6e+13: one of the three",
        ),
        (f"run,{HEADER}\na,1e6,1e7,3\na,2e6,2e7,3\n", "rows of the run a have parameters of 1e+06 and 2e+06"),
    ],
)
def test_what_is_no_run_is_one_line(text: str, said: str, tmp_path: Path) -> None:
    path = file_of(tmp_path, text)
    with pytest.raises(InputError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_the_commands_fit_and_plan(tmp_path: Path) -> None:
    few = planted.rows(1, 0.002, planted.SIZES[::2], planted.TOKENS[::3])
    path, out = planted.write(tmp_path / "runs.csv", few), tmp_path / "out"
    runner = CliRunner()
    fitted = runner.invoke(app, ["scaling", "fit", str(path), "--out", str(out), "--samples", "20"])
    assert fitted.exit_code == 0, fitted.output
    assert "Hoffmann et al.: alpha" in fitted.output
    assert {path.name for path in out.iterdir()} >= {"fit.json", "scaling-losses.svg", "scaling-isoflop.svg"}
    plans = [
        runner.invoke(app, ["scaling", "plan", str(source), "--budget", "1e21", "--samples", "20"])
        for source in (out / "fit.json", path)
    ]
    assert plans[0].exit_code == 0, plans[0].output
    assert plans[0].output == plans[1].output
    assert "1e+21 FLOPs (6 N D): train" in plans[0].output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fit", "none.csv"], "none.csv: not there"),
        (["fit", "."], "no CSV file in UTF-8"),
        (["plan", "none.json", "--budget", "1e15"], "none.json: not there"),
        (["plan", "list.json", "--budget", "1e15"], "list.json: no fit in it"),
        (["plan", "none.json", "--budget", "-1"], "--budget is -1: give the FLOPs to spend"),
        (["plan", "none.json"], "--budget is 0: give the FLOPs to spend"),
    ],
)
def test_a_command_that_cannot_is_one_line(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.json").write_text("[1]")
    found = CliRunner().invoke(app, ["scaling", *arguments])
    assert found.exit_code == 2
    assert said in found.stderr
    assert found.stderr.count("\n") == 1
