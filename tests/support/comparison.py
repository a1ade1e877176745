"""A small comparison for the project of conftest.py, in a DVC project of its own as family/ is.

Its systems are stages of DVC's foreach around a stand-in that trains nothing.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace

from tests.conftest import ROOT, Project

SYSTEM = """
import os, sys, time
from pathlib import Path
from jokbo.runtime.errors import InputError
from tasks.frame.records import write_curves, write_metrics
from tasks.frame.stage import run_stage, state

def body(stage):
    if stage.name == os.environ.get("WRONG_ONE"):
        raise InputError("nothing to learn from")
    name = stage.name.partition("@")[2]
    start = time.time()
    here = state() / "here"
    here.mkdir(exist_ok=True)
    (here / name).touch()
    together = {here / other for other in os.environ.get("TOGETHER", "").split()}
    if here / name in together:  # a meeting, which none comes to whose stage waits for another's end
        while not all(other.exists() for other in together):
            time.sleep(0.05)
    model = Path("models") / name
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
STAGES = """stages:
  family:
    foreach: {bert: [../models/pretrain], elmo: [../models/pretrain], distilbert: [models/bert]}
    do:
      cmd: python -m system ${key}
      deps: [system.py, "${item.0}"]
      params: [family.seed, family.defaults, "family.systems.${key}"]
      outs: ["models/${key}"]
      metrics: ["metrics/family/${key}.json"]
      plots: ["plots/family/${key}.csv"]
  family_table:
    cmd: python -m system
    deps: [metrics/family, plots/family]
    outs: [reports/family.md]
    metrics: [metrics/family_table.json]
"""
MADE = ("data", "models", "metrics", "plots", "reports")


def add_to(project: Project) -> Project:
    """Return the project of family/, which is added to this one, with three systems and the table.

    family@bert and family@elmo need the chain's pretrain, family@distilbert needs family@bert.
    """
    folder = project.folder / "family"
    (folder / ".dvc").mkdir(parents=True)
    for path in (".dvc/config", ".dvc/.gitignore", ".dvcignore", "params.yaml"):
        shutil.copy(ROOT / "family" / path, folder / path)
    (folder / "system.py").write_text(SYSTEM)
    (folder / "dvc.yaml").write_text(STAGES)
    with open(project.folder / ".gitignore", "a") as file:
        file.writelines(f"/family/{name}/\n" for name in MADE)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost"]
    subprocess.run(["git", "add", "-A"], cwd=project.folder, check=True)
    subprocess.run([*git, "commit", "-q", "-m", "the family"], cwd=project.folder, check=True)
    return replace(project, folder=folder)
