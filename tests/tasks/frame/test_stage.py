"""What happens around a stage's own work, in a real project with real processes."""

from __future__ import annotations

import json
import shutil
import signal
import threading
from pathlib import Path

import pytest
from mlflow import MlflowClient

from jokbo.runtime import ancestry, tracking
from tasks.frame.identity import committed, identify
from tests.conftest import ROOT, Project, leave, until
from tests.support import comparison

# as DVC does at the end of a stage, but slower
WRITING = """
import os, time
from dvc.repo import Repo
with Repo().lock:
    text = open("dvc.lock").read()
    open("dvc.lock", "w").write(text.partition("pretrain")[0])
    while not os.path.exists("go"):
        time.sleep(0.05)
    open("dvc.lock", "w").write(text)
"""


def _key(project: Project, stage: str = "pretrain") -> str:
    return json.loads((project.folder / f".jokbo/timings/{stage}.json").read_text())["key"]


def test_a_stage_has_the_identity_that_dvc_gives_it_by_hand_too(project: Project) -> None:
    status, output = project.run("standin", "pretrain")
    assert status == 0, output
    by_hand = _key(project)
    status, output = project.run("dvc", "repro", "--force", "pretrain")
    assert status == 0, output
    assert by_hand == _key(project) == identify("pretrain").key == committed()["pretrain"].key
    # DVC's own run cache files the run under this key: if DVC comes to compute it otherwise, this fails
    assert (project.folder / ".dvc/cache/runs" / by_hand[:2] / by_hand).is_dir()


def test_identity_follows_own_params_and_code_but_not_compute(project: Project) -> None:
    before = identify("pretrain").key
    project.edit("params.yaml", "processes: 1", "processes: 2")
    assert identify("pretrain").key == before
    project.edit("params.yaml", "pretrain:\n  seed: 1", "pretrain:\n  seed: 2")
    changed = identify("pretrain").key
    assert changed != before
    project.edit("standin.py", "import json", "import json  # edited")
    assert identify("pretrain").key not in (before, changed)


def test_a_missing_input_is_one_line(project: Project) -> None:
    status, output = project.run("standin", "finetune")
    assert status == 2
    assert output.count("\n") == 1
    assert output.startswith("jokbo: finetune needs models/pretrain")


def test_bad_params_stop_a_stage_before_it_starts(project: Project) -> None:
    project.edit("params.yaml", "pretrain:\n  seed: 1", "pretrain:\n  sed: 1")
    status, output = project.run("standin", "pretrain")
    assert status == 2
    assert output.count("\n") == 1
    assert "pretrain.sed" in output
    assert not (project.folder / "models").exists()


def test_bad_input_in_a_stage_is_one_line_and_a_failed_run(project: Project) -> None:
    status, output = project.run("standin", "pretrain", WRONG="input")
    assert status == 2
    assert output.splitlines()[1:] == ["jokbo: rows.csv: no column `text`: name it in params.yaml"]
    assert [run.info.status for run in project.runs("pretrain")] == ["FAILED"]


def test_a_mistake_in_a_stage_shows_its_traceback(project: Project) -> None:
    status, output = project.run("standin", "pretrain", WRONG="code")
    assert status == 1
    assert "ValueError: a mistake" in output
    assert [run.info.status for run in project.runs("pretrain")] == ["FAILED"]


def test_killed_then_run_again_is_one_run_with_every_step_once(project: Project) -> None:
    status, _ = project.run("standin", "pretrain", STEPS="6", DIES_AT="3")
    assert status == -signal.SIGKILL
    assert [run.info.status for run in project.runs("pretrain")] == [
        "RUNNING"
    ]  # nobody was left to say otherwise
    status, output = project.run("standin", "pretrain", STEPS="6")
    assert status == 0
    assert "starts at 4" in output
    assert [run.info.status for run in project.runs("pretrain")] == ["FINISHED"]
    assert project.steps("pretrain") == list(range(6))


