"""The flows that run by themselves in this folder, as deployments of a Prefect server, and the worker that runs them.

`python -m flows.deployments register` tells the server of them: the chain each night, the comparison each week, and the
chain when there are new data. `... new-data` says that there are. `... work` runs on this machine what is due.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, cast
from uuid import UUID

import typer
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy, StateType
from prefect.deployments.runner import RunnerDeployment
from prefect.events import (
    AutomationCore,
    DeploymentEventTrigger,
    Event,
    EventTrigger,
    Resource,
    get_events_client,
)
from prefect.events.actions import ActionTypes, ChangeFlowRunState, SendNotification
from prefect.events.schemas.automations import Posture
from prefect.exceptions import ObjectNotFound
from prefect.schedules import Cron, Schedule
from prefect.types.entrypoint import EntrypointType
from prefect.workers.process import ProcessWorker

from flows.changed import chain
from flows.command import one_line
from flows.family import family
from flows.flow import BAD_INPUT_STATE, WAITING_STATE, pipeline
from flows.schedule import local_timezone, next_time
from flows.server import check_own_server
from jokbo.runtime.errors import InputError

NEW_DATA = "jokbo.new-data"  # the event
CRASHED = "jokbo: a flow whose machine is gone has crashed"  # the automation
TELLS = "somebody is told of a run that did not end well"  # the automation of a project
TOLD = ("Failed", "Crashed", "TimedOut", BAD_INPUT_STATE, WAITING_STATE)  # names of states
UNBEGUN = "jokbo: a flow whose worker was gone before it began has crashed"  # another
BEAT_SECONDS = 30  # between two signs of life of a flow
BEGIN_SECONDS = 600  # within which a worker's process, once it is to run a flow, has begun it

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
Pool = Annotated[str, typer.Option(help="The work pool: of machines that run these flows.")]


@app.command()
def register(
    pool: Pool = "jokbo",
    nightly: Annotated[str, typer.Option(help="When the chain runs, as in crontab.")] = "0 3 * * *",
    weekly: Annotated[str, typer.Option(help="When the comparison runs, as in crontab.")] = "0 5 * * 6",
    timezone: Annotated[str | None, typer.Option(help="By whose clock; by default this machine's.")] = None,
    notify: Annotated[
        str | None, typer.Option(help="TYPE/NAME of a block of Prefect's: told of each run that ends badly.")
    ] = None,
) -> None:
    """Tell the Prefect server of this folder's flows, and when they run. Again: what has changed."""
    with one_line():
        zone = timezone or local_timezone()
        for cron in (nightly, weekly):
            next_time(cron, zone)
        check_own_server("a deployment")
        with get_client(sync_client=True) as client:
            kind = _kind(client, pool)
            block = _block(client, notify) if notify else None
            for automation in (_crashes(), unbegun()):
                _set(client, automation)
        variables = (
            _variables() if kind == "process" else {}
        )  # any other kind's pool says where the project is
        made = []
        for each in deployments(pool, variables, Cron(nightly, timezone=zone), Cron(weekly, timezone=zone)):
            made.append(cast(UUID, each.apply()))
            print(each.full_name)
        if block:
            with get_client(sync_client=True) as client:
                _set(client, _tells(block, made))
    if kind == "process":
        print(
            f"a machine that runs them: `python -m flows.deployments work --pool {pool}`, in this folder there"
        )


