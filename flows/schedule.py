"""Flows on a schedule: when by this machine's clock, and no run for what another has done since."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import tzlocal
from prefect import Flow, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId, FlowRunFilterStartTime
from prefect.context import FlowRunContext
from prefect.schedules import Cron
from prefect.settings import temporary_settings

from flows.server import check_own_server, shown_address
from jokbo.runtime.errors import InputError

SKIPPED = "Skipped"  # the name of the state of a run that was not needed, or had no slot


def on_schedule(flow: Flow, cron: str, timezone: str | None, **parameters: Any) -> None:
    """Run the flow on a schedule, in this folder, for as long as this process lives.

    Raises InputError if `cron` is none or there is no server of the user's, and NoServer if it does not answer.
    """
    timezone = timezone or local_timezone()
    first = next_time(cron, timezone)
    check_own_server("a schedule")
    print(f"jokbo: first at {first:%Y-%m-%d %H:%M} ({timezone})", flush=True)
    with temporary_settings(shown_address()):
        flow.serve(
            name="local",
            schedule=Cron(cron, timezone=timezone),
            parameters=parameters,
            limit=1,
            global_limit=1,
            pause_on_shutdown=False,
        )


def next_time(cron: str, timezone: str) -> datetime:
    """Return when such a time next comes, as Prefect's server reckons it. InputError if it never does."""
    from prefect.server.schemas.schedules import CronSchedule

    wanted = "five fields as in crontab, such as '0 3 * * *', or @daily"
    if len(cron.split()) != 5 and not cron.startswith("@"):  # a sixth would be seconds
        raise InputError(f"--cron {cron!r} is no time: give {wanted}")
    if timezone not in available_timezones():
        raise InputError(f"--timezone {timezone}: no such time zone: Europe/Berlin is one")
    try:
        schedule = CronSchedule(cron=cron, timezone=timezone)
    except ValueError as error:
        raise InputError(f"--cron {cron!r} is no time: give {wanted}") from error
    try:
        return asyncio.run(schedule.get_dates(1))[0]
    except (ValueError, IndexError) as error:
        raise InputError(f"--cron {cron!r}: such a time never comes") from error


def local_timezone() -> str:
    """Return the name of this machine's time zone (TZ, /etc/localtime). InputError if it has none."""
    now, half_a_year = datetime.now(), timedelta(days=182)
    try:
        name = tzlocal.get_localzone_name()
        zone = ZoneInfo(name)
    except (LookupError, ValueError, TypeError):
        zone = None
    # tzlocal falls back on another zone where TZ is a rule and no name: summer and winter tell
    for time in (now, now + half_a_year):
        if zone is None or time.astimezone().utcoffset() != time.replace(tzinfo=zone).utcoffset():
            raise InputError(
                "this machine's time zone has no name: give one, such as --timezone Europe/Berlin"
            )
    return name


def overtaken() -> str | None:
    """Return why this run need not run, if it is late and one like it has begun since it was due; several may be late
    at once, where the machine slept.
    """
    context = FlowRunContext.get()
    assert context is not None  # it is asked within a flow
    this = context.flow_run
    assert this is not None
    if not this.deployment_id or not this.expected_start_time:
        return None
    since = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[this.deployment_id]),
        # of a run that has not begun the server takes the time when it is due: those of the next nights are there, too
        start_time=FlowRunFilterStartTime(after_=this.expected_start_time, is_null_=False),
    )
    with get_client(sync_client=True) as client:
        for other in client.read_flow_runs(flow_run_filter=since):
            same = other.id != this.id and other.parameters == this.parameters
            if same and other.state_name != SKIPPED:
                return f"{other.name} has begun since this run was due"
    return None
