"""Several seeds of the chain: each a run below one, each figure with its mean and interval."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from flows import seeds
from jokbo import params
from jokbo.runtime.errors import InputError
from jokbo.runtime.tracking import EXPERIMENT
from tests.support import miniature


def test_the_data_are_the_same_for_every_seed() -> None:
    own = miniature.params()
    found = seeds.seeded(own, 7)
    assert {name: found[name] for name in seeds.DATA} == {name: own[name] for name in seeds.DATA}
    changed = {name for name in found if found[name] != own[name]}
    assert changed == {name for name, section in own.items() if "seed" in section} - {*seeds.DATA}
    assert all(found[name]["seed"] == 7 for name in changed)
    params.checked(found, "params.yaml")


def test_what_is_wrong_is_one_line_and_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(miniature.ROOT / "dvc.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    for given_, said in (
        (["1", "--last"], ".jokbo/seeds/1: nothing has run there: leave --last out"),
        (["1", "2", "1"], "1 2 1: a seed stands there twice: leave it out"),
    ):
        with pytest.raises(SystemExit) as ended:
            seeds.app(given_)
        assert ended.value.code == 2
        assert said in " ".join(capsys.readouterr().err.split())
    with pytest.raises(InputError):
        seeds.figures(1)
    assert [path.name for path in tmp_path.iterdir()] == ["dvc.yaml"]


@pytest.mark.slow
def test_each_seed_is_a_run_below_one_that_has_the_table(tmp_path: Path) -> None:
    folder = miniature.build(tmp_path / "project")
    for _ in range(2):  # the second time nothing is left to do, and the run is the same
        done = miniature.run(folder, "flows.seeds", "1", "2", "--until", "pretrain")
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        assert "pretrain/validation/loss" in done.stdout
    client = MlflowClient(f"sqlite:///{folder / '.jokbo/mlflow.db'}")
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if run.data.tags.get("stage") == "seeds"]
    below = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert [run.data.tags["stage"] for run in below] == ["pipeline", "pipeline"]
    assert sorted(int(run.data.params["pretrain.seed"]) for run in below) == [1, 2]
    table = json.loads(
        Path(client.download_artifacts(parent.info.run_id, "seeds.json", str(tmp_path))).read_text()
    )
    rows = {row[0]: row[1:] for row in table["data"]}
    one, two, _ = rows["pretrain/validation/loss"]
    assert parent.data.metrics["mean/pretrain/validation/loss"] == pytest.approx((one + two) / 2)
    assert one != two
    compared = miniature.run(folder, "flows.project.diff", parent.info.run_id[:8], ".jokbo/seeds", "--json")
    assert compared.returncode == 0, compared.stdout + compared.stderr
