"""A stage where git does not answer, and for a user whom the system does not know."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import Project

NOBODY = """
import pwd

def getpwuid(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")

pwd.getpwuid = getpwuid
"""


@pytest.fixture
def nameless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes whose user has neither a name nor a home, as `docker run -u 12345` has them."""
    (tmp_path / "nobody").mkdir()
    (tmp_path / "nobody/sitecustomize.py").write_text(NOBODY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "nobody"), prepend=":")
    for name in ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)


def _git_tags(project: Project) -> dict[str, str]:
    (run,) = project.runs("pretrain")
    return {key: value for key, value in run.data.tags.items() if key.startswith("git.")}


def test_where_git_answers_its_commit_is_recorded(project: Project) -> None:
    assert project.run("standin", "pretrain")[0] == 0
    tags = _git_tags(project)
    assert len(tags["git.commit"]) == 40
    assert tags["git.dirty"] in ("True", "False")


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ("no repository", "unknown (git: not a git repository"),
        ("another's repository", "unknown (git: detected dubious ownership in repository"),
        ("no program", "unknown (no git program: No such file"),
        ("nothing committed", "unknown (this project is in no commit)"),
    ],
)
def test_where_git_does_not_answer_the_stage_runs_and_says_what_it_does_not_know(
    project: Project, trouble: str, said: str
) -> None:
    git = project.folder / ".git"
    if trouble == "no repository":
        shutil.rmtree(git)
    elif trouble == "another's repository":
        project.environment["GIT_TEST_ASSUME_DIFFERENT_OWNER"] = "1"
    elif trouble == "no program":
        project.environment["PATH"] = ""
    else:
        (git / "index").unlink()
    status, output = project.run("standin", "pretrain")
    assert status == 0, output
    tags = _git_tags(project)
    assert tags["git.commit"].startswith(said)
    assert tags["git.dirty"] == "unknown"


@pytest.mark.usefixtures("nameless")
def test_a_user_without_a_name_and_a_home_gets_both(project: Project) -> None:
    status, output = project.run("standin", "pretrain")
    assert status == 0, output
    assert output.startswith(f"jokbo: HOME is now {project.folder}/.jokbo/home: there is none\n")
    assert project.runs("pretrain")


def test_a_home_that_is_not_there_is_replaced_and_one_that_is_stays(project: Project, tmp_path: Path) -> None:
    asked = "import jokbo, os; print(os.environ['HOME'])"
    (project.folder / "asked.py").write_text(asked)
    _, output = project.run("asked", HOME="/nowhere/at/all")
    home = f"{project.folder}/.jokbo/home"
    assert output == f"jokbo: HOME is now {home}: /nowhere/at/all can't be written to\n{home}\n"
    assert project.run("asked", HOME=str(tmp_path)) == (0, f"{tmp_path}\n")