@app.command()
def work(
    pool: Pool = "jokbo",
    at_once: Annotated[int, typer.Option(min=1, help="How many flows may run on this machine at once.")] = 1,
) -> None:
    """Run on this machine, in their folders, the flows that are due, for as long as this command runs."""
    with one_line():
        check_own_server("a worker")
    os.environ["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] = str(BEAT_SECONDS)
    options = ["--pool", pool, "--type", "process", "--limit", str(at_once)]
    # in this process's place, so that whoever stops this one stops the worker
    os.execv(sys.executable, [sys.executable, "-m", "prefect", "worker", "start", *options])


@app.command("new-data")
def new_data() -> None:
    """Say that there are new data in this folder: the deployment of that name runs."""
    with one_line():
        check_own_server("an event")
        asyncio.run(_tell())


def deployments(
    pool: str, variables: dict[str, Any], nightly: Schedule, weekly: Schedule
) -> list[RunnerDeployment]:
    """Return the deployments of the project in this folder. They are named after it, as a server has many projects."""
    here = Path.cwd()
    shared: dict[str, Any] = {
        "work_pool_name": pool,
        # a run that is due while the last one lasts waits for it, and is then found to be overtaken
        "concurrency_limit": ConcurrencyLimitConfig(
            limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE
        ),
        "entrypoint_type": EntrypointType.MODULE_PATH,  # of a path Prefect would make copies
        "job_variables": variables,
    }
    match: Any = _resource()  # Prefect makes its own type of it
    trigger = DeploymentEventTrigger(name=f"{here.name}: new data", expect={NEW_DATA}, match=match)
    return [
        RunnerDeployment.from_flow(chain, f"{here.name}-nightly", schedule=nightly, **shared),
        RunnerDeployment.from_flow(chain, f"{here.name}-new-data", triggers=[trigger], **shared),
        RunnerDeployment.from_flow(family, f"{here.name}-weekly", schedule=weekly, **shared),
    ]


def _kind(client: SyncPrefectClient, pool: str) -> str:
    """Return the type of a work pool. One that is not there is made, of processes."""
    try:
        return client.read_work_pool(pool).type
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(WorkPoolCreate(name=pool, type="process", base_job_template=template))
        return "process"


def _block(client: SyncPrefectClient, notify: str) -> UUID:
    """Return the id of a notification block. InputError if the server has no such block, or it tells nobody."""
    kind, _, name = notify.partition("/")
    try:
        found = client.read_block_document_by_name(name, kind)
    except ObjectNotFound:
        raise InputError(
            f"--notify {notify}: the server has no such block: make it on Prefect's page under Blocks, and give its "
            "type and name, such as slack-webhook/team"
        ) from None
    if "notify" not in (found.block_schema.capabilities if found.block_schema else []):
        raise InputError(f"--notify {notify}: such a block tells nobody anything: give one that notifies")
    return found.id


def _set(client: SyncPrefectClient, automation: AutomationCore) -> None:
    """Have the server do this, in place of what it knows by the same name."""
    if known := client.read_automations_by_name(automation.name):
        client.update_automation(known[0].id, automation)
    else:
        client.create_automation(automation)


def _variables() -> dict[str, Any]:
    """Return by what a worker's process runs a flow of the project in this folder."""
    return {
        "working_dir": str(Path.cwd()),
        # without it Prefect would install what pyproject.toml names, where there is uv
        "command": shlex.join([sys.executable, "-m", "prefect.engine"]),
        "env": {"PYTHONPATH": str(Path.cwd()), "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(BEAT_SECONDS)},
    }


def _crashes() -> AutomationCore:
    """Return what makes a flow Crashed that has shown life, and then neither shows any nor ends for three beats.

    A worker sees that its flow's process has died. That a worker's machine is gone nobody sees but by this.
    """
    return _crashed_after(
        "prefect.flow-run.heartbeat", CRASHED, "it has shown no sign of life", 3 * BEAT_SECONDS
    )


def unbegun(seconds: float = BEGIN_SECONDS) -> AutomationCore:
    """Return what makes a flow Crashed that a worker has taken to run it in a process, and that has not begun since.

    A worker that is killed in between leaves it Pending for ever, as no other worker takes it. In other pools than
    those of processes that may be as it should: a cluster is full.
    """
    process = {"prefect.resource.role": "work-pool", "prefect.work-pool.type": "process"}
    return _crashed_after(
        "prefect.flow-run.Pending", UNBEGUN, "its worker has not begun it", seconds, process
    )


def _crashed_after(
    event: str, name: str, message: str, seconds: float, *related: dict[str, Any]
) -> AutomationCore:
    """Return what makes a flow of ours Crashed after such an event without another in so many seconds."""
    ours = {
        "prefect.resource.role": "flow",
        "prefect.resource.name": [chain.name, family.name, pipeline.name],
    }
    crashed: list[ActionTypes] = [
        ChangeFlowRunState(name=None, state=StateType.CRASHED, message=message, force=False)
    ]
    return AutomationCore(
        name=name,
        trigger=EventTrigger(
            after={event},
            # a sign of life, or a state; the names of states are ours, too, such as BadInput
            expect={"prefect.flow-run.*"},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related=[ours, *related],
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            within=timedelta(seconds=seconds),
        ),
        actions=crashed,
    )


def _tells(block: UUID, of: Sequence[UUID]) -> AutomationCore:
    """Return what tells, by a block, of each run of these deployments that ends badly or waits for people."""
    return AutomationCore(
        name=f"{Path.cwd().name}: {TELLS}",
        trigger=EventTrigger(
            expect={f"prefect.flow-run.{state}" for state in TOLD},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related={
                "prefect.resource.role": "deployment",
                "prefect.resource.id": [f"prefect.deployment.{id}" for id in of],
            },
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[
            SendNotification(
                block_document_id=block,
                subject="{{ flow_run.name }}: {{ flow_run.state.name }}",
                body="{{ flow_run.state.message }}\n{{ flow_run|ui_url }}",
            )
        ],
    )


def _resource() -> dict[str, str]:
    """Return what an event is about, as Prefect's triggers match it: the project in this folder."""
    return {"prefect.resource.id": f"jokbo.project.{Path.cwd()}"}


async def _tell() -> None:
    async with get_events_client() as client:
        await client.emit(Event(event=NEW_DATA, resource=Resource.model_validate(_resource())))


if __name__ == "__main__":
    app()
