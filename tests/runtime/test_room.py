"""What is left of memory, within the limits that control groups set."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from jokbo.runtime import room

MB = 2**20


def group(folder: Path, version: int, limit: str, used: int, cached: int) -> None:
    names = room.FILES[version]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{names[2]} {cached}\n")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return tmp_path / "cgroup"


def test_a_group_leaves_its_limit_less_what_it_uses_and_cannot_give_up(tmp_path: Path, own: Path) -> None:
    own.write_text("0::/job\n")
    group(tmp_path / "job", 2, str(30 * MB), 20 * MB, 4 * MB)
    assert room.left(tmp_path, own) == 14 * MB


def test_the_group_that_leaves_least_counts(tmp_path: Path, own: Path) -> None:
    own.write_text("0::/slurm/job\n")
    group(tmp_path / "slurm", 2, str(20 * MB), 15 * MB, 0)
    group(tmp_path / "slurm/job", 2, "max", 15 * MB, 0)
    assert room.left(tmp_path, own) == 5 * MB


def test_groups_of_the_first_version_are_read_too(tmp_path: Path, own: Path) -> None:
    """In a container that sees only the top of them; other controllers have no say."""
    own.write_text("5:cpu:/docker/abc\n4:memory:/docker/abc\n0::/\n")
    group(tmp_path / "memory", 1, str(10 * MB), 9 * MB, 0)
    assert room.left(tmp_path, own) == MB


def test_more_than_the_limit_leaves_nothing(tmp_path: Path, own: Path) -> None:
    own.write_text("0::/\n")
    group(tmp_path, 2, str(10 * MB), 11 * MB, 0)
    assert room.left(tmp_path, own) == 0


def test_without_groups_it_is_what_the_machine_has_free(tmp_path: Path, own: Path) -> None:
    assert 0 < room.left(tmp_path, own) <= psutil.virtual_memory().total
