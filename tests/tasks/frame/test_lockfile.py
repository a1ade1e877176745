"""What becomes of a dvc.lock that is not whole."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from jokbo.runtime.errors import InputError
from tasks.frame import lockfile
from tests.conftest import Project

ENTRY = "  {name}:\n    cmd: python -m {name}\n    deps:\n    - path: standin.py\n      md5: {hash}\n"
WHOLE = "schema: '2.0'\nstages:\n" + "".join(
    ENTRY.format(name=name, hash="0123456789abcdef" * 2) for name in ("pretrain", "finetune", "distill")
)


def _git(*arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@localhost", *arguments], check=True)


@pytest.fixture
def lock(project: Project) -> Path:
    """A whole dvc.lock, of which a copy is kept."""
    lockfile.LOCK.write_text(WHOLE)
    lockfile.settle()
    assert lockfile.COPY.read_text() == WHOLE
    return lockfile.LOCK


@pytest.mark.parametrize(
    "size", [0, 1, 14, 30, 60, 100, 150, len(WHOLE) // 2, len(WHOLE) - 1, WHOLE.index("  distill")]
)
def test_one_that_was_cut_short_is_put_back(
    lock: Path, size: int, capsys: pytest.CaptureFixture[str]
) -> None:
    lock.write_text(WHOLE[:size])
    lockfile.settle()
    assert lock.read_text() == WHOLE
    assert lockfile.BROKEN.read_text() == WHOLE[:size]
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("jokbo: dvc.lock was half written")


@pytest.mark.parametrize(
    "bytes", [b"\0" * 100, WHOLE.encode()[:40] + b"\xff\xfe\n", b"schema: '2.0'\nstages: 3\n"]
)
def test_one_that_is_no_lock_is_put_back(lock: Path, bytes: bytes) -> None:
    lock.write_bytes(bytes)
    lockfile.settle()
    assert lock.read_text() == WHOLE


def test_one_that_ends_within_an_entry_is_no_lock(lock: Path) -> None:
    """At the end of a line, where there is no copy that it is the beginning of."""
    for size in (WHOLE.rindex("      md5"), WHOLE.index("stages")):
        lockfile.COPY.unlink(missing_ok=True)
        lock.write_text(WHOLE[:size])
        lockfile.settle()
        assert not lock.exists()


def test_a_copy_that_is_cut_within_a_letter_is_no_obstacle(lock: Path) -> None:
    lockfile.COPY.write_bytes(WHOLE.encode() + "족".encode()[:2])
    lockfile.settle()
    assert lock.read_text() == lockfile.COPY.read_text() == WHOLE


def test_without_a_copy_that_of_git_is_taken(lock: Path) -> None:
    _git("add", "dvc.lock")
    _git("commit", "-q", "-m", "lock")
    lockfile.COPY.write_text(WHOLE[:50])  # no copy either
    lock.write_text(WHOLE[:70])
    lockfile.settle()
    assert lock.read_text() == WHOLE


def test_without_any_it_begins_anew(lock: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lockfile.COPY.unlink()
    lock.write_text(WHOLE[:70])
    lockfile.settle()
    assert not lock.exists()
    assert "begins anew" in capsys.readouterr().err


def test_a_merge_conflict_is_the_users(lock: Path) -> None:
    text = WHOLE.replace("  finetune:", "<<<<<<< HEAD\n  finetune:")
    lock.write_text(text)
    with pytest.raises(InputError, match=r"dvc.lock: line 8: a merge conflict"):
        lockfile.settle()
    assert lock.read_text() == text


def test_a_change_that_is_whole_is_kept(lock: Path) -> None:
    changed = WHOLE[: WHOLE.index("  distill")].replace("finetune", "reward")
    lock.write_text(changed)
    lockfile.settle()
    assert lock.read_text() == lockfile.COPY.read_text() == changed
