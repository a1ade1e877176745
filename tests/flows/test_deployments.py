"""Deployments on a real server: a worker of a process pool runs them, with the values that a run is given."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect import get_client
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
)
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Pending, Scheduled

from flows import deployments, server
from jokbo.runtime.errors import BAD_INPUT
from tests.conftest import ROOT, Project, until
from tests.flows.conftest import alive

DEPLOYMENTS = "flows.deployments"
POOL = ("--pool", "test")


@pytest.fixture
def whole(served: Project) -> Project:
    """A project that has code of its own, as copies of it need; its stages take seconds, not to be over at once."""
    for name in ("jokbo", "tasks", "flows"):
        shutil.copytree(ROOT / name, name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".dvcignore", ".")
    shutil.move("standin.py", "tasks/standin.py")
    text = Path("dvc.yaml").read_text().replace("standin.py", "tasks/standin.py")
    Path("dvc.yaml").write_text(text.replace("-m standin", "-m tasks.standin"))
    served.environment.update(STEPS="200", PAUSE="0.02", PREFECT_WORKER_QUERY_SECONDS="1")
    return served


def started(client: SyncPrefectClient, name: str, **parameters: Any) -> UUID:
    """Trigger a deployment, as the button of Prefect's page does."""
    deployment = client.read_deployment_by_name(name)
    return client.create_flow_run_from_deployment(deployment.id, parameters=parameters).id


def ended(client: SyncPrefectClient, run: UUID) -> tuple[str, str]:
    """Return the state that a run comes to, and its message."""
    until(lambda: client.read_flow_run(run).state.is_final())
    state = client.read_flow_run(run).state
    return state.name, state.message or ""


def test_a_worker_runs_what_is_triggered_and_a_run_that_is_killed_is_crashed(
    whole: Project, api: str
) -> None:
    status, output = whole.run(DEPLOYMENTS, "register", *POOL, "--timezone", "Asia/Seoul")
    assert status == 0, output
    nightly = f"chain/{whole.folder.name}-nightly"
    assert [nightly, f"chain/{whole.folder.name}-new-data", f"family/{whole.folder.name}-weekly"] == [
        line for line in output.splitlines() if "/" in line.partition(" ")[0]
    ]
    before = Path("params.yaml").read_bytes()
    worker = whole.start(DEPLOYMENTS, "work", *POOL)
    with temporary_settings({PREFECT_API_URL: api}), get_client(sync_client=True) as client:
        refused = (
            BAD_INPUT,
            "jokbo: --notify custom-webhook/team: the server has no such block: make it on Prefect's",
        )
        status, output = whole.run(DEPLOYMENTS, "register", *POOL, "--notify", "custom-webhook/team")
        assert (status, output[: len(refused[1])], output.count("\n")) == (*refused, 1)

        deployment = client.read_deployment_by_name(nightly)
        assert deployment.schedules[0].schedule.cron == "0 3 * * *"
        assert deployment.global_concurrency_limit.limit == 1

        # with another value, in a copy; that one like it is due tomorrow, as a schedule has it, is no reason to skip it
        asked = {"set": {"pretrain.seed": 7}, "until": "pretrain"}
        tomorrow = Scheduled(scheduled_time=datetime.now(UTC) + timedelta(days=1))
        client.create_flow_run_from_deployment(deployment.id, parameters=asked, state=tomorrow)
        run = started(client, nightly, **asked)
        assert ended(client, run) == ("Completed", "")
        assert client.read_flow_run(run).name.startswith("pretrain.seed 7, chain until pretrain")
        of_run = ArtifactFilter(key=ArtifactFilterKey(any_=["result"]))
        artifacts = client.read_artifacts(artifact_filter=of_run)  # other tests' too
        assert any(
            "| pretrain | ran | " in each.data
            and "[MLflow](http://127.0.0.1:5000/#/experiments/" in each.data
            and each.description.startswith("chain until pretrain")
            for each in artifacts
        )
        (copy,) = Path(".jokbo/sets").iterdir()
        assert json.loads((copy / "set.json").read_text()) == {"pretrain.seed": 7}
        assert (copy / "models/pretrain/model.safetensors").exists()
        assert not Path("models").exists()
        assert Path("params.yaml").read_bytes() == before
        (found,) = whole.runs("pipeline")
        assert found.data.params["pretrain.seed"] == "7"

        # what it can't use
        run = started(client, nightly, set={"pretrain.sed": 7})
        name, message = ended(client, run)
        assert name == "BadInput"
        assert message.startswith("`set`: params.yaml has no pretrain.sed: ")

        # one that is killed
        run = started(client, nightly, until="pretrain")
        until(lambda: any(whole.folder.glob(".jokbo/checkpoints/pretrain/*/step")))
        (flow,) = [each for each in alive(whole.folder) if each.cmdline()[1:] == ["-m", "prefect.engine"]]
        flow.kill()
        assert ended(client, run)[0] == "Crashed"
    worker.terminate()
    worker.communicate()


