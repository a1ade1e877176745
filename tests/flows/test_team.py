"""`jokbo team init`: what a colleague's clone has of a remote and a server, and that git holds no secret."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.support.tracker import free_port, serving

INIT = ("flows.team", "init")


def _git(folder: Path) -> list[str]:
    return subprocess.run(
        ["git", "status", "--porcelain"], cwd=folder, capture_output=True, text=True
    ).stdout.split()


def test_a_remote_and_a_server_are_tried_then_written_shown_and_changed_only_when_asked(
    project: Project, tmp_path: Path
) -> None:
    status, output = project.run(*INIT)
    assert (status, output.count("nowhere")) == (0, 2)
    with serving(free_port(), tmp_path) as uri:
        asked = ("--remote", "../store", "--tracking", uri)
        status, output = project.run(*INIT, *asked)
        assert status == 0, output
        assert "git add .dvc/config team.yaml" in output
        assert output.count("\n") == 3
        assert f"{tmp_path}/store: can be written and read" in output
        assert f"runs             {uri}: answers, and takes runs without a login" in output
        assert not list((tmp_path / "store").iterdir())  # the probe is gone
        written = [(project.folder / name).read_text() for name in (".dvc/config", "team.yaml")]
        assert project.run(*INIT)[1].count("\n") == 2
        other = ("--remote", str(tmp_path / "other"))
        status, output = project.run(*INIT, *other)
        assert status == 2
        assert output.count("\n") == 1
        assert "add --replace to have" in output
        assert [(project.folder / name).read_text() for name in (".dvc/config", "team.yaml")] == written
        status, output = project.run(*INIT, *other, "--replace")
        assert status == 0, output
        assert f"url = {tmp_path}/other" in (project.folder / ".dvc/config").read_text()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            ("--remote", "s3://key:s3cret-s3cret@bucket/x"),
            "--remote is s3://***@bucket/x, with a secret in it",
        ),
        (("--remote", "ssh://me:s3cret-s3cret@host/x"), "--remote is ssh://***@host/x, with a secret in it"),
        (
            ("--tracking", "http://me:s3cret-s3cret@127.0.0.1:5000"),
            "--tracking is http://***@127.0.0.1:5000, with",
        ),
        (("--tracking", "sqlite:///x.db"), "a team's runs are at a server"),
        (("--tracking", "http://"), "which names no host and port"),
        (("--remote", "/proc/nothing"), "/proc/nothing: cannot be written ("),
        (("--remote", "x", "--endpoint", "http://127.0.0.1:9"), "only a remote at s3:// has one"),
        (("--remote", "nosuch://host/x"), "cannot be "),
        (("--tracking", "http://127.0.0.1:9"), "refused"),
    ],
)
def test_what_cannot_be_shared_is_one_line_and_nothing_is_written(
    project: Project, given: tuple[str, ...], words: str
) -> None:
    status, output = project.run(*INIT, *given)
    assert status == 2
    assert output.count("\n") == 1
    assert words in output
    assert "s3cret" not in output
    assert not _git(project.folder)


def test_a_key_that_stands_where_git_sees_it_is_refused_and_one_of_this_machine_serves_optional_graphs(
    project: Project, tmp_path: Path
) -> None:
    family = project.folder / "family/.dvc"
    family.mkdir(parents=True)
    (family / "config").write_text("[core]\n    analytics = false\n")
    dvc = ("dvc", "remote")
    project.run(*dvc, "add", "-q", "-d", "store", str(tmp_path / "store"))
    project.run(*dvc, "modify", "--local", "store", "verify", "true")
    status, output = project.run(*INIT)
    assert status == 0, output
    assert "git add family/.dvc/config" in output
    assert "url = " in (family / "config").read_text()
    assert "verify" in (family / "config.local").read_text()
    project.run(*dvc, "modify", "-q", "store", "url", "s3://bucket/x")
    project.run(*dvc, "modify", "-q", "store", "secret_access_key", "s3cret-s3cret")
    status, output = project.run(*INIT)
    assert status == 2
    assert output.startswith("jokbo: .dvc/config: remote store: git holds its secret_access_key: take it out")
    assert "s3cret" not in output
