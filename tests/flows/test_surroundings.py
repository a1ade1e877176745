"""The flow in an unpacked source archive."""

from __future__ import annotations

import shutil

from tests.conftest import Project


def test_the_flow_runs_where_there_is_no_git_repository(served: Project) -> None:
    shutil.rmtree(served.folder / ".git")
    status, output = served.run("flows.pipeline", "--until", "pretrain")
    assert status == 0, output
    (run,) = served.runs("pretrain")
    assert run.data.tags["git.commit"].startswith("unknown (git: not a git repository")
