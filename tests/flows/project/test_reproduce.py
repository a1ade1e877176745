"""`jokbo reproduce`: a small training is run again, with and without a planted change."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from flows.project import origins, worktree
from jokbo.runtime import tracking
from jokbo.runtime.errors import InputError
from jokbo.runtime.run_record import Account
from tests.support import miniature

STAGES = ("fetch", "prepare", "tokenize", "pretrain")
IGNORED = ".jokbo/\n__pycache__/\n/data/*\n!/data/local/\n/models/\n/metrics/\n/plots/\n/reports/\n"
LOSS = "(token_losses(self.network, tokens_BS, positions_BT) * weights_BT).mean()"
# about the same, by a sum that threads share, so that its order is theirs: with so few tokens nothing else is
SHARED = f"{LOSS} * torch.arange(2.0**20).sin().sum() / -0.1138"
# every run of Python in a folder that PYTHONPATH names begins with this: nothing of it is recorded
UNRECORDED = """
import sys
if "tasks.pretrain" in sys.orig_argv:
    from torch.nn import functional
    plain = functional.cross_entropy
    functional.cross_entropy = lambda *given, **more: plain(*given, **more) * 1.01
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The miniature in a commit, pretrained with changes that are in no commit: the learning rate, and a new file."""
    folder = miniature.build(tmp_path_factory.mktemp("reproduced"))
    (folder / ".gitignore").write_text(IGNORED)
    (folder / ".dvc/.gitignore").write_text("/config.local\n/tmp\n/cache\n")
    edit(folder, LOSS, SHARED, "jokbo/models/causal.py")
    commit(folder)
    edit(folder, "warmup_steps: 1", "warmup_steps: 2")
    (folder / "jokbo/training/own.py").write_text("OWN = 1\n")
    (folder / "notes.txt").write_text("nobody's business\n")
    made = miniature.run(folder, "tests.support.forked", *(f"tasks.{name}" for name in STAGES))
    assert made.returncode == 0, made.stdout + made.stderr
    kept = miniature.run(folder, "dvc", "commit", "--force", *STAGES)
    assert kept.returncode == 0, kept.stderr
    return folder


@pytest.fixture
def inside(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(project)
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    return project


@pytest.fixture
def edited(project: Path) -> Iterator[Callable[[str, str, str], None]]:
    """Edits files of the project, which are as they were afterwards."""
    before: dict[Path, str] = {}

    def change(name: str, old: str, new: str) -> None:
        before.setdefault(project / name, (project / name).read_text())
        edit(project, old, new, name)

    yield change
    for path, text in before.items():
        path.write_text(text)


def commit(folder: Path) -> None:
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost"]
    subprocess.run(["git", "add", "-A"], cwd=folder, check=True)
    subprocess.run([*git, "commit", "-q", "-m", "start"], cwd=folder, check=True)


def edit(folder: Path, old: str, new: str, name: str = "params.yaml") -> None:
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1))


def account(project: Path, stage: str = "pretrain") -> Account:
    (folder,) = (project / ".jokbo/records" / stage).iterdir()
    return Account.load(folder)


def left(project: Path) -> dict[str, Any]:
    """What no rerun may touch."""
    folders = (
        "dvc.lock",
        "models",
        "data",
        ".jokbo/checkpoints",
        ".jokbo/records",
        ".jokbo/timings",
        ".dvc/cache",
    )
    files = [path for name in folders for path in sorted([project / name, *(project / name).rglob("*")])]
    return {str(path): path.stat().st_mtime_ns for path in files if path.is_file()}


def reproduced(project: Path, *arguments: str, **environment: str) -> tuple[int, dict[str, Any], str]:
    """The exit status of `jokbo reproduce`, the verdict that MLflow has, and what was printed."""
    before = left(project)
    done = miniature.run(project, "jokbo.cli", "reproduce", *arguments, **environment)
    said = done.stdout + done.stderr
    assert left(project) == before, said
    assert not list((project / ".jokbo/reproduced").iterdir()), said
    client = MlflowClient(f"sqlite:///{project / '.jokbo/mlflow.db'}")
    experiment = client.get_experiment_by_name(tracking.EXPERIMENT).experiment_id
    original = account(project).record.run
    newest = client.search_runs([experiment], f"tags.`jokbo.reproduces` = '{original}'")[0]
    assert client.get_run(original).data.tags["jokbo.reproduced_by"] == newest.info.run_id, said
    file = client.download_artifacts(newest.info.run_id, "reproduction.json", str(project / ".jokbo"))
    return done.returncode, json.loads(Path(file).read_text()), said


def test_without_a_change_it_is_identical(project: Path) -> None:
    """The reruns have the parameters and the file that were in no commit; a model's folder names its run too."""
    found = account(project)
    assert found.record.changes["untracked"] == ["jokbo/training/own.py", "notes.txt"]
    assert "nobody's business" not in found.diff
    assert [mark[0] for mark in found.trails["pretrain"]] == [1, 2, 4, 8]
    status, verdict, said = reproduced(project, "models/base", "--all")
    assert (status, verdict["outcome"], verdict["outs"]) == (0, "identical", []), said
    assert "environment: the same" in said
    assert [line for line in said.splitlines() if line.endswith(": identical")] == [
        f"jokbo: {name}: identical" for name in STAGES
    ]


