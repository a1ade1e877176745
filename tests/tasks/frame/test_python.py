"""The Python of a stage, wherever `dvc` is typed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Project

LAUNCHER = ROOT / "tasks/python"
BARE = "/usr/bin:/bin"  # no Python there has what stages need
DVC = Path(sys.executable).with_name("dvc")


@pytest.mark.parametrize("command", [("repro", "pretrain"), ("exp", "run", "--temp", "pretrain")])
def test_dvc_by_its_path_in_a_shell_without_the_environment(
    project: Project, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", BARE)
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    project.edit("dvc.yaml", "python -m standin pretrain", f"sh {LAUNCHER} -m standin pretrain")
    done = subprocess.run([DVC, *command], cwd=project.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pretrain starts at 0" in done.stdout


def test_without_any_it_says_so_in_one_line(tmp_path: Path) -> None:
    launcher = tmp_path / "tasks/python"  # of a checkout that has no .venv
    launcher.parent.mkdir()
    shutil.copy(LAUNCHER, launcher)
    # shells between, for what starts it is looked at as DVC is, and that is this test's own Python
    done = subprocess.run(
        ["sh", "-c", f"sh -c 'sh -c \"sh {launcher} -m tasks.prepare; exit \\$?\"; exit $?'; exit $?"],
        cwd=tmp_path,
        env={"PATH": BARE},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("jokbo: no Python with jokbo's packages")
