"""`jokbo team init`: what a colleague's clone has of a remote and a server, and that git holds no secret."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from dvc.repo import Repo

from flows import seeds
from flows.project import team
from jokbo.team.comparing.estimates import over_seeds
from tests.reporting import findings
from tests.support.tracker import free_port, serving

CONFIG = "[core]\n    analytics = false\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of DVC in git with an optional graph, as the current folder."""
    folder = tmp_path / "project"
    for name in (".dvc/config", "family/.dvc/config"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(CONFIG)
        (folder / name).with_name(".gitignore").write_text("/config.local\n/tmp\n/cache\n")
    (folder / "dvc.yaml").write_text("stages: {}\n")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "start"]):
        subprocess.run([*git, *command], cwd=folder, check=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "600")  # no verdict hangs on how busy the machine is
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    return folder


def init(
    remote: str | None = None, endpoint: str | None = None, tracking: str | None = None, **more: bool
) -> None:
    team.init(remote, endpoint, tracking, **{"replace": False, **more})


def refusal(capsys: pytest.CaptureFixture[str], **given: str) -> str:
    """The one line by which `init` refuses what it is given."""
    with pytest.raises(SystemExit) as ended:
        init(**given)
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said.count("\n") == 1
    assert "s3cret" not in said
    return said


def _changed() -> list[str]:
    command = ["git", "status", "--porcelain"]
    return sorted(subprocess.run(command, capture_output=True, text=True).stdout.split()[1::2])


def test_a_remote_and_a_server_are_tried_then_written_shown_and_changed_only_when_asked(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    init()
    assert capsys.readouterr().out.count("nowhere") == 2
    files = [".dvc/config", "family/.dvc/config", "team.yaml"]
    with serving(free_port(), tmp_path) as uri:
        init(remote="../store", tracking=uri)
        said = capsys.readouterr().out
        assert said.splitlines() == [
            f"data and models  {tmp_path}/store: can be written and read",
            f"runs             {uri}: answers, and takes runs without a login",
            f"For your colleagues: git add {' '.join(files)} && git commit",
        ]
        assert not list((tmp_path / "store").iterdir())  # the probe is gone
        assert _changed() == files
        written = [(project / name).read_text() for name in files]
        assert all(f"url = {tmp_path}/store" in text for text in written[:2])
        assert f"tracking: {uri}" in written[2]
        init()
        assert capsys.readouterr().out.splitlines() == said.splitlines()[:2]
        other = f"{tmp_path}/other"
        assert f"add --replace to have {other} instead" in refusal(capsys, remote=other)
        assert [(project / name).read_text() for name in files] == written
        init(remote=other, replace=True)
        assert f"url = {other}" in (project / ".dvc/config").read_text()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"remote": "s3://key:s3cret-s3cret@bucket/x"}, "--remote is s3://***@bucket/x, with a secret in it"),
        ({"remote": "ssh://me:s3cret-s3cret@host/x"}, "--remote is ssh://***@host/x, with a secret in it"),
        (
            {"tracking": "http://me:s3cret-s3cret@127.0.0.1:5000"},
            "--tracking is http://***@127.0.0.1:5000, with",
        ),
        ({"tracking": "sqlite:///x.db"}, "a team's runs are at a server"),
        ({"tracking": "http://"}, "which names no host and port"),
        ({"remote": "/proc/nothing"}, "/proc/nothing: cannot be written ("),
        ({"remote": "x", "endpoint": "http://127.0.0.1:9"}, "only a remote at s3:// has one"),
        ({"remote": "nosuch://host/x"}, "nosuch://host/x: cannot be opened ("),
        ({"tracking": "http://127.0.0.1:9"}, "refused"),
    ],
)
def test_what_cannot_be_shared_is_one_line_and_nothing_is_written(
    project: Path, capsys: pytest.CaptureFixture[str], given: dict[str, str], words: str
) -> None:
    assert words in refusal(capsys, **given)
    assert not _changed()


def test_a_key_that_git_holds_is_refused_and_what_git_does_not_see_serves_the_optional_graphs_too(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    init(remote="../store")
    (project / ".dvc/config.local").write_text("['remote \"team\"']\n    verify = true\n")
    (project / ".dvc/config.local").chmod(0o600)
    init()
    local = project / "family/.dvc/config.local"
    assert "verify = true" in local.read_text()
    assert local.stat().st_mode & 0o777 == 0o600
    (project / ".dvc/config").write_text(
        f"{CONFIG}    remote = team\n['remote \"team\"']\n    url = s3://bucket/x\n"
        "    secret_access_key = s3cret-s3cret\n"
    )
    assert "remote team: git holds its secret_access_key: take it out" in refusal(capsys)


@pytest.fixture
def evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in which `evaluate` has ended, as the current folder."""
    monkeypatch.chdir(tmp_path)
    for name, text in {
        ".dvc/config": "[core]\n    no_scm = true\n    analytics = false\n",
        "dvc.yaml": "stages:\n  evaluate:\n    cmd: 'true'\n    params: [evaluate]\n"
        "    outs: [data/evaluation, metrics/evaluate.json]\n",
        "params.yaml": "evaluate: {seed: 1, prompts: 512}\n",
    }.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)
    for folder in ("data/evaluation", "metrics"):
        Path(folder).mkdir(parents=True)
    for file in ("data/evaluation/evaluation.json", "metrics/evaluate.json"):
        findings.evaluation().save(Path(file))
    with Repo() as repo:
        repo.commit("evaluate", force=True)
    return tmp_path


def test_a_model_is_judged_by_the_seeds_that_are_there_and_alike(evaluated: Path) -> None:
    alone = team.judged(Path("models/aligned"), team.Metric.good)
    assert (alone.metric, alone.value, alone.low, alone.seeds) == ("words/good", 0.84, 0.84 - 0.035, 1)
    lock = Path("dvc.lock").read_text()
    good = {1: 0.84, 2: 0.86, 3: 0.91}
    for seed, value in {**good, 4: 0.1}.items():
        own = seeds.folder_of(seed)
        (own / "metrics").mkdir(parents=True)
        evaluation = findings.evaluation()
        scores = evaluation.judges["words"].models
        scores["aligned"] = replace(scores["aligned"], good=value)
        evaluation.save(own / "metrics/evaluate.json")
        changed = lock.replace("seed: 1", f"seed: {seed}")
        (own / "dvc.lock").write_text(
            changed.replace("prompts: 512", "prompts: 64") if seed == 4 else changed
        )
    found = team.judged(Path("models/aligned"), team.Metric.good)
    expected = over_seeds([*good.values()])
    assert expected.reach is not None
    assert (found.metric, found.seeds, found.value) == ("words/good", 3, expected.value)
    assert (found.low, found.high) == (expected.value - expected.reach, expected.value + expected.reach)