def test_sigterm_is_a_killed_run_that_can_be_gone_on_with(project: Project) -> None:
    process = project.start("standin", "pretrain", STEPS="1000", PAUSE="0.05")
    until(lambda: any(project.folder.glob(".jokbo/checkpoints/pretrain/*/step")))
    process.terminate()
    output, _ = process.communicate()
    assert process.returncode == 143
    assert output.splitlines()[-1].startswith("jokbo: pretrain stopped")
    assert [run.info.status for run in project.runs("pretrain")] == ["KILLED"]
    done = len(project.steps("pretrain"))
    project.run("standin", "pretrain", STEPS=str(done + 2))
    assert project.steps("pretrain") == list(range(done + 2))


def test_a_second_run_of_a_stage_waits_for_the_first(project: Project) -> None:
    first = project.start("standin", "pretrain", STEPS="1000", PAUSE="0.05")
    until(lambda: any(project.folder.glob(".jokbo/checkpoints/pretrain/*/step")))
    second = project.start("standin", "pretrain", STEPS="1")
    assert second.stdout.readline() == "jokbo: pretrain is already running in this folder: waiting for it\n"
    assert second.poll() is None
    first.terminate()
    first.communicate()
    output, _ = second.communicate()
    assert (first.returncode, second.returncode) == (143, 0), output


def test_an_experiment_in_a_copy_waits_for_the_same_training_in_the_project(project: Project) -> None:
    """As with `dvc exp run --temp`: the copy has checkpoints and runs in common with the project."""
    copy = project.folder.parent / "copy"
    shutil.copytree(project.folder, copy, symlinks=True)
    copied = Project(copy)
    first = project.start("standin", "pretrain", STEPS="1000", PAUSE="0.05")
    until(lambda: any(project.folder.glob(".jokbo/checkpoints/pretrain/*/step")))
    second = copied.start("standin", "pretrain", STEPS="1", DVC_ROOT=str(project.folder))
    assert second.stdout.readline() == "jokbo: pretrain is already running in this folder: waiting for it\n"
    first.terminate()
    first.communicate()
    output, _ = second.communicate()
    assert (first.returncode, second.returncode) == (143, 0), output


def test_a_forced_run_starts_afresh_and_supersedes_the_finished_run(project: Project) -> None:
    project.run("dvc", "repro", "pretrain")
    (before,) = project.runs("pretrain")
    status, output = project.run("dvc", "repro", "--force", "pretrain")
    assert status == 0
    assert "starts at 0" in output
    (after,) = project.runs("pretrain")
    assert after.info.run_id != before.info.run_id
    (superseded,) = project.runs("pretrain", superseded=True)
    assert superseded.info.run_id == before.info.run_id
    assert superseded.info.status == "FINISHED"


def test_a_forced_run_that_is_killed_resumes(project: Project) -> None:
    project.run("dvc", "repro", "pretrain")
    status, _ = project.run("dvc", "repro", "--force", "pretrain", DIES_AT="1")
    assert status != 0
    _, output = project.run("dvc", "repro", "--force", "pretrain")
    assert "starts at 2" in output
    assert project.steps("pretrain") == [0, 1, 2]


def test_checkpoints_go_when_their_stage_is_committed_and_not_before(project: Project) -> None:
    project.run("standin", "pretrain")  # by hand: DVC has not committed it
    mine = next(project.folder.glob(".jokbo/checkpoints/pretrain/*"))
    project.run("standin", "finetune")
    assert mine.exists()
    project.run("dvc", "repro", "distill")
    assert not mine.exists()


def test_every_model_of_a_stage_gets_the_record_of_its_ancestry(project: Project) -> None:
    project.run("dvc", "repro", "finetune")
    record, parent = (ancestry.Record.load(Path("models", name)) for name in ("finetune", "pretrain"))
    assert record.key == committed()["finetune"].key
    assert record.parents == {"models/pretrain": parent.weights}
    assert parent.key == committed()["pretrain"].key
    (run,) = project.runs("finetune")
    assert run.data.tags["out.models/finetune"] == record.weights
    assert not [tag for tag in run.data.tags if tag.startswith("dep.")]
    (inputs,) = project.folder.glob(f".jokbo/mlartifacts/{run.info.run_id}/artifacts/inputs.json")
    assert json.loads(inputs.read_text()) == dict(committed()["finetune"].deps)
    assert run.info.run_name.startswith("finetune seed 1")


