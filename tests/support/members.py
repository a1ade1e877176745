"""A small family for the project of conftest.py: stages of DVC's foreach around a stand-in that trains nothing."""

from __future__ import annotations

from tests.conftest import Project

MEMBER = """
import os, sys, time
from pathlib import Path
from jokbo.runtime.errors import InputError
from tasks.frame.records import write_curves, write_metrics
from tasks.frame.stage import run_stage

def body(stage):
    if stage.name == os.environ.get("WRONG_ONE"):
        raise InputError("nothing to learn from")
    name = stage.name.partition("@")[2]
    start = time.time()
    here = Path(".jokbo/here")
    here.mkdir(exist_ok=True)
    (here / name).touch()
    together = {here / other for other in os.environ.get("TOGETHER", "").split()}
    if here / name in together:  # a meeting, which none comes to whose stage waits for another's end
        while not all(other.exists() for other in together):
            time.sleep(0.05)
    model = Path("models/family") / name
    model.mkdir(parents=True)
    (model / "model.safetensors").write_bytes(name.encode())
    threads = int(os.environ.get("OMP_NUM_THREADS", "0"))
    rate = stage.params.systems[name].learning_rate
    write_metrics(stage, {"start": start, "end": time.time(), "threads": threads, "rate": rate})
    write_curves(stage, {name: [{"step": 1, "loss": 1.0}]})

def table(stage):
    names = sorted(path.stem for path in Path("metrics/family").glob("*.json"))
    Path("reports").mkdir(exist_ok=True)
    Path("reports/family.md").write_text("| system |\\\\n" + "".join(f"| {name} |\\\\n" for name in names))
    write_metrics(stage, {"systems": names})

run_stage(f"family@{sys.argv[1]}", body) if sys.argv[1:] else run_stage("family_table", table)
""".replace("\\\\n", "\\n")
STAGES = """
  family:
    foreach: {bert: [pretrain], elmo: [pretrain], distilbert: [family/bert]}
    do:
      cmd: python -m member ${key}
      deps: [member.py, "models/${item.0}"]
      params: [family.seed, "family.systems.${key}"]
      outs: ["models/family/${key}"]
      metrics: ["metrics/family/${key}.json"]
      plots: ["plots/family/${key}.csv"]
  family_table:
    cmd: python -m member
    deps: [metrics/family, plots/family]
    outs: [reports/family.md]
    metrics: [metrics/family_table.json]
"""


def add_to(project: Project) -> Project:
    """Adds family@bert and family@elmo, which need pretrain, family@distilbert, which needs bert, and the table."""
    (project.folder / "member.py").write_text(MEMBER)
    with open(project.folder / "dvc.yaml", "a") as file:
        file.write(STAGES)
    with open(project.folder / ".gitignore", "a") as file:
        file.write("/plots/\n/reports/\n")
    return project
