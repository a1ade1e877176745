"""The diff of a run: applied to its commit, it gives the code that ran; nothing that git does not know leaks."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from jokbo.runtime import changes
from jokbo.runtime.changes import collect, git

CRLF = b"one\r\ntwo\r\n"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "there"
    (folder / "jokbo").mkdir(parents=True)
    (folder / ".dvc").mkdir()
    (folder / "params.yaml").write_text("seed: 1\n")
    (folder / "jokbo/old.py").write_text("OLD = 1\n")
    (folder / "jokbo/crlf.txt").write_bytes(CRLF)
    (folder / "jokbo/image.bin").write_bytes(bytes(range(256)))
    (folder / ".dvc/config").write_text("[core]\n")
    (folder / "dvc.lock").write_text("a: 1\n")
    (folder / ".gitignore").write_text("ignored.py\n")
    monkeypatch.chdir(folder)
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run(["git", "add", "-A"], check=True)
    subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@h", "commit", "-q", "-m", "s"], check=True
    )
    return folder


def test_the_diff_gives_the_code_again(repository: Path, tmp_path: Path) -> None:
    (repository / "params.yaml").write_text("seed: 2\n")
    (repository / "jokbo/old.py").unlink()
    (repository / "jokbo/new.py").write_text("NEW = 'ß'\n")
    (repository / "jokbo/latin.py").write_bytes("# \xe9\n".encode("latin-1"))
    (repository / "jokbo/crlf.txt").write_bytes(CRLF + b"three\r\n")
    (repository / "jokbo/image.bin").write_bytes(bytes(reversed(range(256))))
    subprocess.run(["git", "add", "jokbo/new.py"], check=True)
    staged = git("status", "--porcelain")
    found = collect()
    assert git("status", "--porcelain") == staged
    assert found.untracked == ["jokbo/latin.py"]
    git("worktree", "add", "--detach", "--quiet", str(tmp_path / "other"), "HEAD")
    given = found.diff.encode("utf-8", "surrogateescape")
    subprocess.run(
        ["git", "apply", "--whitespace=nowarn", "-"], cwd=tmp_path / "other", input=given, check=True
    )
    for path in ("params.yaml", "jokbo"):
        ours, theirs = (_bytes(folder / path) for folder in (repository, tmp_path / "other"))
        assert ours == theirs


def _bytes(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in [path, *path.rglob("*")] if file.is_file()}


def test_keys_texts_of_the_user_and_what_runs_write_are_not_in_it(repository: Path) -> None:
    for name in ("data/local/diary.txt", ".env", "jokbo/ignored.py"):
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text("very private\n")
    (repository / ".dvc/config").write_text("[core]\npassword = very private\n")
    (repository / "dvc.lock").write_text("very private\n")
    (repository / "params.yaml").write_text("url: https://me:verysecret@host/?token=verysecret\n")
    found = collect([":(top,exclude,glob)**/dvc.lock"])
    assert found.untracked == [".env", "data/local/diary.txt"]
    assert "very private" not in found.diff
    assert "verysecret" not in found.diff
    assert found.hides
    assert "+url: https://***@host/?token=***" in found.diff


def test_what_is_too_long_is_left_out_and_said(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "LIMIT", 1000)
    (repository / "params.yaml").write_text("seed: 3\n")
    (repository / "jokbo/long.py").write_text("A = 1  # long\n" * 1000)
    found = collect()
    assert "seed: 3" in found.diff
    assert "# long" not in found.diff
    assert list(found.left_out) == ["jokbo/long.py"]
    (line,) = found.notes()
    assert line.startswith("left out of the diff, which may have 1,000 bytes: jokbo/long.py (")


def test_without_a_commit_it_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LookupError, match="not a git repository"):
        collect()