def test_a_model_has_beside_it_every_environment_that_it_was_made_in(project: Project) -> None:
    project.run("standin", "pretrain", DIES_AT="1", OMP_NUM_THREADS="3")
    status, output = project.run("standin", "pretrain", OMP_NUM_THREADS="2")
    assert status == 0, output
    record = ancestry.Record.load(Path("models/pretrain"))
    assert [found["threads"] for found in record.environments] == [3, 2]
    assert [path.name for path in Path("models/pretrain").iterdir()] == ["model.safetensors"]
    (run,) = project.runs("pretrain")
    assert run.data.tags["environment.threads"] == "2"
    assert run.data.tags["environment.zero_stage"] == "0"
    project.run("standin", "pretrain", OMP_NUM_THREADS="2", STEPS="4")  # nothing is resumed from here on
    shutil.rmtree(".jokbo/checkpoints")
    project.run("standin", "pretrain", OMP_NUM_THREADS="1")
    record = ancestry.Record.load(Path("models/pretrain"))
    assert [found["threads"] for found in record.environments] == [1]


def test_a_stage_goes_on_without_its_tracker_and_the_next_one_sends_what_it_kept(project: Project) -> None:
    file = project.folder / ".jokbo/mlflow.db"
    down = f"sqlite:///{file.parent / 'no' / 'mlflow.db'}"
    (file.parent / "no").write_text("a file where a folder should be")
    status, output = project.run("standin", "pretrain", MLFLOW_TRACKING_URI=down)
    assert status == 0, output
    assert output.count("jokbo: ") == 1
    (file.parent / "no").unlink()
    status, output = project.run("standin", "finetune", MLFLOW_TRACKING_URI=down)
    assert status == 0, output
    assert "sent to MLflow what 1 earlier run had kept" in output
    client = MlflowClient(down)
    runs = client.search_runs([client.get_experiment_by_name(tracking.EXPERIMENT).experiment_id])
    assert {run.data.tags["stage"]: run.info.status for run in runs} == {
        "pretrain": "FINISHED",
        "finetune": "FINISHED",
    }


@pytest.mark.parametrize(
    "uri", ["htp://me:s3cret@host", "localhost:5000", "http:///x", "sqlite://", "mlruns"]
)
def test_a_tracking_uri_that_is_wrong_is_one_line_before_anything_runs(project: Project, uri: str) -> None:
    status, output = project.run("standin", "pretrain", MLFLOW_TRACKING_URI=uri)
    assert status == 2
    assert output.count("\n") == 1
    assert output.startswith("jokbo: MLFLOW_TRACKING_URI=")
    assert "s3cret" not in output
    assert not (project.folder / "models").exists()


