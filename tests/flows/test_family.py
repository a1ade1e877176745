"""The flow of the family: several stages at once, one that fails stops no other, and what is left at the end."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from flows import family
from tests.conftest import Project, leave, reproduced, until
from tests.flows.conftest import alive, outcomes
from tests.support import comparison

FLOW = "flows.family"
SYSTEMS = ("bert", "elmo", "distilbert")
CORES = len(os.sched_getaffinity(0))


@pytest.fixture
def project_of_family(served: Project, first_ended: Path) -> Project:
    """The chain has what the family needs of it."""
    comparison.add_to(served)
    return leave(served, first_ended)


@pytest.fixture(scope="module")
def all_compared(first_ended: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in whose family every system and the table have been made."""
    folder = tmp_path_factory.mktemp("compared")
    shutil.copytree(first_ended, folder, symlinks=True, dirs_exist_ok=True)
    return reproduced(comparison.add_to(Project(folder))).folder.parent


def _metrics(project: Project, name: str) -> dict[str, Any]:
    return json.loads((project.folder / f"family/metrics/family/{name}.json").read_text())


def _kept(project: Project) -> dict[str, Any]:
    """The table's numbers in git, without the day and the machine."""
    found = json.loads((project.folder / "family/table.json").read_text())
    assert set(found.pop("measured")) == {"date", "machine"}
    return found


def _overlap(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one["start"] < other["end"] and other["start"] < one["end"]


def test_stages_run_at_once_each_on_its_part_of_the_cores(project_of_family: Project) -> None:
    project = project_of_family
    status, output = project.run(FLOW, "--workers", "2", TOGETHER="bert elmo")
    assert status == 0, output
    bert, elmo, distilbert = (_metrics(project, name) for name in SYSTEMS)
    assert _overlap(bert, elmo)
    assert not _overlap(bert, distilbert)  # its teacher
    assert {bert["threads"], elmo["threads"]} == {max(1, CORES // 2)}
    assert "| bert |\n| distilbert |\n| elmo |\n" in output
    table = _kept(project)
    assert table["systems"] == ["bert", "distilbert", "elmo"]
    assert not (project.folder / "models/finetune").exists()  # no part of what the table needs
    for name in SYSTEMS:
        (run,) = project.runs(f"family@{name}")
        assert run.info.status == "FINISHED"

    (project.folder / "family/table.json").unlink()
    project.edit("family/params.yaml", "elmo, layers: 2, batch_size: 16", "elmo, layers: 2, batch_size: 8")
    before = {name: _metrics(project, name)["start"] for name in SYSTEMS}
    status, output = project.run(FLOW)
    assert status == 0, output
    assert [name for name in SYSTEMS if _metrics(project, name)["start"] != before[name]] == ["elmo"]
    assert _kept(project) == table


def test_what_it_needs_of_the_chain_is_brought_up_to_date_first_and_no_more(
    project_of_family: Project, all_compared: Path
) -> None:
    project = leave(project_of_family, all_compared)
    project.edit("standin.py", "Count to", "Count up to")
    status, output = project.run(FLOW)
    assert status == 0, output
    ran = outcomes(output)
    assert next(iter(ran.items())) == ("pretrain", "ran")
    assert set(ran) == {"pretrain", *(f"family@{name}" for name in SYSTEMS), "family_table"}


def test_one_that_fails_stops_no_other_and_is_told(project_of_family: Project) -> None:
    project = project_of_family
    status, output = project.run(FLOW, WRONG_ONE="family@elmo")
    assert status == 1
    assert output.splitlines()[-1] == "jokbo: not completed: family@elmo, family_table"
    assert output.count("jokbo: nothing to learn from") == 1
    assert (project.folder / "family/models/distilbert").is_dir()
    assert not (project.folder / "family/table.json").exists()

    status, output = project.run(FLOW)
    assert status == 0, output
    assert (project.folder / "family/table.json").is_file()


def test_no_system_outlives_a_flow_that_is_stopped(project_of_family: Project) -> None:
    project = project_of_family
    flow = project.start(FLOW, "--workers", "2", TOGETHER="bert elmo nobody")
    started = [project.folder / f".jokbo/here/{name}" for name in ("bert", "elmo")]
    until(lambda: all(here.exists() for here in started))
    flow.terminate()
    flow.communicate()
    assert flow.returncode != 0
    until(lambda: not alive(project.folder) and not alive(project.folder / "family"))


def test_nothing_to_do_shows_the_table_and_keeps_it(project: Project, all_compared: Path) -> None:
    project.environment["HOME"] = str(project.folder)
    comparison.add_to(project)
    leave(project, all_compared)
    status, output = project.run(FLOW)
    assert status == 0, output
    assert "no Prefect server was started" in output
    assert output.endswith("| system |\n| bert |\n| distilbert |\n| elmo |\n\n")
    assert (project.folder / "family/table.json").is_file()


def test_a_schedule_without_a_server_says_what_to_do(project: Project) -> None:
    project.environment["HOME"] = str(project.folder)
    status, output = project.run(FLOW, "serve", "--cron", "0 2 * * *")
    assert status == 2
    assert output.startswith("jokbo: a schedule needs a Prefect server")


def test_a_schedule_is_known_to_the_server_and_runs_in_this_folder(
    project_of_family: Project, all_compared: Path
) -> None:
    project, deployment = leave(project_of_family, all_compared), ("prefect", "deployment")
    serving = project.start(FLOW, "serve", "--cron", "0 2 * * *", "--workers", "2")
    until(lambda: "0 2 * * *" in project.run(*deployment, "inspect", "family/local")[1])
    status, output = project.run(*deployment, "run", "family/local")  # as at two o'clock
    assert status == 0, output
    until((project.folder / "family/table.json").is_file)
    serving.terminate()
    serving.communicate()
    assert _kept(project)["systems"] == sorted(SYSTEMS)


@pytest.mark.parametrize(("accelerator", "expected"), [(False, CORES), (True, 1)])
def test_one_stage_a_core_but_one_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch, accelerator: bool, expected: int
) -> None:
    monkeypatch.setattr("torch.accelerator.is_available", lambda: accelerator)
    assert family.at_once() == expected
