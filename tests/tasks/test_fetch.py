"""Fetch as a stage of a project: what it leaves of a URL's secrets (nothing), and inputs that DVC cannot hash."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.support import miniature

PASSWORD, SIGNATURE = "p4ssw0rd-in-clear", "s1gnature-in-clear"
OF_THE_USER = {"params.yaml", "dvc.lock"}  # DVC's lock repeats the parameters as they are


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return miniature.build(tmp_path / "project")


@pytest.fixture
def server(project: Path) -> Iterator[int]:
    """Port of a server of this machine, of the project's own texts."""
    handler = partial(SimpleHTTPRequestHandler, directory=project / "data/local")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield serving.server_port
        serving.shutdown()


def name_in_params(project: Path, url: str) -> None:
    yaml = YAML()
    tree = yaml.load(project / "params.yaml")
    tree["fetch"]["sources"]["reviews"]["paths"] = url
    yaml.dump(tree, project / "params.yaml")


def shown(project: Path) -> list[str]:
    """The files of the project, the user's aside, in which a secret stands in clear."""
    files = [path for path in project.rglob("*") if path.is_file() and path.name not in OF_THE_USER]
    assert any(path.name == "mlflow.db" for path in files)
    return [
        str(path)
        for path in files
        if any(secret.encode() in path.read_bytes() for secret in (PASSWORD, SIGNATURE))
    ]


def test_no_secret_of_a_url_is_stored_or_shown(project: Path, server: int) -> None:
    url = f"http://me:{PASSWORD}@127.0.0.1:{server}/reviews.jsonl?X-Amz-Signature={SIGNATURE}"
    name_in_params(project, url)
    done = miniature.run(project, "tasks.fetch")
    assert done.returncode == 0, done.stderr
    assert "http://***@127.0.0.1" in (project / "data/raw/sources.json").read_text()
    assert shown(project) == []
    assert PASSWORD not in done.stdout + done.stderr
    assert SIGNATURE not in done.stdout + done.stderr


def test_what_dvc_cannot_hash_is_said_before_it_tries(project: Path) -> None:
    os.mkfifo(project / "data/local/odd.txt")
    said = "jokbo: data/local/odd.txt is no file (a pipe, a socket, a device?): take it out"
    for command in (["tasks.fetch"], ["flows.pipeline", "--until", "fetch"]):
        found = miniature.run(project, *command)
        assert (found.returncode, found.stderr.strip()) == (2, said)
