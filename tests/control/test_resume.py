"""Runs that are killed, and go on."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch

from jokbo.control.job import Job, Outcome
from jokbo.control.settings import Setting
from jokbo.runtime.errors import InputError
from tests.conftest import until
from tests.control import made

KILLED = [made.ppo_of(), made.a2c_of(), made.a3c_of(workers=1)]


def killed(job: Job) -> None:
    """Begin the run in a process of its own, and kill that after it has saved."""
    child = os.fork()
    if not child:
        torch.set_num_threads(1)
        made.TRAINED[job.setting.own.kind](job)
        os._exit(0)
    until(job.checkpoint.exists)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def whole(job: Job) -> Outcome:
    return made.TRAINED[job.setting.own.kind](job)


@pytest.mark.parametrize("setting", KILLED, ids=lambda setting: setting.algorithm)
def test_killed_it_ends_with_the_same_bits(setting: Setting, tmp_path: Path) -> None:
    job = made.job(setting, tmp_path / "killed", steps=4096)
    killed(job)
    at = job.restored()[0].steps
    assert 0 < at < 4096
    found, expected = whole(job), whole(made.job(setting, tmp_path / "whole", steps=4096))
    assert found.digest() == expected.digest()
    assert found.record == expected.record


def test_several_workers_go_on_from_where_all_rested(tmp_path: Path) -> None:
    job = made.job(made.a3c_of(workers=3), tmp_path, steps=4096)
    killed(job)
    before, kept = job.restored()
    found = whole(job).record
    assert found.steps >= 4096
    assert found.episodes[: len(before.episodes)] == before.episodes
    assert sum(each["update"] for each in kept["workers"]) * 16 == before.steps


def test_a_checkpoint_that_is_not_whole_is_one_line(tmp_path: Path) -> None:
    job = made.job(made.a2c_of(), tmp_path, steps=64)
    whole(job)
    job.checkpoint.write_bytes(job.checkpoint.read_bytes()[:200])
    with pytest.raises(InputError, match=r"checkpoint\.pt: not whole .*: remove it to train anew"):
        whole(job)
