"""DVC killed while it writes dvc.lock: `python -m flows.dvc` leaves it whole, what plain `dvc` leaves is mended."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.frame import lockfile
from tests.conftest import Project

# DVC, or our way into it, killed when half of dvc.lock is written
DYING = """
import io, os, sys
from dvc.utils.serialize import _yaml
from {module} import main

def half(data, stream):
    if "finetune" not in data.get("stages", []):  # some other file of DVC's
        return whole(data, stream)
    whole(data, text := io.StringIO())
    stream.write(text.getvalue()[: text.tell() // 2])
    stream.flush()
    os.kill(os.getpid(), 9)

whole, _yaml._dump = _yaml._dump, half
sys.argv = ["dvc", "repro", "finetune"]
main({arguments})
"""


def _killed(project: Project, module: str, arguments: str = "") -> None:
    (project.folder / "dying.py").write_text(DYING.format(module=module, arguments=arguments))
    status, output = project.run("dying")
    assert status == -9, output
    assert "finetune starts at 0" in output


def _goes_on(project: Project) -> str:
    """Bring finetune up to date: what was said. It had ended, and is not trained again."""
    status, output = project.run("flows.dvc", "repro", "finetune")
    assert status == 0, output
    assert "starts at" not in output
    assert set(lockfile.parsed(lockfile.LOCK.read_text())) == {"pretrain", "finetune"}
    return output


def test_the_lock_is_whole_when_dvc_is_killed_while_it_writes_it(begun: Project) -> None:
    before = lockfile.LOCK.read_text()
    _killed(begun, "flows.dvc")
    assert lockfile.LOCK.read_text() == before
    assert "jokbo:" not in _goes_on(begun)


def test_a_lock_that_plain_dvc_left_half_written_is_mended(begun: Project) -> None:
    _killed(begun, "dvc.cli", "sys.argv[1:]")
    assert lockfile.parsed(lockfile.LOCK.read_text()) is None
    line, *_ = _goes_on(begun).splitlines()
    assert line.startswith(
        "jokbo: dvc.lock was half written by a DVC that was killed: it is as it was, from "
    )


def test_half_a_list_of_readers_is_no_obstacle(begun: Project) -> None:
    (begun.folder / ".dvc/tmp/rwlock").write_text('{"write": {"')
    status, output = begun.run("flows.dvc", "repro", "pretrain")
    assert status == 0, output


def test_a_stopped_dvc_leaves_no_file_half_written_beside_the_lock(begun: Project) -> None:
    _killed(begun, "flows.dvc")
    _goes_on(begun)
    assert not list(begun.folder.glob(".*.partial"))


LIMITED = """
import resource, sys
from flows.dvc import main
resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, resource.RLIM_INFINITY))
sys.argv = ["dvc", "repro", "pretrain"]
sys.exit(main())
"""


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A folder on another disk: within one, DVC's cache and the workspace share files, which takes no room."""
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("no second disk here")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def test_a_full_cache_is_one_line(project: Project, elsewhere: Path) -> None:
    project.run("dvc", "config", "cache.dir", str(elsewhere))
    unlimited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)\n"
    project.edit("standin.py", "NAME =", f"{unlimited}NAME =")
    project.edit("standin.py", ".write_bytes(", ".write_bytes(b'0' * 2**21 + ")
    (project.folder / "limited.py").write_text(LIMITED)
    status, output = project.run("limited")
    assert status == 2
    *_, line = output.splitlines()
    assert line.startswith("jokbo: ")
    assert str(elsewhere) in line
    assert "ERROR" not in output
    assert lockfile.LOCK.exists() is False  # nothing that the cache does not have is recorded
    assert not list(elsewhere.rglob("*.tmp"))
    status, output = project.run("flows.dvc", "repro", "pretrain")
    assert status == 0
    assert "pretrain starts at 3" in output  # goes on where it was, at its end
