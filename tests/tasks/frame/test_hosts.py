"""A training on two hosts: the weights of one host, one line where they can't work together, and one host lost."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from jokbo.runtime import launcher
from tests.conftest import ROOT, Project, until
from tests.flows.conftest import alive
from tests.support import hosts, miniature
from tests.support.hosts import Host

TRAINER = """
import os, time
from contextlib import ExitStack
from pathlib import Path
import torch
from safetensors.torch import save_file
from jokbo.models import causal
from jokbo.runtime import launcher
from jokbo.training.engine import train
from tasks.frame.stage import leads, run_stage
from tests.support.networks import network, tokens, training

def batch_at(step):
    tokens_BS = tokens(8, seed=step)
    return {"tokens_BS": tokens_BS, "weights_BT": torch.ones(8, tokens_BS.shape[1] - 1)}

def held_up(step):
    if step == 3 and "HOLD" in os.environ:
        Path(f"there-{launcher.rank()}").touch()
        while not Path("go").exists():
            time.sleep(0.05)

def body(stage):
    objective = causal.NextToken(network())
    train(objective, batch_at, training(5), stage.job(), after_step=held_up)
    if leads():
        Path("models/pretrain").mkdir(parents=True, exist_ok=True)
        weights = {name: each.detach().clone() for name, each in objective.state_dict().items()}
        save_file(weights, "models/pretrain/model.safetensors")

if __name__ == "__main__":
    run_stage("pretrain", body, parallel=True)
