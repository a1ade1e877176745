"""The whole flow over a small real project: what runs, what does not, and what is left when it is stopped."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from jokbo.runtime import interruption
from tests.conftest import Project, until
from tests.flows.conftest import alive, outcomes

FLOW = "flows.pipeline"


def _dvc(project: Project) -> psutil.Process:
    """The process of DVC that runs a stage: `python -m flows.dvc ...`, not its supervisor."""
    (found,) = [process for process in alive(project.folder) if process.cmdline()[1:3] == ["-m", "flows.dvc"]]
    return found


def _counting(project: Project) -> bool:
    return any(project.folder.glob(".jokbo/checkpoints/pretrain/*/step"))


def test_everything_runs_once_without_any_server_of_the_users(project: Project) -> None:
    project.environment["HOME"] = str(project.folder)  # no Prefect profile of whoever runs this test
    status, output = project.run(FLOW)
    assert status == 0, output
    assert outcomes(output) == {"pretrain": "ran", "finetune": "ran", "distill": "ran"}
    assert "pretrain starts at 0" in output
    for number, stage in enumerate(("pretrain", "finetune", "distill"), 1):
        assert f"stage {number} of 3: {stage}\n" in output
    for noise in ("Traceback", "View at", "Finished in", "Beginning flow run", "Running stage"):
        assert noise not in output
    (parent,) = project.runs("pipeline")
    assert parent.info.status == "FINISHED"
    assert parent.info.run_name.startswith("chain")
    assert parent.data.params["pretrain.seed"] == "1"
    assert parent.data.metrics["seconds"] > 0
    for stage in ("pretrain", "finetune", "distill"):
        (run,) = project.runs(stage)
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.tags["flow.run"] == parent.data.tags["flow.run"]
    until(lambda: not alive(project.folder))  # the server, too

    status, output = project.run(FLOW)
    assert status == 0
    assert outcomes(output) == {"pretrain": "cached", "finetune": "cached", "distill": "cached"}
    assert "starts at" not in output
    assert output.endswith("Nothing to do, so no Prefect server was started.\n")
    assert len(project.runs("pipeline")) == 1  # what changed nothing leaves no run


def test_what_the_data_cannot_give_is_refused_before_any_output_is_removed(project: Project) -> None:
    project.edit("params.yaml", "train: 0.65,", "train: 0.69,")
    project.edit("params.yaml", "validation: 0.04,", "validation: 0.0,")
    kept = project.folder / "models/pretrain/of_before"
    kept.parent.mkdir(parents=True)
    kept.touch()
    status, output = project.run(FLOW)
    line = (
        "jokbo: params.yaml: prepare.splits.validation is 0, but finetune reads that split: give it a share"
    )
    assert (status, output.strip()) == (2, line)
    assert kept.exists()


def test_an_edit_reruns_its_stage_and_no_other(served: Project, done: Project) -> None:
    served.edit("params.yaml", "finetune:\n  seed: 1", "finetune:\n  seed: 2")
    status, output = served.run(FLOW)
    assert status == 0, output
    assert outcomes(output) == {"pretrain": "cached", "finetune": "ran", "distill": "cached"}


@pytest.mark.parametrize(
    "stop", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGINT]
)
def test_no_process_outlives_a_flow_that_is_stopped(served: Project, stop: signal.Signals) -> None:
    flow = served.start(FLOW, STEPS="5000", PAUSE="0.05")
    until(lambda: _counting(served))
    flow.send_signal(stop)
    output, _ = flow.communicate()
    assert flow.returncode != 0
    if stop == signal.SIGINT:
        assert output.splitlines()[-1] == interruption.STOPPED
        assert "Crash detected" not in output
    if stop != signal.SIGKILL:
        assert [run.info.status for run in served.runs("pipeline")] == ["KILLED"]
    until(lambda: not alive(served.folder))
    assert [run.info.status for run in served.runs("pretrain")] == ["KILLED"]
    done = len(served.steps("pretrain"))
    status, output = served.run(FLOW, "--until", "pretrain", STEPS=str(done + 2))
    assert status == 0, output
    assert served.steps("pretrain") == list(range(done + 2))


@pytest.mark.parametrize("setting", ["PREFECT_API_URL", "PREFECT_API_REQUEST_TIMEOUT"])
def test_a_setting_that_prefect_refuses_is_named(project: Project, setting: str) -> None:
    status, output = project.run(FLOW, **{setting: "http://["})
    assert status == 2
    assert "Traceback" not in output
    assert output.splitlines()[-1].startswith("jokbo: Prefect's settings: ")
    assert setting in output.splitlines()[-1]


@pytest.mark.parametrize("package", ["flows", "tasks"])
def test_ctrl_c_before_anything_is_read_is_one_line(project: Project, package: str) -> None:
    """As the libraries take seconds to import."""
    (project.folder / "early.py").write_text(f"import {package}\nraise KeyboardInterrupt\n")
    status, output = project.run("early")
    assert (status, output.splitlines()) == (-signal.SIGINT, [interruption.STOPPED])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--until", ""], "dvc.yaml has no stage"),
        (["--until", "nosuch"], "dvc.yaml has no stage nosuch"),
        (["--timeout-hours", "nan"], "is not above 0"),
        (["--timeout-hours", "0"], "is not above 0"),
    ],
)
def test_an_option_that_cannot_be_meant_starts_nothing(
    project: Project, options: list[str], said: str
) -> None:
    status, output = project.run(FLOW, *options)
    assert status == 2
    assert said in output
    assert "Traceback" not in output
    assert not (project.folder / "models").exists()


def test_a_name_that_is_not_utf_8_is_one_line(project: Project) -> None:
    Path("models/pretrain").mkdir(parents=True)
    Path(os.fsdecode(b"models/pretrain/caf\xe9.doc")).touch()
    status, output = project.run(FLOW)
    assert (status, output) == (
        2,
        "jokbo: models/pretrain: the name b'caf\\xe9.doc' is not UTF-8: rename it\n",
    )


def test_a_lock_list_that_a_killed_dvc_left_half_written_is_no_obstacle(done: Project) -> None:
    (done.folder / ".dvc/tmp/rwlock").write_text('{"write": {"')
    status, output = done.run(FLOW)
    assert status == 0, output


def test_dvc_killed_under_a_stage_is_tried_again_and_resumes(served: Project) -> None:
    flow = served.start(FLOW, "--until", "pretrain", STEPS="40", PAUSE="0.02")
    until(lambda: _counting(served))
    _dvc(served).kill()
    output, _ = flow.communicate()
    assert flow.returncode == 0, output
    starts = [line for line in output.splitlines() if "pretrain starts at" in line]
    assert len(starts) == 2
    assert "starts at 0" not in starts[1]
    assert served.steps("pretrain") == list(range(40))
    assert [run.info.status for run in served.runs("pretrain")] == ["FINISHED"]


def test_a_second_pipeline_in_the_folder_refuses(served: Project) -> None:
    first = served.start(FLOW, STEPS="5000", PAUSE="0.05")
    until(lambda: _counting(served))
    status, output = served.run(FLOW)
    assert status == 2
    assert output == "jokbo: another pipeline runs in this folder: wait for it, or stop it\n"
    first.terminate()
    first.communicate()


def test_bad_params_start_nothing(project: Project) -> None:
    project.edit("params.yaml", "pretrain:\n  seed: 1", "pretrain:\n  sed: 1")
    status, output = project.run(FLOW)
    assert status == 2
    assert output.count("\n") == 1
    assert output.startswith("jokbo: params.yaml: ")
    assert not (project.folder / ".jokbo/prefect/server.log").exists()


def test_a_tracking_uri_that_is_wrong_starts_nothing(project: Project) -> None:
    status, output = project.run(FLOW, MLFLOW_TRACKING_URI="htp://me:s3cret@host")
    assert status == 2
    assert output.count("\n") == 1
    assert output.startswith("jokbo: MLFLOW_TRACKING_URI=htp://***@host")
    assert not (project.folder / ".jokbo/prefect/server.log").exists()


@pytest.mark.parametrize(("wrong", "attempts"), [("input", 1), ("code", 2)])
def test_only_what_may_go_better_is_tried_again(served: Project, wrong: str, attempts: int) -> None:
    status, output = served.run(FLOW, WRONG=wrong)
    assert status == 1
    assert output.count("pretrain starts at") == attempts
    # the stage's own, where a mistake in the code ends it, and none of Prefect's
    assert output.count("Traceback") == (attempts if wrong == "code" else 0)
    assert outcomes(output) == {"pretrain": "failed", "finetune": "notready", "distill": "notready"}
    assert output.splitlines()[-1] == "jokbo: not completed: pretrain, finetune, distill"


def test_a_stage_that_takes_too_long_is_stopped(served: Project) -> None:
    status, output = served.run(FLOW, "--timeout-hours", "0.0005", STEPS="5000", PAUSE="0.05")
    assert status == 1
    assert "longer than 0.0005 hours" in output
    assert "Traceback" not in output
    until(lambda: not alive(served.folder))


def test_a_schedule_without_a_server_says_what_to_do(project: Project) -> None:
    project.environment["HOME"] = str(project.folder)
    status, output = project.run(FLOW, "serve", "--cron", "0 3 * * *")
    assert status == 2
    assert output.startswith("jokbo: a schedule needs a Prefect server")
