"""A small real project, with git, DVC and MLflow of its own, for tests of what happens around a stage's work."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from mlflow import MlflowClient
from mlflow.entities import Run as Record
from mlflow.entities import ViewType

from jokbo.runtime import tracking

ROOT = Path(__file__).parent.parent
STANDIN = '''
import json, os, sys, time
from pathlib import Path
from jokbo.runtime.errors import InputError
from tasks.frame.stage import leads, run_stage

NAME = sys.argv[1]

def body(stage):
    """Count to STEPS, a checkpoint a step; how it goes wrong is asked for in the environment."""
    saved = stage.checkpoints / "step"
    start = int(saved.read_text()) if saved.exists() else 0
    print(f"{NAME} starts at {start} as rank {os.environ.get('RANK', '-')}", flush=True)
    if os.environ.get("WRONG") == "input":
        raise InputError("rows.csv: no column `text`: name it in params.yaml")
    if os.environ.get("WRONG") == "code":
        raise ValueError("a mistake")
    for step in range(start, int(os.environ.get("STEPS", "3"))):
        stage.run.log({"loss": 1.0 / (step + 1)}, step=step)
        if leads():
            stage.run.flush()
            stage.checkpoints.mkdir(parents=True, exist_ok=True)
            partial = saved.with_name("partial")  # a stop may come between a file's opening and its writing
            partial.write_text(str(step + 1))
            partial.rename(saved)
        if str(step) == os.environ.get("DIES_AT") and start == 0:
            os.kill(os.getpid(), 9)
        time.sleep(float(os.environ.get("PAUSE", "0")))
    model = Path("models") / NAME
    model.mkdir(parents=True, exist_ok=True)
    (model / "model.safetensors").write_bytes(NAME.encode())
    Path("metrics").mkdir(exist_ok=True)
    Path(f"metrics/{NAME}.json").write_text(json.dumps({"steps": 3}))

if __name__ == "__main__":
    run_stage(NAME, body, parallel=True)
'''

# what stages leave in a project, and in the family that is added to it (tests/support/comparison.py)
LEFT = (
    *("dvc.lock", "models", "metrics", ".dvc/cache", ".jokbo"),
    *(f"family/{name}" for name in ("dvc.lock", "models", "metrics", "plots", "reports")),
)

# the files that take the longest, which a worker runs whole (make test)
LONGEST = (
    "tests/test_resume.py",
    "tests/flows/test_labelling.py",
    "tests/flows/test_family.py",
    "tests/flows/test_pipeline.py",
    "tests/test_own_method.py",
    "tests/test_own_preferences.py",
    "tests/tasks/frame/test_stage.py",
    "tests/flows/project/test_reproduce.py",
    "tests/flows/test_remote.py",
    "tests/flows/test_server.py",
    "tests/tasks/frame/test_edits.py",
    "tests/tasks/test_family.py",
    "tests/tasks/frame/test_ranks.py",
    "tests/tasks/frame/test_hosts.py",
    "tests/flows/test_deployments.py",
)
PLACES = {name: place for place, name in enumerate(LONGEST)}

# no verdict hangs on how busy the machine is
settings.register_profile("jokbo", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("jokbo")


def pytest_sessionstart() -> None:
    """Have what tests start heed Ctrl-C, also where a shell started pytest in the background, which ignores it, and
    find tasks and flows, which are no installed packages."""
    _hear()
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


@pytest.fixture(autouse=True)
def _signals_are_heard() -> Iterator[None]:
    """Have SIGINT and SIGTERM heard before and after each test: who ignores them has all that it starts ignore them.

    flows/supervise.py, which ends its process, leaves them ignored; its tests call it in theirs.
    """
    _hear()
    yield
    _hear()


@pytest.fixture(autouse=True)
def _no_training_is_remembered() -> Iterator[None]:
    """Have what a test starts set its environment itself: a training in this process has named the loopback's network
    and a setting of cuBLAS, which runs would record."""
    yield
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME", "CUBLAS_WORKSPACE_CONFIG"):
        os.environ.pop(name, None)


def _hear() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files of LONGEST first: one that a worker began last would leave the others with nothing to do."""
    items.sort(key=lambda item: PLACES.get(item.nodeid.partition("::")[0], len(PLACES)))


