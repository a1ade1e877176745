"""The flow with people in it: it waits for their labels, is killed, started again, suspended and woken, and goes on."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect import get_client
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL, temporary_settings
from ruamel.yaml import YAML

from jokbo.preferences.batch import batch_file, published, read_votes, votes_file
from tests.conftest import Project, until
from tests.flows.conftest import alive
from tests.support.labels import answer

FLOW = "flows.labelling"
PEOPLE = ["ann", "bo"]
WAITS = re.compile(r"waiting for people on the page of `jokbo label`: film: \d+ of \d+ labels are missing")
# the labeller of the chain, with a small network in place of the policy that the chain trains
ASKING = """
from pathlib import Path
from tasks.frame.stage import run_stage
from tasks.preferences import labelled
from tests.preferences.test_people import given

def body(stage):
    found = labelled({"film": stage.params.labellers["film"]}, given())
    Path("models/asked").write_text(str(len(found["film"].train)))

run_stage("preferences", body)
"""
STAGES = """stages:
  preferences:
    cmd: python -m asking
    deps: [asking.py, data/local]
    params: [preferences]
    outs: [models/asked]
  report:
    cmd: python -c "open('models/reported', 'w').write(open('models/asked').read())"
    deps: [models/asked]
    outs: [models/reported]
"""
BESIDE = """  beside:
    cmd: echo nothing of people > models/beside
    outs: [models/beside]
"""


@pytest.fixture
def asking(served: Project) -> Project:
    """A project of two stages: one asks people, one needs what they said. Each is a process, which takes its time."""
    (served.folder / "asking.py").write_text(ASKING)
    (served.folder / "data/local").mkdir(parents=True)
    (served.folder / "models").mkdir()
    (served.folder / "dvc.yaml").write_text(STAGES)
    set_labeller(served)
    return served


def set_labeller(project: Project, **more: Any) -> None:
    film: dict[str, Any] = {"kind": "people", "prompts": 12, "responses_per_prompt": 2, "ask": "pairs"}
    film |= {"temperature": 1.0, "labels_per_item": len(PEOPLE), "held_out": 0.0, "votes": "all"}
    path = project.folder / "params.yaml"
    tree = YAML(typ="safe").load(path)
    tree["preferences"]["labellers"]["film"] = film | more
    with open(path, "w") as file:
        YAML().dump(tree, file)


def unwrapped(output: str) -> str:
    return " ".join(output.split())


def waiting(process: subprocess.Popen[str]) -> str:
    """The line by which a flow says that it waits."""
    said = ""
    assert process.stdout is not None
    while not (found := WAITS.search(unwrapped(said))):
        line = process.stdout.readline()
        assert line, said
        said += line
    return found[0]


def needed() -> int:
    batch = published("film")
    assert batch is not None
    return len(batch.items) * len(PEOPLE)


def reported() -> int | None:
    path = Path("models/reported")
    return int(path.read_text()) if path.exists() else None


def test_the_pipeline_alone_stops_in_words_and_is_not_tried_again(asking: Project) -> None:
    with open(asking.folder / "dvc.yaml", "a") as file:
        file.write(BESIDE)
    status, output = asking.run("flows.pipeline")
    assert status == 75, output
    whole = needed()
    said = unwrapped(output)
    assert (
        said.count(f"film: {whole} of {whole} labels are missing: people give them on the page of `jokbo")
        == 1
    )
    assert output.splitlines()[-1] == "jokbo: waiting for people: preferences; after that come report"
    assert Path("models/beside").exists()
    assert "Traceback" not in output
    answer(asking.folder, PEOPLE)
    status, output = asking.run(FLOW)  # it hands over what is in the page's database
    assert status == 0, output
    assert reported() == whole


def test_killed_while_it_waits_it_goes_on_when_it_is_started_again(asking: Project) -> None:
    first = asking.start(FLOW)
    waiting(first)
    second, output = asking.run(FLOW)
    assert (second, output) == (
        2,
        "jokbo: a labelling flow waits in this folder already: stop it, or leave it to that one\n",
    )
    first.kill()
    first.communicate()
    until(lambda: not alive(asking.folder))
    came = answer(asking.folder, PEOPLE, most=3)
    again = asking.start(FLOW)
    assert f"film: {needed() - came} of {needed()} labels are missing" in waiting(again)
    assert not votes_file("film").exists()  # half of the votes would have the stage run in vain
    answer(asking.folder, PEOPLE)
    output, _ = again.communicate()
    assert again.returncode == 0, output
    assert reported() == len(read_votes(votes_file("film"))) == needed()
    assert "Traceback" not in output


@pytest.mark.parametrize("enough", [0.5, pytest.param(None, marks=pytest.mark.slow)])
def test_it_ends_its_waiting_at_the_deadline(asking: Project, enough: float | None) -> None:
    set_labeller(asking, deadline_hours=2, **({} if enough is None else {"enough": enough}))
    flow = asking.start(FLOW)
    waiting(flow)
    half = answer(asking.folder, PEOPLE[:1])
    batch = published("film")
    assert batch is not None
    assert batch.published is not None
    earlier = datetime.fromisoformat(batch.published) - timedelta(hours=3)
    replace(batch, published=earlier.isoformat()).save(batch_file("film"))
    output, _ = flow.communicate()
    assert "Traceback" not in output
    if enough is None:
        assert flow.returncode == 1
        assert f"{half} of {needed()} labels are missing at the deadline" in unwrapped(output)
        assert "raise deadline_hours, or lower enough" in unwrapped(output)
        assert output.splitlines()[-1] == "jokbo: not completed: preferences, report"
    else:
        assert flow.returncode == 0, output
        assert reported() == half


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_served_it_is_suspended_and_woken_after_all_was_started_again(asking: Project, api: str) -> None:
    asking.environment["PREFECT_RUNNER_POLL_FREQUENCY"] = "1"
    with temporary_settings({PREFECT_API_URL: api}), get_client(sync_client=True) as client:
        before = {run.id for run in client.read_flow_runs()}

        def states() -> list[State]:
            """Of the runs of the flow itself: those of a deployment."""
            found = [run for run in client.read_flow_runs() if run.deployment_id and run.id not in before]
            return sorted((run.state for run in found if run.state), key=lambda state: state.timestamp)

        def names() -> list[str | None]:
            return [state.name for state in states()]

        serving = asking.start(FLOW, "serve")
        until(lambda: names() == ["Running"])
        kill(serving)
        until(lambda: not alive(asking.folder))  # the flow has ended with it
        serving = asking.start(FLOW, "serve")
        until(lambda: names() == ["Crashed", "Suspended"])
        until(lambda: len(alive(asking.folder)) == 2)  # this command, and multiprocessing's tracker
        kill(serving)
        assert needed() == answer(asking.folder, PEOPLE)
        again = asking.start(FLOW, "serve")
        until(lambda: all(state.is_final() for state in states()))
        assert names() == ["Crashed", "Completed"]
        assert reported() == needed()
        again.terminate()
        output, _ = again.communicate()
        assert "Traceback" not in output


def test_served_it_needs_a_server(project: Project) -> None:
    project.environment["HOME"] = str(project.folder)
    status, output = project.run(FLOW, "serve")
    assert status == 2
    assert output.startswith("jokbo: a flow that is suspended needs a Prefect server: start one with")
