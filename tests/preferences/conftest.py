"""The folder in which tests of imported preferences put a user's files."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder data/local of an empty project, which is the current folder."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data/local"
    folder.mkdir(parents=True)
    return folder
