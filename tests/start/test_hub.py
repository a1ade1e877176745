"""A model of the hub: a server on loopback that answers as the hub does."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub.constants
import pytest
from transformers import AutoModelForCausalLM

from jokbo.params import FromHub
from jokbo.runtime.errors import InputError
from jokbo.start import adopt
from tests.data.conftest import project
from tests.support import adopted

__all__ = ["project"]
COMMIT, START = "a" * 40, Path("models/start")


@pytest.fixture
def hub(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    """A hub with one model, me/small, at one commit."""
    there = adopted.save(project / "served")
    (there / "own.py").write_text("raise SystemExit('run')")
    (there / "pytorch_model.bin").write_bytes(b"pickle")

    class Answers(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            path, resolved = self.path.split("?")[0], f"/me/small/resolve/{COMMIT}/"
            if path == f"/api/models/me/small/tree/{COMMIT}":
                files = [
                    {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": etag(file)}
                    for file in there.iterdir()
                ]
                self.send(json.dumps(files).encode(), body=body)
            elif path.startswith(resolved) and (there / path.removeprefix(resolved)).is_file():
                file = there / path.removeprefix(resolved)
                self.send(file.read_bytes(), body=body, ETag=f'"{etag(file)}"')
            else:
                self.send_response(404)
                code = "RevisionNotFound" if "/me/small/" in path else "RepoNotFound"
                self.send_header("X-Error-Code", code)
                self.send_header("Content-Length", "0")
                self.end_headers()

        def send(self, content: bytes, *, body: bool, **headers: str) -> None:
            self.send_response(200)
            for name, value in {
                "Content-Length": str(len(content)),
                "X-Repo-Commit": COMMIT,
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    constants, own = huggingface_hub.constants, f"http://127.0.0.1:{server.server_port}"
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, own)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", own)
    yield server
    server.shutdown()
    server.server_close()


def etag(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()


def adopt_it(**changes: str) -> None:
    settings = {"model": "me/small", "revision": COMMIT, **changes}
    adopt.adopt(FromHub(kind="hub", licence="MIT", context=64, **settings), Path("downloads"), START)


def test_a_model_of_the_hub_without_its_code_and_its_pickles(hub: ThreadingHTTPServer, project: Path) -> None:
    adopt_it()
    assert AutoModelForCausalLM.from_pretrained(START).num_parameters()
    fetched = {path.name for path in (project / "downloads").rglob("*")}
    assert "model.safetensors" in fetched
    assert not {"own.py", "pytorch_model.bin"} & fetched


def test_what_was_fetched_before_needs_no_hub(
    hub: ThreadingHTTPServer, capsys: pytest.CaptureFixture
) -> None:
    adopt_it()
    hub.shutdown()
    hub.server_close()
    adopt_it()
    assert "me/small@aaaaaaaaaaaa was fetched before: taken from downloads/hub" in capsys.readouterr().err


@pytest.mark.parametrize("changes", [{"model": "me/other"}, {"revision": "b" * 40}])
def test_a_model_or_a_commit_that_the_hub_does_not_have(
    hub: ThreadingHTTPServer, changes: dict[str, str]
) -> None:
    with pytest.raises(
        InputError, match=r"^me/\w+@\w+ cannot be fetched \(.*\): check the network, pretrain\.start"
    ) as found:
        adopt_it(**changes)
    assert "\n" not in str(found.value)
    assert not START.exists()


def test_a_hub_that_cannot_be_reached(hub: ThreadingHTTPServer) -> None:
    hub.shutdown()
    hub.server_close()
    with pytest.raises(InputError, match=r"^me/small@aaaaaaaaaaaa cannot be fetched"):
        adopt_it()
