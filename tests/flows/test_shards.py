"""The shards of a data stage over a local Dask cluster: the same code and the same bytes as without one."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import psutil
import pytest

from flows.shards import task_runner
from jokbo.runtime.errors import InputError
from tests.support import miniature

pytest.importorskip("prefect_dask")
OUTS = ("data/documents", "data/judge", "data/tokenizer", "data/tokens", "reports")


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for out in OUTS for path in (folder / out).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def cluster() -> str:
    """The address of a Dask scheduler with two workers, each a process of its own."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as started:
        yield started.scheduler_address


def test_a_stage_puts_together_what_a_cluster_worked_on(tmp_path: Path, cluster: str, api: str) -> None:
    alone, spread = tmp_path / "alone", miniature.build(tmp_path / "spread")
    repro(spread, "fetch")
    shutil.copytree(spread, alone)
    repro(alone, "tokenize")
    for stage in ("prepare", "tokenize"):
        ahead = miniature.run(spread, "flows.shards", stage, "--address", cluster, PREFECT_API_URL=api)
        assert ahead.returncode == 0, ahead.stderr
        work = {
            path: path.stat().st_mtime_ns for path in spread.glob(f".jokbo/checkpoints/{stage}/*/*/*.json")
        }
        assert work
        repro(spread, "--single-item", stage)
        assert {path: path.stat().st_mtime_ns for path in work} == work
    assert digests(spread) == digests(alone)


def repro(folder: Path, *arguments: str) -> None:
    done = miniature.run(folder, "dvc", "repro", *arguments)
    assert done.returncode == 0, done.stderr


def test_a_cluster_of_this_machine_listens_on_loopback_alone() -> None:
    runner = task_runner("dask", None)
    with runner.duplicate():
        process = psutil.Process()
        tree = [process, *process.children(recursive=True)]
        sockets = [socket for each in tree for socket in each.net_connections("inet")]
    assert [socket for socket in sockets if socket.laddr.ip not in ("127.0.0.1", "::1")] == []


def test_a_runner_that_is_not_installed_is_named() -> None:
    with pytest.raises(InputError, match="--runner ray needs a package: pip install prefect-ray"):
        task_runner("ray", None)