@pytest.fixture
def family(project: Project, first_ended: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The project of an optional graph, whose folder is the current one; what it needs of the chain is there."""
    made = comparison.add_to(project)
    leave(project, first_ended)
    monkeypatch.chdir(made.folder)
    return made


def test_a_stage_that_is_one_of_many_has_an_identity_a_section_and_files_of_its_own(
    project: Project, family: Project
) -> None:
    status, output = family.run("dvc", "repro")
    assert status == 0, output
    keys = {name: committed()[f"family@{name}"].key for name in ("bert", "elmo", "distilbert")}
    assert len(set(keys.values())) == 3
    for name, key in keys.items():
        assert _key(project, f"family@{name}") == identify(f"family@{name}").key == key
        assert (family.folder / f"plots/family/{name}.csv").read_text() == f"part,step,loss\n{name},1,1.0\n"
        (run,) = project.runs(f"family@{name}")
        assert run.data.params["family.systems." + name + ".module"] == name
        assert run.data.metrics["rate"] == json.loads(Path(f"metrics/family/{name}.json").read_text())["rate"]
    record, teacher = (ancestry.Record.load(Path("models", name)) for name in ("distilbert", "bert"))
    assert record.stage == "family@distilbert"
    assert record.parents == {"models/bert": teacher.weights}
    assert teacher.key == keys["bert"]
    assert teacher.parents == {"../models/pretrain": ancestry.weights_of(Path("../models/pretrain"))}

    family.edit("params.yaml", "module: gpt1", "module: gpt2")
    assert identify("family@bert").key == keys["bert"]  # another system's section
    family.edit("params.yaml", "family:\n  seed: 1", "family:\n  seed: 2")
    assert identify("family@bert").key != keys["bert"]


def test_an_optional_graph_leaves_what_it_remembers_with_the_chain(project: Project, family: Project) -> None:
    status, output = family.run("dvc", "repro", "family@bert")
    assert status == 0, output
    assert {path.stem for path in project.folder.glob(".jokbo/timings/*.json")} == {"pretrain", "family@bert"}
    (run,) = project.runs("family@bert")
    assert run.data.tags["git.dirty"] == "False"
    assert not (family.folder / ".jokbo/mlflow.db").exists()
    assert not (family.folder / ".dvc/cache").exists()


def test_so_does_a_copy_of_it_that_an_experiment_works_in(project: Project, family: Project) -> None:
    command = ("exp", "run", "--temp", "--name", "faster", "-S", "family.systems.elmo.learning_rate=0.03")
    status, output = family.run("dvc", *command, "--copy-paths", "../models/pretrain", "family@elmo")
    assert status == 0, output
    (run,) = project.runs("family@elmo")
    assert run.data.metrics["rate"] == 0.03
    assert not (family.folder / "models").exists()


def test_code_above_an_optional_graph_is_code_of_its_stages(family: Project) -> None:
    """Edited while the stage starts, it may have been read before that."""
    family.edit(
        "system.py", "import os, sys, time", "import tasks, os, sys, time\nos.system(os.environ['AT_START'])"
    )
    family.edit("dvc.yaml", "deps: [system.py,", "deps: [system.py, ../tasks/code.py,")
    code = family.folder / "../tasks/code.py"
    code.parent.mkdir()
    code.write_text("pass\n")
    (code.parent / "__init__.py").write_text((ROOT / "tasks/__init__.py").read_text())
    (code.parent / "frame").symlink_to(ROOT / "tasks/frame")
    (family.folder / "../jokbo").symlink_to(ROOT / "jokbo")
    environment = {"PYTHONPATH": str(family.folder.parent), "AT_START": "echo '# edited' >> ../tasks/code.py"}
    status, output = family.run("system", "bert", **environment)
    assert (status, output) == (
        2,
        "jokbo: ../tasks/code.py was edited while the stage started: run it again\n",
    )


def test_what_an_optional_graph_lacks_of_the_chain_is_one_line(project: Project, family: Project) -> None:
    shutil.rmtree(project.folder / "models/pretrain")
    status, output = family.run("system", "bert")
    assert status == 2
    assert output == (
        "jokbo: family@bert needs ../models/pretrain, which is not there: `dvc repro`, in the folder above, makes what "
        "stages make\n"
    )


def test_dvc_lock_is_not_read_while_another_process_writes_it(begun: Project) -> None:
    lock = begun.folder / "dvc.lock"
    whole = lock.read_text()
    (begun.folder / "writing.py").write_text(WRITING)
    writing = begun.start("writing")
    until(lambda: lock.read_text() != whole)
    threading.Timer(
        2, (begun.folder / "go").touch
    ).start()  # it has asked by then, or it finds the lock whole
    assert set(committed()) == {"pretrain"}
    assert writing.wait() == 0


def test_a_full_disk_is_one_line(project: Project) -> None:
    project.edit("standin.py", 'model = Path("models") / NAME', 'Path("/dev/full").write_text("x")')
    status, output = project.run("standin", "pretrain")
    assert status == 2
    assert output.splitlines()[1:] == [
        f"jokbo: {project.folder}: No space left on device: free some space on its disk, and run again"
    ]
    assert [run.info.status for run in project.runs("pretrain")] == ["FAILED"]
