"""Which run of MLflow is whose: one live run for each identity, person, host and folder; nothing is deleted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from jokbo.runtime.mlflow_store import EXPERIMENT
from jokbo.runtime.owner import PERSON, PROCESS, WHOSE, gone
from jokbo.runtime.text import printable

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as Record

KEY = "jokbo.key"  # tag: identity of what ran
OPENING = "jokbo.opening"  # tag: who opened the run last; each opening has an id of its own
SUPERSEDED = (
    "jokbo.superseded"  # tag of a finished run whose stage was made anew: the run that took its place
)
EARLIER = "jokbo.earlier"  # tag: the last run before this one of the same identity, whoever's that is
# tags of a rerun, and of what it repeats
REPRODUCES, REPRODUCED_BY = "jokbo.reproduces", "jokbo.reproduced_by"
PARENT, NOTE = "mlflow.parentRunId", "mlflow.note.content"


def find_run(client: MlflowClient, key: str) -> Record | None:
    """Return a live run of identity `key`, whoever's it is; a finished one if there is one, and no rerun of another."""
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return None
    live = _live(client, experiment.experiment_id, {KEY: key})
    found = [run for run in live if REPRODUCES not in run.data.tags]
    return next((run for run in found if run.info.status == "FINISHED"), found[0] if found else None)


class Opening(NamedTuple):
    """What is known of a run when it is opened."""

    id: str
    name: str
    tags: Mapping[str, str]  # what it is a run of, and whose
    resumed: bool  # whether the stage went on from where an earlier process stopped
    start: int  # milliseconds since 1970


def claim(client: MlflowClient, experiment: str, opening: Opening) -> str:
    """Return the id of the run that this `opening` writes: found again, reopened, or made. Asking twice changes
    nothing.

    A finished run is continued only by a stage that resumed; one that starts afresh is a run of its own, and the
    finished one says that it is superseded.
    """
    from mlflow.entities import ViewType

    for again in _search(client, experiment, {OPENING: opening.id}, ViewType.ALL):
        if again.info.lifecycle_stage == "deleted":
            client.restore_run(again.info.run_id)  # whoever deleted it did not see that it is still written
        return again.info.run_id
    tags = {**opening.tags, OPENING: opening.id}
    earlier = _live(client, experiment, {KEY: tags[KEY], WHOSE: tags[WHOSE]})
    if earlier and (opening.resumed or earlier[0].info.status != "FINISHED"):
        id = earlier.pop(0).info.run_id
        set_tags(client, id, tags)
        client.update_run(id, status="RUNNING")  # with its new owner's tag: another process may be burying
    else:
        if before := _live(client, experiment, {KEY: tags[KEY]}):
            tags[EARLIER] = before[0].info.run_id
        id = client.create_run(
            experiment, start_time=opening.start, tags=tags, run_name=opening.name
        ).info.run_id
    for other in earlier:
        client.set_tag(other.info.run_id, SUPERSEDED, id)
    for child in _search(client, experiment, {PARENT: opening.id}):  # opened while this run was not known yet
        client.set_tag(child.info.run_id, PARENT, id)
    return id


def set_tags(client: MlflowClient, id: str, tags: Mapping[str, str]) -> None:
    """Set tags of a run.

    A parent that was not known yet when the run was opened is looked up; a note is given a link to the earlier run.
    """
    from mlflow.entities import RunTag

    if NOTE in tags and (earlier := client.get_run(id).data.tags.get(EARLIER)):
        tags = {**tags, NOTE: f"{tags[NOTE]}\n\n{_link(client, earlier)}"}
    if PARENT in tags:
        experiment = client.get_run(id).info.experiment_id
        parents = _search(client, experiment, {OPENING: tags[PARENT]})
        tags = {**tags, PARENT: parents[0].info.run_id if parents else tags[PARENT]}
    client.log_batch(id, tags=[RunTag(name, value) for name, value in tags.items()])


def _link(client: MlflowClient, id: str) -> str:
    """Return a line of markdown on an earlier run of the same: whose it is, how it ended, and where MLflow shows it."""
    earlier = client.get_run(id)
    info, person = earlier.info, printable(earlier.data.tags.get(PERSON, "unknown"))
    where = f"#/experiments/{info.experiment_id}/runs/{id}"
    return f"The same was run before: [{id[:8]}]({where}), by {person}, {info.status.lower()}."


def bury(client: MlflowClient, experiment: str) -> None:
    """Mark as KILLED the runs whose process is certainly no more (SIGKILL leaves them RUNNING)."""
    for record in _pages(client, experiment, "attributes.status = 'RUNNING'"):
        if gone(record.data.tags.get(PROCESS, "")):
            client.set_terminated(record.info.run_id, "KILLED")


def steps_seen(client: MlflowClient, id: str) -> set[tuple[str, int]]:
    """Return every metric and step that the run has."""
    names = client.get_run(id).data.metrics
    return {(name, point.step) for name in names for point in client.get_metric_history(id, name)}


def _live(client: MlflowClient, experiment: str, tags: Mapping[str, str]) -> list[Record]:
    """Return the runs with these tags that nothing has superseded, the newest first."""
    return [run for run in _search(client, experiment, tags) if SUPERSEDED not in run.data.tags]


def _search(client: MlflowClient, experiment: str, tags: Mapping[str, str], *view: Any) -> list[Record]:
    wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
    return list(_pages(client, experiment, wanted, *view))


def _pages(client: MlflowClient, experiment: str, wanted: str, *view: Any) -> list[Record]:
    found: list[Record] = []
    token = None
    while True:
        page = client.search_runs([experiment], wanted, *view, page_token=token)
        found += page
        if not (token := page.token):
            return found
