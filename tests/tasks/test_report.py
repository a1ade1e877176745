from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from jokbo.finetuning.tasks.results import Tasks
from jokbo.reporting.report import render
from jokbo.runtime.errors import InputError
from jokbo.runtime.tracking import Run, Subject, open_run
from tasks import report
from tasks.frame import paths
from tasks.frame.records import write_curves
from tasks.frame.stage import Stage
from tests.conftest import ROOT
from tests.reporting.findings import findings

PNG = re.compile(r"<figure>")


def stage(run: Run, name: str = "report") -> Stage:
    return Stage(name, None, None, "key", run, Path("none"))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder in which all stages before the report have run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    made = findings()
    for folder in (paths.EVALUATION, paths.METRICS, paths.ALIGNED):
        folder.mkdir(parents=True)
    made.evaluation.save(paths.EVALUATION / "evaluation.json")
    lines = [json.dumps(sample, ensure_ascii=False) + "\n" for sample in made.samples]
    (paths.EVALUATION / "samples.jsonl").write_text("".join(lines), "utf-8")
    paths.ALIGNED.rmdir()  # the records are enough
    for path, record in made.ancestry.values():
        record.save(Path(path))
    made.card.save(paths.DATA_CARD)
    paths.PROFILES.mkdir()
    (paths.PROFILES / "korean.yaml").write_text("pretrain: {seed: 1}\n")
    for name, found in made.profiles.items():
        (paths.PROFILES / f"{name}.json").write_text(json.dumps(found))
    for name in report.inputs(paths.METRICS):
        (paths.METRICS / f"{name}.json").write_text(json.dumps(made.metrics.get(name, {})))
    Tasks(made.tasks).save(paths.METRICS / "tasks.json")
    for name in report.inputs(paths.PLOTS):
        parts = {
            key.rpartition("/")[2]: rows for key, rows in made.curves.items() if key.split("/")[0] == name
        }
        write_curves(stage(Run(), name), parts)
    for name, seconds in made.timings.items():
        record = Path(f".jokbo/timings/{name}.json")
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps({"key": "k", "run": "r", "seconds": seconds}))
    Path(".jokbo/timings/speed.json").write_text(json.dumps(made.speeds))
    return made


def test_reads_back_what_the_stages_left(project):
    read = report.read_findings()
    assert read.curves == project.curves
    assert read.speeds == project.speeds
    assert list(read.timings.items()) == list(project.timings.items())
    for part in ("evaluation", "samples", "ancestry", "aligned", "card", "profiles"):
        assert getattr(read, part) == getattr(project, part)


def test_writes_the_page_its_numbers_and_the_artifacts(project):
    store = f"sqlite:///{Path('mlflow.db').absolute()}"
    with open_run(Subject("report", "key", {}, {}), tracking_uri=store) as run:
        report.report(stage(run))
    assert paths.REPORT.read_text("utf-8") == render(report.read_findings())
    numbers = json.loads(paths.RESULT.read_text())
    assert numbers == {"good": 0.84, "win_rate": 0.816, "kl": 8.37, "length": 21.4, "perplexity": 49.8}
    artifacts = {path.name for path in Path("mlartifacts").rglob("*") if path.is_file()}
    assert {"report.html", "reward-kl.png", "models.json"} <= artifacts
    images = {path.name for path in paths.FIGURES.iterdir()}
    assert images == {name for name in artifacts if name.endswith(".png")}
    assert len(images) == len(PNG.findall(paths.REPORT.read_text("utf-8")))


@pytest.mark.parametrize("path", [paths.EVALUATION / "samples.jsonl", paths.PLOTS / "align.csv"])
def test_a_missing_file_is_named(project, path):
    path.unlink()
    with pytest.raises(InputError, match=f"{path}: not there"):
        report.read_findings()


def test_a_broken_file_is_named(project):
    (paths.METRICS / "align.json").write_text("{")
    with pytest.raises(InputError, match=r"metrics/align.json: not whole"):
        report.read_findings()