@pytest.fixture(scope="module")
def whole_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with its services: what schedules, and acts on events."""
    port = server._free_port()
    url = f"http://127.0.0.1:{port}/api"
    environment = {
        **os.environ,
        "PREFECT_HOME": str(tmp_path_factory.mktemp("whole")),
        "PREFECT_API_URL": url,
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--no-ui", "--port", str(port)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        until(lambda: _answers(url) or process.poll() is not None)
        yield url
        process.terminate()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").is_success
    except httpx.TransportError:
        return False


@pytest.fixture
def inbox() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """The address of a web hook on loopback, and what it was sent."""
    messages: list[dict[str, str]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as hook:
        Thread(target=hook.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{hook.server_port}", messages
        hook.shutdown()


@pytest.mark.slow
def test_new_data_start_a_run_and_one_whose_machine_is_gone_is_crashed_and_somebody_is_told(
    whole: Project, whole_server: str, inbox: tuple[str, list[dict[str, str]]]
) -> None:
    whole.environment["PREFECT_API_URL"] = whole_server
    address, messages = inbox
    with temporary_settings({PREFECT_API_URL: whole_server}):
        told = {"subject": "{{subject}}", "body": "{{body}}"}
        CustomWebhookNotificationBlock(name="team", url=address, json_data=told).save("team")
    notify = ("--notify", "custom-webhook/team")
    for _ in range(2):  # told once, however often it is registered
        status, output = whole.run(DEPLOYMENTS, "register", *POOL, "--timezone", "Asia/Seoul", *notify)
        assert status == 0, output
    whole.environment["STEPS"] = "100000"
    worker = whole.start(DEPLOYMENTS, "work", *POOL)
    with temporary_settings({PREFECT_API_URL: whole_server}), get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(f"chain/{whole.folder.name}-new-data")
        of = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment.id]))
        assert client.read_flow_runs(flow_run_filter=of) == []
        status, output = whole.run(DEPLOYMENTS, "new-data")
        assert status == 0, output
        until(lambda: any(whole.folder.glob(".jokbo/checkpoints/pretrain/*/step")))
        (run,) = client.read_flow_runs(flow_run_filter=of)
        until(lambda: client.read_flow_run(run.id).state_name == "Running")
        time.sleep(2 * deployments.BEAT_SECONDS)  # for it to have shown life
        worker.kill()
        for process in alive(whole.folder):
            process.kill()
        assert ended(client, run.id) == ("Crashed", "it has shown no sign of life")
        name = client.read_flow_run(run.id).name
    until(lambda: messages)
    (message,) = messages
    assert message["subject"] == f"{name}: Crashed"
    assert message["body"].startswith("it has shown no sign of life\nhttp")


@pytest.mark.slow
def test_a_run_whose_worker_was_killed_before_it_began_is_crashed(whole: Project, whole_server: str) -> None:
    whole.environment["PREFECT_API_URL"] = whole_server
    status, output = whole.run(DEPLOYMENTS, "register", *POOL, "--timezone", "Asia/Seoul")
    assert status == 0, output
    with temporary_settings({PREFECT_API_URL: whole_server}), get_client(sync_client=True) as client:
        (known,) = client.read_automations_by_name(deployments.UNBEGUN)
        client.update_automation(known.id, deployments.unbegun(seconds=10))  # not ten minutes
        deployment = client.read_deployment_by_name(f"chain/{whole.folder.name}-nightly")
        # what a worker says before it starts a process; there is none that would
        run = client.create_flow_run_from_deployment(deployment.id, state=Pending()).id
        assert ended(client, run) == ("Crashed", "its worker has not begun it")
