"""Prefect's server: the user's own, which may not be there, and a temporary one, which may be killed."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import httpx
import psutil
import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL, temporary_settings

from flows.server import NoServer, check, shown_address
from jokbo.runtime.errors import InputError
from tests.conftest import Project, until

FLOW = "flows.pipeline"
GONE = "http://127.0.0.1:9/api"


@pytest.mark.parametrize(
    "url", ["127.0.0.1:4200/api", "localhost:4200/api", "ftp://x/api", "http://[", "4200"]
)
def test_what_is_no_address_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(InputError, match=r"^PREFECT_API_URL=[^\n]*http://127.0.0.1:4200/api$"):
        check(url)


def test_an_address_where_no_prefect_is_is_told_in_one_line_without_its_password(api: str) -> None:
    with pytest.raises(
        NoServer, match=r"^PREFECT_API_URL=http://\*\*\*@127.0.0.1:9/api: [^\n]*refused[^\n]*$"
    ):
        check("http://user:geheim@127.0.0.1:9/api")
    with pytest.raises(NoServer, match="it answers 404: is that Prefect"):
        check(api.removesuffix("/api"))
    check(api)


def test_a_server_that_is_gone_is_one_line_before_anything_starts(project: Project) -> None:
    project.environment |= {"HOME": str(project.folder), "PREFECT_API_URL": GONE}
    status, output = project.run(FLOW)
    assert status == 1
    assert output.count("\n") == 1
    assert output.startswith(f"jokbo: PREFECT_API_URL={GONE}: ")
    assert not (project.folder / "models").exists()


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "socks5://127.0.0.1:9"])
def test_no_proxy_stands_before_servers_of_this_machine(api: str, proxy: str) -> None:
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    environment = {**os.environ, **dict.fromkeys(names, proxy), "NO_PROXY": "corp.example, b"}
    environment.pop("no_proxy", None)
    code = f"""
import os, urllib.request
from flows.server import check
check({api!r})
if os.environ.get("HTTP_PROXY", "http").startswith("http"):
    urllib.request.urlopen({api!r} + "/health")
    import requests; requests.get({api!r} + "/health").raise_for_status()
print(os.environ["NO_PROXY"])
"""
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout == "corp.example,b,127.0.0.1,localhost\n", done.stderr
    said = [f"jokbo: {name}={proxy} is not used: `pip install socksio` for such a proxy" for name in names]
    assert sorted(done.stderr.splitlines()) == (sorted(said) if proxy.startswith("socks") else [])


def test_no_page_of_the_web_can_use_a_temporary_server(api: str) -> None:
    """Neither one whose name was made to lead here (DNS rebinding), nor one that asks 127.0.0.1 itself."""
    assert httpx.get(f"{api}/health", headers={"Host": "evil.example"}).status_code == 400
    answer = httpx.get(f"{api}/health", headers={"Origin": "http://evil.example"})
    assert "access-control-allow-origin" not in answer.headers


def test_the_address_that_prefect_prints_is_without_password(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "http://me:s3cret@127.0.0.1:4200/api"
    with temporary_settings({PREFECT_API_URL: url}):
        with temporary_settings(shown_address()):
            assert PREFECT_UI_URL.value() == "http://127.0.0.1:4200"
        with temporary_settings({PREFECT_UI_URL: "https://own"}), temporary_settings(shown_address()):
            assert PREFECT_UI_URL.value() == "https://own"


def test_a_database_of_prefect_that_is_damaged_is_moved_aside(
    begun: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_HOME", raising=False)  # importing flows has set it
    begun.environment["HOME"] = str(begun.folder)
    database = begun.folder / ".jokbo/prefect/prefect.db"
    database.parent.mkdir(parents=True)
    with closing(sqlite3.connect(database)) as store:
        store.execute("CREATE TABLE run AS SELECT zeroblob(100000) AS state")
        store.commit()
    os.truncate(database, database.stat().st_size // 2)
    status, output = begun.run(FLOW, "--until", "finetune")
    assert status == 0, output
    assert "prefect.db is damaged: it is kept as prefect.db.damaged" in output


def test_a_temporary_server_that_is_killed_is_started_again(tmp_path: Path) -> None:
    code = """
import sys
from prefect.settings import PREFECT_API_URL
from flows.server import leave_if_gone, server
with server():
    for line in sys.stdin:
        leave_if_gone()
        print(PREFECT_API_URL.value(), flush=True)
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path)}
    environment.pop("PREFECT_API_URL", None)
    with subprocess.Popen([sys.executable, "-c", code], env=environment, cwd=tmp_path, **pipes) as flow:
        addresses, servers = [], []
        for _ in range(2):
            flow.stdin.write("\n")
            flow.stdin.flush()
            addresses.append(flow.stdout.readline())
            (server,) = psutil.Process(flow.pid).children()
            servers.append(server)
            server.kill()
        assert addresses[0] == addresses[1] != ""
        until(lambda: servers[1] not in psutil.Process(flow.pid).children())
        flow.kill()
        assert (
            flow.stderr.readline()
            == f"jokbo: Prefect's server ended ({-signal.SIGKILL}): starting it again\n"
        )
    until(lambda: not [process for process in psutil.process_iter() if _of(process, addresses[0])])


def _of(process: psutil.Process, address: str) -> bool:
    try:
        return process.cmdline()[1:] == ["-m", "flows.server", address.rpartition(":")[2].partition("/")[0]]
    except psutil.Error:
        return False


def test_stages_go_on_without_the_users_server_and_one_line_tells(project: Project, tmp_path: Path) -> None:
    project.environment["PREFECT_HOME"] = str(tmp_path)
    (project.folder / "impatient.py").write_text(
        "from flows import server\nserver.RETURN_SECONDS = 1.0\nfrom flows.pipeline import app\napp()\n"
    )
    with psutil.Popen([sys.executable, "-m", "flows.server", "0"], stderr=subprocess.PIPE, text=True) as own:
        while "running on" not in (line := own.stderr.readline()):
            assert line
        project.environment["PREFECT_API_URL"] = line.split("running on ")[1].split()[0] + "/api"
        flow = project.start("impatient", "--until", "finetune", PAUSE="0.2", STEPS="20")
        until(lambda: any(project.folder.glob(".jokbo/checkpoints/pretrain/*/step")))
        own.kill()
    output, _ = flow.communicate()
    assert flow.returncode == 1
    assert "Traceback" not in output
    assert output.splitlines()[-1].startswith("jokbo: Prefect was not told how this ended: PREFECT_API_URL=")
    assert (project.folder / "models/finetune").is_dir()
    assert [run.info.status for run in project.runs("pipeline")] == ["FINISHED"]