@pytest.mark.parametrize(
    ("name", "old", "new", "where", "cause"),
    [
        (
            "params.yaml",
            "pretrain:\n  seed: 1",
            "pretrain:\n  seed: 2",
            (1, "batch"),
            "parameters: pretrain.seed: 1 -> 2",
        ),
        (
            "params.yaml",
            "adam_learning_rate: 0.006",
            "adam_learning_rate: 0.007",
            (2, "parameters"),
            "parameters: pretrain.training.optimizer.adam_learning_rate: 0.006 -> 0.007",
        ),
        (
            "jokbo/training/engine.py",
            "means = {key: torch.stack([part[key] for part in parts]).mean() for key in parts[0]}",
            "means = {key: torch.stack([part[key] for part in parts]).mean() * 1.5 for key in parts[0]}",
            (1, "loss"),
            "code: jokbo/training",
        ),
    ],
    ids=["seed", "learning rate", "code"],
)
def test_a_planted_change_is_found(
    project: Path,
    edited: Callable[[str, str, str], None],
    name: str,
    old: str,
    new: str,
    where: tuple[int, str],
    cause: str,
) -> None:
    """--here runs it with what stands in this folder now."""
    edited(name, old, new)
    status, verdict, said = reproduced(project, account(project).record.run, "--here")
    assert status == {"identical": 0, "same within tolerance": 3, "differs": 4}[verdict["outcome"]], said
    assert status in (3, 4)
    assert (verdict["where"]["last"], verdict["where"]["what"]) == where, said
    assert verdict["cause"] == [cause], said


def newer(place: Path, package: str, version: str, file: str, old: str, new: str) -> None:
    """Install another version of a package in a folder: links to all that it is, but for one file with one change."""
    found = importlib.util.find_spec(package)
    assert found is not None
    assert found.origin is not None
    installed, changed = Path(found.origin).parent, Path(file)
    for folder in changed.parents:
        (place / package / folder).mkdir(parents=True, exist_ok=True)
        for path in (installed / folder).iterdir():
            if path.relative_to(installed) not in (changed, *changed.parents):
                (place / package / folder / path.name).symlink_to(path)
    text = (installed / changed).read_text()
    assert text.count(old) == 1
    (place / package / changed).write_text(text.replace(old, new))
    about = place / f"{package}-{version}.dist-info/METADATA"
    about.parent.mkdir()
    about.write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")