"""
ADDRESS = "10.77.0.1"  # of the first host
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}


@pytest.fixture
def both() -> Iterator[tuple[Host, Host]]:
    with ExitStack() as stack:
        try:
            made = stack.enter_context(hosts.two())
        except hosts.NoHosts as why:
            pytest.skip(f"no two hosts here: {why}")
        yield made


@pytest.fixture
def trainer(project: Project) -> Project:
    """A project that trains in two ranks from outside."""
    (project.folder / "trainer.py").write_text(TRAINER)
    for old, new in (("processes: 1", "processes: 2"), ("checkpoint_seconds: 30", "checkpoint_seconds: 0")):
        project.edit("params.yaml", old, new)
    project.edit("params.yaml", "zero_stage: 0", "zero_stage: 2")
    return project


def weights() -> str:
    return hashlib.sha256(Path("models/pretrain/model.safetensors").read_bytes()).hexdigest()


def rank(
    project: Project, number: int, *before: str, folder: Path | None = None, **more: str
) -> subprocess.Popen[str]:
    """Start a rank of the training as Slurm's srun would, with `before` its command."""
    place = {"RANK": str(number), "WORLD_SIZE": "2", "MASTER_ADDR": ADDRESS, "MASTER_PORT": "29511"}
    process = subprocess.Popen(
        [*before, sys.executable, "-m", "trainer"],
        cwd=folder or project.folder,
        env={**os.environ, **ENVIRONMENT, **place, **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    project.started.append(process)
    return process


def lines(process: subprocess.Popen[str]) -> list[str]:
    """Return what jokbo said on stderr by the time that the process ended."""
    _, said = process.communicate()
    assert "Traceback" not in said, said
    return [line for line in said.splitlines() if line.startswith("jokbo: ")]


def test_a_host_that_is_lost_ends_the_other_and_both_go_on_to_the_weights_of_one_host(
    trainer: Project, both: tuple[Host, Host]
) -> None:
    status, output = trainer.run("trainer", **ENVIRONMENT)
    assert status == 0, output
    alone = weights()
    shutil.rmtree("models")
    shutil.rmtree(".jokbo/checkpoints")
    trainer.edit("params.yaml", "launcher: own", "launcher: external")

    ranks = [rank(trainer, number, *host.here(), HOLD="") for number, host in enumerate(both)]
    until(lambda: all(Path(f"there-{n}").exists() for n in (0, 1)) or any(each.poll() for each in ranks))
    both[1].lose()
    Path("go").touch()
    assert ranks[1].wait() == -9
    (line,) = lines(ranks[0])
    assert ranks[0].returncode == launcher.LOST
    assert line.startswith("jokbo: pretrain: rank 0 of 2 lost another one (")
    assert line.endswith("run the same command on every host, and it goes on from the last checkpoint")

    ranks = [rank(trainer, number, *host.here()) for number, host in enumerate(both)]
    output, said = ranks[0].communicate()
    assert ranks[0].returncode == 0, said
    assert "pretrain: 5 steps, from step 2 on" in output
    assert weights() == alone
    # of this host's name and of the other one's: a run that goes on where rank 0 is another host is one of its own
    assert [run.info.status for run in trainer.runs("pretrain")] == ["FINISHED", "FINISHED"]


def test_ranks_end_with_a_torchrun_that_is_killed(trainer: Project) -> None:
    trainer.edit("params.yaml", "launcher: own", "launcher: external")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    run = ["torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1"]
    more = {name: value for name, value in ENVIRONMENT.items() if not name.startswith("LOCAL")}
    torchrun = trainer.start(*run, "--master-port", str(port), "-m", "trainer", HOLD="", **more)
    until(lambda: all(Path(f"there-{n}").exists() for n in (0, 1)) or torchrun.poll() is not None)
    torchrun.kill()
    assert torchrun.wait() == -9
    until(lambda: not alive(trainer.folder))  # pytest's own time limit ends those that hold on for ever


@pytest.mark.parametrize(
    ("edited", "said"),
    [
        (False, "/.jokbo/checkpoints/pretrain: rank 1, on host "),
        pytest.param(True, "standin.py is another for rank 1, on host ", marks=pytest.mark.slow),
    ],
)
def test_hosts_with_folders_of_their_own_are_refused(
    trainer: Project, tmp_path: Path, edited: bool, said: str
) -> None:
    """Without a disk that both see, or with other code there."""
    trainer.edit("params.yaml", "launcher: own", "launcher: external")
    other = shutil.copytree(trainer.folder, tmp_path / "other", symlinks=True)
    if edited:
        (other / "standin.py").write_text("# another commit\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    more = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_WORLD_SIZE": "2"}
    ranks = [rank(trainer, 0, **more), rank(trainer, 1, folder=other, **more)]
    for process in ranks:
        (line,) = lines(process)
        assert process.returncode == 2
        assert said in line
    assert not Path("models").exists()


def test_an_address_that_leads_to_this_host_alone_is_refused(trainer: Project) -> None:
    trainer.edit("params.yaml", "launcher: own", "launcher: external")
    process = rank(trainer, 0, MASTER_ADDR="127.0.1.1")
    assert lines(process) == [
        "jokbo: MASTER_ADDR in the environment is 127.0.1.1, which here is this host alone: give the address by which "
        "the other hosts reach it"
    ]
    assert process.returncode == 2


@pytest.fixture(scope="module")
def tokenized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The miniature, ready to be pretrained in two processes from outside."""
    folder = miniature.build(tmp_path_factory.mktemp("hosts") / "project")
    made = miniature.run(folder, "tests.support.forked", "tasks.fetch", "tasks.prepare", "tasks.tokenize")
    assert made.returncode == 0, made.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("zero_stage", [0, 1, 2, 3])
def test_torchrun_on_two_hosts_makes_the_weights_of_one(
    tokenized: Path, both: tuple[Host, Host], zero_stage: int
) -> None:
    model = tokenized / "models/base/model.safetensors"

    def fresh(kind: str) -> None:
        text = (tokenized / "params.yaml").read_text()
        for key, value in {"processes": 2, "launcher": kind, "zero_stage": zero_stage}.items():
            text = re.sub(rf"^  {key}: .*$", f"  {key}: {value}", text, flags=re.MULTILINE)
        (tokenized / "params.yaml").write_text(text)
        shutil.rmtree(tokenized / ".jokbo/checkpoints", ignore_errors=True)

    fresh("own")
    made = miniature.run(tokenized, "tasks.pretrain")
    assert made.returncode == 0, made.stderr
    alone = hashlib.sha256(model.read_bytes()).hexdigest()
    shutil.rmtree(model.parent)
    fresh("external")
    script = ["sh", str(ROOT / "deploy/torchrun.sh"), "pretrain", "2"]
    started = [
        subprocess.Popen(
            host.here([*script, str(number), ADDRESS]),
            cwd=tokenized,
            env={**miniature.environment(), "PYTHON": sys.executable},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number, host in enumerate(both)
    ]
    for process in started:
        output, _ = process.communicate()
        assert process.returncode == 0, output
    assert hashlib.sha256(model.read_bytes()).hexdigest() == alone
    assert "pretrain" not in miniature.run(tokenized, "dvc", "status", "pretrain").stdout  # DVC has been told
