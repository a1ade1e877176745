"""The ranks of a stage: one run, one line, no open door, and RANK counts only where params.yaml says so."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT, Project, until

TRAINER = """
import sys, time
from pathlib import Path
import torch
from jokbo.runtime.errors import InputError
from jokbo.runtime import launcher
from tasks.frame.stage import run_stage
from jokbo.training.engine import train
from tests.support.networks import network, tokens, training
from jokbo.models import causal

def batch_at(step):
    tokens_BS = tokens(8, seed=step)
    return {"tokens_BS": tokens_BS, "weights_BT": torch.ones(8, tokens_BS.shape[1] - 1)}

def looked_at(step):
    Path(f"there-{launcher.rank()}").touch()
    while not Path("go").exists():
        time.sleep(0.05)

def body(stage):
    train(causal.NextToken(network()), batch_at, training(3), stage.job(), after_step=looked_at)
    Path("models/pretrain").mkdir(parents=True, exist_ok=True)
    Path("models/pretrain/model.safetensors").write_bytes(b"")

if __name__ == "__main__":
    run_stage("pretrain", body, parallel=True)
"""
OURS = {"PYTHONPATH": str(ROOT)}  # where the trainer finds this folder
SERIAL = """
import standin
if __name__ == "__main__":
    standin.run_stage(standin.NAME, standin.body)
"""


@pytest.mark.parametrize("ranks", [1, 2])
def test_in_mid_training_no_process_listens_but_on_loopback(project: Project, ranks: int) -> None:
    """Whatever interface the environment asks for."""
    (project.folder / "trainer.py").write_text(TRAINER)
    project.edit("params.yaml", "processes: 1", f"processes: {ranks}")
    outward = next((name for name in psutil.net_if_addrs() if not name.startswith("lo")), "lo")
    process = project.start("trainer", **OURS, GLOO_SOCKET_IFNAME=outward)
    until(lambda: all(Path(f"there-{rank}").exists() for rank in range(ranks)) or process.poll() is not None)
    assert process.poll() is None, process.stdout.read()
    tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    assert len(tree) >= (1 if ranks == 1 else 3)
    sockets = [socket for each in tree for socket in each.net_connections("inet")]
    assert [socket for socket in sockets if socket.laddr.ip not in ("127.0.0.1", "::1")] == []
    Path("go").touch()
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert [run.info.status for run in project.runs("pretrain")] == ["FINISHED"]


def test_ranks_make_one_run_and_their_exit_status_is_the_stages(project: Project) -> None:
    project.edit("params.yaml", "processes: 1", "processes: 2")
    project.edit("standin.py", "    saved =", "    Path(f'rank-{launcher.rank()}').touch()\n    saved =")
    project.edit("standin.py", "from tasks", "from jokbo.runtime import launcher\nfrom tasks")
    status, output = project.run("standin", "pretrain")
    # the stand-in takes its name from the command line, which the launcher must pass on
    assert status == 0, output
    assert Path("rank-0").exists()
    assert Path("rank-1").exists()
    assert [run.info.status for run in project.runs("pretrain")] == ["FINISHED"]
    status, output = project.run("standin", "pretrain", WRONG="input")
    assert status == 2
    assert output.splitlines()[1:] == ["jokbo: rows.csv: no column `text`: name it in params.yaml"]


def test_a_rank_that_is_left_in_the_environment_counts_nowhere(project: Project) -> None:
    """As in a pod, or a shell that torchrun left: the stage takes its lock and has its run and its record."""
    status, output = project.run("standin", "pretrain", RANK="1", WORLD_SIZE="4", LOCAL_RANK="1")
    assert status == 0, output
    assert [run.info.status for run in project.runs("pretrain")] == ["FINISHED"]
    assert json.loads(Path(".jokbo/timings/pretrain.json").read_text())["key"]
    assert Path(".jokbo/locks/pretrain").exists()


def test_ranks_from_outside_make_one_run_of_a_training(project: Project) -> None:
    project.edit("params.yaml", "launcher: own", "launcher: external")
    project.edit("params.yaml", "processes: 1", "processes: 2")
    (project.folder / "trainer.py").write_text(TRAINER)
    Path("go").touch()
    torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    status, output = project.run(*torchrun, "trainer", **OURS, GLOO_SOCKET_IFNAME="lo")
    assert status == 0, output
    assert Path("there-0").exists()
    assert Path("there-1").exists()
    assert [run.info.status for run in project.runs("pretrain")] == ["FINISHED"]


PLACE = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}


def test_ranks_from_outside_leave_any_other_stage_to_the_first(project: Project) -> None:
    project.edit("params.yaml", "launcher: own", "launcher: external")
    project.edit("params.yaml", "processes: 1", "processes: 2")
    (project.folder / "serial.py").write_text(SERIAL)
    assert project.run("serial", "pretrain", **PLACE) == (
        0,
        "jokbo: pretrain: rank 0 alone does this stage\n",
    )
    assert not Path("models").exists()
    status, output = project.run("serial", "pretrain", **{**PLACE, "RANK": "0"})
    assert status == 0, output
    assert [run.info.status for run in project.runs("pretrain")] == ["FINISHED"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            dict.fromkeys(PLACE, ""),
            "RANK and LOCAL_RANK and WORLD_SIZE and MASTER_ADDR and MASTER_PORT are not",
        ),
        ({"WORLD_SIZE": ""}, "but WORLD_SIZE are not in the environment"),
        ({"WORLD_SIZE": "4"}, "compute.processes is 2, but WORLD_SIZE in the environment is 4"),
        ({"RANK": "first"}, "RANK in the environment is 'first'"),
        ({"RANK": "2"}, "RANK in the environment is 2: it must be below WORLD_SIZE, 2"),
    ],
)
def test_what_an_outside_launcher_does_not_say_is_one_line(
    project: Project, changes: dict[str, str], said: str
) -> None:
    project.edit("params.yaml", "launcher: own", "launcher: external")
    project.edit("params.yaml", "processes: 1", "processes: 2")
    status, output = project.run("standin", "pretrain", **{**PLACE, **changes})
    assert (status, output.count("\n")) == (2, 1)
    assert said in output