@dataclass
class Project:
    """A project in a temporary folder: pretrain, then finetune and distill of what it made."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    started: list[subprocess.Popen] = field(default_factory=list)

    def start(self, *command: str, **environment: str) -> subprocess.Popen:
        """Start `python -m COMMAND` in the project; its output is one stream."""
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", *command],
            cwd=self.folder,
            env={**os.environ, **self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(process)
        return process

    def run(self, *command: str, **environment: str) -> tuple[int, str]:
        """Run it to its end: exit status and output."""
        process = self.start(*command, **environment)
        output, _ = process.communicate()
        return process.returncode, output

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.folder / name).read_text()
        assert old in text
        (self.folder / name).write_text(text.replace(old, new, 1))

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(f"sqlite:///{self.folder / '.jokbo' / 'mlflow.db'}")

    def runs(self, stage: str, superseded: bool = False) -> list[Record]:
        """The live MLflow runs of a stage, or those that a later one has superseded. None is ever deleted."""
        experiment = self.client.get_experiment_by_name(tracking.EXPERIMENT)
        found = self.client.search_runs(
            [experiment.experiment_id], f"tags.stage = '{stage}'", run_view_type=ViewType.ALL
        )
        assert {run.info.lifecycle_stage for run in found} <= {"active"}
        return [run for run in found if (tracking.SUPERSEDED in run.data.tags) == superseded]

    def steps(self, stage: str) -> list[int]:
        """The steps at which the one run of a stage logged its loss, in the order they were sent."""
        (run,) = self.runs(stage)
        return [point.step for point in self.client.get_metric_history(run.info.run_id, "loss")]


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which nothing has run, with an empty MLflow store: making one of those takes seconds."""
    folder = tmp_path_factory.mktemp("pristine")
    (folder / "standin.py").write_text(STANDIN)
    shutil.copy(ROOT / "params.yaml", folder)
    stages = [("pretrain", []), ("finetune", ["models/pretrain"]), ("distill", ["models/pretrain"])]
    lines = ["stages:"]
    for name, inputs in stages:
        lines += [f"  {name}:", f"    cmd: python -m standin {name}", "    deps:", "    - standin.py"]
        lines += [f"    - {path}" for path in inputs]
        lines += ["    params:", f"    - {name}", "    outs:", f"    - models/{name}"]
        lines += [f"    - models/{name}.ancestry.json"]
        lines += ["    metrics:", f"    - metrics/{name}.json"]
    (folder / "dvc.yaml").write_text("\n".join(lines) + "\n")
    (folder / ".gitignore").write_text(".jokbo/\n__pycache__/\n/models/\n/metrics/\n")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost"]
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=folder, check=True)
    shutil.copy(ROOT / ".dvc" / "config", folder / ".dvc" / "config")
    subprocess.run(["git", "add", "-A"], cwd=folder, check=True)
    subprocess.run([*git, "commit", "-q", "-m", "start"], cwd=folder, check=True)
    (folder / ".jokbo").mkdir()
    MlflowClient(f"sqlite:///{folder / '.jokbo' / 'mlflow.db'}").search_experiments()
    return folder


def as_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what is started find this Python, and nothing of a DVC or an MLflow that the tests themselves run under."""
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_STAGE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture(scope="session")
def first_ended(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose first stage has run: each stage takes seconds."""
    return _after(pristine, tmp_path_factory.mktemp("first"), "pretrain")


@pytest.fixture(scope="session")
def all_ended(first_ended: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose stages have all run."""
    return _after(first_ended, tmp_path_factory.mktemp("all"))


def _after(before: Path, folder: Path, *stages: str) -> Path:
    """Return the folder with a copy of the project `before`, in which DVC has run these stages, or all."""
    shutil.copytree(before, folder, symlinks=True, dirs_exist_ok=True)
    return reproduced(Project(folder), *stages).folder


def reproduced(project: Project, *stages: str) -> Project:
    """Return the project after DVC has run these stages, or all."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        as_a_user(monkeypatch)
        status, output = project.run("dvc", "repro", *stages)
    assert status == 0, output
    return project


def leave(project: Project, ended: Path) -> Project:
    """Return the project with what stages left in another one, alike in all else. Its MLflow has none of their runs."""
    for name in LEFT:
        if (ended / name).is_dir():
            runs = shutil.ignore_patterns("mlflow.db*", "mlartifacts")  # they say in which folder they were
            shutil.copytree(ended / name, project.folder / name, ignore=runs, dirs_exist_ok=True)
        elif (ended / name).exists():
            shutil.copy2(ended / name, project.folder / name)
    return project


@pytest.fixture
def project(pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """A fresh copy of the pristine project, which is also the current folder."""
    folder = tmp_path / "project"
    shutil.copytree(pristine, folder, symlinks=True)
    as_a_user(monkeypatch)
    monkeypatch.chdir(folder)
    made = Project(folder)
    yield made
    for process in made.started:
        process.kill()  # a test that failed may have left one running


@pytest.fixture
def begun(project: Project, first_ended: Path) -> Project:
    """The project after its first stage."""
    return leave(project, first_ended)


@pytest.fixture
def done(project: Project, all_ended: Path) -> Project:
    """The project after all its stages."""
    return leave(project, all_ended)


@pytest.fixture
def store(pristine: Path, tmp_path: Path) -> str:
    """The tracking URI of an empty MLflow store."""
    return f"sqlite:///{shutil.copy(pristine / '.jokbo' / 'mlflow.db', tmp_path)}"


def until(happens: Callable[[], bool]) -> None:
    """Wait until it happens, however slow the machine is: pytest's own time limit ends what never happens."""
    import time

    while not happens():
        time.sleep(0.05)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Shows the tables that tests recorded (`record_property`), also those of tests that passed."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for title, table in report.user_properties:
                terminalreporter.section(title)
                terminalreporter.write_line(table)