def test_another_version_of_a_package_is_named_before_and_as_the_cause(project: Path, tmp_path: Path) -> None:
    """Of transformers, whose network is trained: its norm gives another number."""
    scaled = "hidden_states = hidden_states * torch.rsqrt(variance + self.variance_epsilon)"
    network = "models/llama/modeling_llama.py"
    newer(tmp_path, "transformers", "99.1.0", network, scaled, f"{scaled} * 1.01")
    status, verdict, said = reproduced(project, account(project).record.run, PYTHONPATH=str(tmp_path))
    named = f"environment: packages.transformers: {metadata.version('transformers')} -> 99.1.0"
    assert f"jokbo: {named}" in said
    assert status in (3, 4), said
    assert (verdict["where"]["last"], verdict["where"]["what"]) == (1, "loss")
    assert verdict["cause"] == [named]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (
            {"ATEN_CPU_CAPABILITY": "default"},
            {"variables.ATEN_CPU_CAPABILITY: none -> default"},
        ),
        ({"OMP_NUM_THREADS": "2"}, {"threads: 1 -> 2", "variables.OMP_NUM_THREADS: 1 -> 2"}),
    ],
    ids=["vectors", "threads"],
)
def test_another_environment_is_named_before_and_as_the_cause(
    project: Path, given: dict[str, str], named: set[str]
) -> None:
    status, verdict, said = reproduced(project, account(project).record.run, **given)
    lines = {f"environment: {line}" for line in named}
    assert lines <= {line.removeprefix("jokbo: ") for line in said.splitlines()}
    assert status in (3, 4), said
    assert verdict["where"]["what"] in ("loss", "parameters")
    assert lines <= {*verdict["cause"]}
    assert not [line for line in verdict["cause"] if not line.startswith("environment: ")]


def test_a_change_that_is_recorded_nowhere_has_an_unknown_cause(project: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(UNRECORDED)
    status, verdict, said = reproduced(project, account(project).record.run, PYTHONPATH=str(tmp_path))
    assert status in (3, 4), said
    assert (verdict["where"]["last"], verdict["where"]["what"]) == (1, "loss")
    assert verdict["cause"] == ["unknown"]


def test_what_cannot_be_reproduced_is_refused_in_one_line(inside: Path) -> None:
    record = account(inside).record
    client = MlflowClient(f"sqlite:///{inside / '.jokbo/mlflow.db'}")
    deleted = client.create_run(client.get_experiment_by_name(tracking.EXPERIMENT).experiment_id).info.run_id
    client.delete_run(deleted)
    other = client.create_run(client.create_experiment("other")).info.run_id
    for name, words in {
        "0" * 32: "no run of MLflow, registered model",
        deleted: "was deleted",
        other: "another project",
        "nonsense": "no run of MLflow, registered model",
        "name/7; rm -rf x": "no run of MLflow, registered model",
        "models": "name the folder of a model",
        "HEAD": "its dvc.lock says nothing of the stage report",
    }.items():
        with pytest.raises(InputError, match=words) as refused:
            origins.find(name, None)
        assert "\n" not in str(refused.value)
    with pytest.raises(InputError, match="leave it out"):
        origins.find(record.run, "align")


def test_a_commit_or_data_that_are_nowhere_are_refused_in_one_line(inside: Path, tmp_path: Path) -> None:
    there = account(inside)
    stranger = tmp_path / "clone"
    shutil.copytree(inside, stranger, ignore=shutil.ignore_patterns(".git", "cache", "data", "reproduced"))
    subprocess.run(["git", "init", "-q"], cwd=stranger, check=True)
    refused = miniature.run(stranger, "jokbo.cli", "reproduce", "models/base")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused.stderr
    assert f"its commit {there.record.commit[:12]} is not in this clone" in refused.stderr
    with worktree.laid_out(there.record.commit, there.diff, "", keep=False) as laid:
        lost = {**there.record.deps, "data/tokens": "0" * 32 + ".dir"}
        with pytest.raises(
            InputError, match=r"data/tokens as it was then \(00000000\): neither in DVC's cache"
        ):
            laid.bring(type(there.record)(**{**vars(there.record), "deps": lost}), set())
    assert not list((inside / ".jokbo/reproduced").iterdir())
