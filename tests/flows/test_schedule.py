"""When a scheduled run comes, and when it is skipped."""

from __future__ import annotations

import fcntl
import time
from datetime import UTC, datetime, timedelta

import pytest
from prefect import get_client
from prefect.client.schemas.responses import DeploymentResponse
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Scheduled

from flows.schedule import local_timezone, next_time
from jokbo.runtime.errors import InputError
from tests.conftest import Project, until

FLOW = "flows.pipeline"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch):
    def set_zone(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield set_zone
    monkeypatch.undo()
    time.tzset()


def test_three_o_clock_is_this_machines_in_summer_and_in_winter(clock) -> None:
    clock("America/New_York")
    assert local_timezone() == "America/New_York"
    came = next_time("0 3 * * *", local_timezone())
    assert came.hour == 3
    assert came.utcoffset() in (timedelta(hours=-4), timedelta(hours=-5))
    assert came == came.astimezone().replace(hour=3, minute=0)  # as this machine's clock has it


def test_a_zone_without_a_name_is_asked_for(clock) -> None:
    clock("XYZ-7:13")
    with pytest.raises(InputError, match=r"--timezone Europe/Berlin"):
        local_timezone()


@pytest.mark.parametrize(
    "cron", ["daily", "", "0 3 * *", "0 3 * * * *", "61 * * * *", "R 3 * * *", "0 0 30 2 *"]
)
def test_what_is_no_time_is_refused(cron: str) -> None:
    with pytest.raises(InputError, match=r"^--cron '.*[^\n]+$"):
        next_time(cron, "UTC")


def test_a_zone_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="--timezone Mars/Olympus: no such time zone"):
        next_time("0 3 * * *", "Mars/Olympus")


@pytest.mark.parametrize("flow", [FLOW, "flows.family"])
def test_what_is_no_time_is_one_line_before_anything_is_served(project: Project, flow: str) -> None:
    project.environment |= {"HOME": str(project.folder), "PREFECT_API_URL": "http://127.0.0.1:9/api"}
    status, output = project.run(flow, "serve", "--cron", "daily")
    assert status == 2
    assert (
        output
        == "jokbo: --cron 'daily' is no time: give five fields as in crontab, such as '0 3 * * *', or @daily\n"
    )


def test_of_several_late_runs_one_runs_and_none_meets_another_pipeline(
    served: Project, begun: Project, api: str
) -> None:
    """As after a night that the machine slept through."""
    serving = served.start(FLOW, "serve", "--cron", "0 3 * * *", "--timezone", "Asia/Seoul")
    with temporary_settings({PREFECT_API_URL: api}), get_client(sync_client=True) as client:

        def known() -> list[DeploymentResponse]:
            """Return those of this schedule: on this server other tests have served flows by the same name."""
            own = [found for found in client.read_deployments() if found.name == "local" and found.schedules]
            return [found for found in own if found.schedules[0].schedule.timezone == "Asia/Seoul"]

        until(lambda: bool(known()))
        (deployment,) = known()

        def begin(hours: float) -> str:
            due = datetime.now(UTC) - timedelta(hours=hours)
            state = Scheduled(scheduled_time=due)
            return client.create_flow_run_from_deployment(deployment.id, state=state).id

        def ended(runs: list[str]) -> bool:
            return all(client.read_flow_run(run).state.is_final() for run in runs)

        late = [begin(hours) for hours in (3, 2, 1)]
        until(lambda: ended(late))
        states = [client.read_flow_run(run).state for run in late]
        assert sorted(state.name for state in states) == ["Completed", "Skipped", "Skipped"]
        assert any("has begun since this run was due" in (state.message or "") for state in states)

        (served.folder / ".jokbo/locks").mkdir(parents=True, exist_ok=True)
        with open(served.folder / ".jokbo/locks/pipeline", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            busy = begin(0)
            until(lambda: ended([busy]))
        state = client.read_flow_run(busy).state
        assert (state.name, state.message.partition(":")[0]) == (
            "Skipped",
            "another pipeline runs in this folder",
        )
    serving.terminate()
    output, _ = serving.communicate()
    assert "Traceback" not in output
    assert (served.folder / "models/finetune").is_dir()
