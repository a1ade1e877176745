"""What a plan says, beside what DVC then does."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from flows import plan, planned
from jokbo import params
from jokbo.runtime import tracking
from jokbo.runtime.errors import InputError
from jokbo.team import forecast
from tests.conftest import Project, reproduced

SEEDS = {name: (f"{name}:\n  seed: 1", f"{name}:\n  seed: 2") for name in ("pretrain", "finetune")}


def _plan(until: str | None = None) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {each.name: (each.what, each.why) for each in plan.read(until)}


def _whats() -> dict[str, str]:
    return {name: what for name, (what, _) in _plan().items()}


STAYS = dict.fromkeys(("pretrain", "finetune", "distill"), plan.STAYS)


def test_what_changed_is_named_and_what_depends_on_it_may_be_skipped(done: Project) -> None:
    assert _whats() == STAYS
    done.edit("params.yaml", *SEEDS["finetune"])
    own = ("finetune.seed: 2, was 1",)
    assert _plan() == {**dict.fromkeys(STAYS, (plan.STAYS, ())), "finetune": (plan.RUNS, own)}
    done.edit("params.yaml", *SEEDS["pretrain"])
    before = "pretrain runs before it"
    assert _plan() == {
        "pretrain": (plan.RUNS, ("pretrain.seed: 2, was 1",)),
        "finetune": (plan.RUNS, (*own, before)),
        "distill": (plan.MAYBE, (before,)),
    }
    assert list(_plan("finetune")) == ["pretrain", "finetune"]


def test_code_missing_outputs_and_what_never_ran_are_told_apart(begun: Project) -> None:
    assert _plan()["finetune"] == (plan.RUNS, ("it has not run yet",))
    shutil.rmtree("models/pretrain")
    found = _plan()
    assert found["pretrain"] == (plan.CACHED, ("models/pretrain is not there",))
    with open("standin.py", "a") as file:
        file.write("# a word\n")
    what, why = _plan()["pretrain"]
    assert (what, set(why)) == (plan.RUNS, {"models/pretrain is not there", "code: standin.py changed"})


def test_what_the_cache_has_comes_from_there_and_what_reads_it_stays(done: Project) -> None:
    """The seed goes to 2 and back to 1: as DVC then does, nothing runs."""
    done.edit("params.yaml", *SEEDS["pretrain"])
    reproduced(done, "pretrain")
    done.edit("params.yaml", *reversed(SEEDS["pretrain"]))
    shutil.rmtree("models/distill")
    assert _whats() == {"pretrain": plan.CACHED, "finetune": plan.STAYS, "distill": plan.CACHED}
    status, output = done.run("dvc", "repro")
    assert status == 0
    assert "starts at" not in output
    assert "Stage 'pretrain' is cached" in output
    assert "Stage 'finetune' didn't change, skipping" in output


def test_a_plan_starts_nothing_and_says_what_it_would_take(
    done: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done.edit("params.yaml", *SEEDS["finetune"])
    Path(".jokbo/timings/finetune.json").write_text(json.dumps({"key": "k", "seconds": 83.0}))
    before = {path: path.stat().st_mtime_ns for path in Path("models").rglob("*")}
    planned.show(params.load())
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    (row,) = [line for line in text.splitlines() if line.split()[:1] == ["finetune"]]
    assert "1 min 23 s*" in row
    assert "* as it took with other parameters" in text
    assert "Up to date: 2 of 3." in text
    assert {path: path.stat().st_mtime_ns for path in Path("models").rglob("*")} == before
    assert done.client.get_experiment_by_name(tracking.EXPERIMENT) is None
    done.edit("params.yaml", *reversed(SEEDS["finetune"]))
    planned.show(params.load())
    assert capsys.readouterr().out == "Nothing would run: all 3 stages are up to date.\n"


def test_a_time_is_of_a_run_with_the_same_parameters_on_this_kind_of_machine(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tracking.local_store(Path(".jokbo").resolve())
    for number, (seed, seconds) in enumerate(((1, 10.0), (2, 20.0), (3, 30.0))):
        of = tracking.Subject("finetune", f"k{number}", {"finetune": {"seed": seed}}, {"stage": "finetune"})
        with tracking.open_run(of, tracking_uri=store) as run:
            run.log({"seconds": seconds})
    asked = {"finetune": {"finetune.seed": 2}, "pretrain": {}}
    assert forecast.times(asked) == {"finetune": (20.0, True)}
    assert forecast.times({"finetune": {"finetune.seed": 9}}) == {"finetune": (30.0, False)}
    monkeypatch.setattr("jokbo.runtime.environment._processor", lambda: "another")
    assert forecast.times(asked) == {}


def test_while_a_stage_runs_there_is_no_plan_and_no_waiting(done: Project) -> None:
    held = {str(Path("models/finetune").resolve()): {"pid": os.getpid(), "cmd": "dvc repro finetune"}}
    Path(".dvc/tmp/rwlock").write_text(json.dumps({"write": held, "read": {}}))
    done.edit("params.yaml", *SEEDS["finetune"])
    with pytest.raises(
        InputError, match=r"\(PID \d+\): .* works in this folder: ask again when it has ended"
    ):
        plan.read()


def test_the_command_ends_well_and_refuses_what_the_flow_would(done: Project) -> None:
    status, output = done.run("flows.pipeline", "--plan")
    assert (status, output) == (0, "Nothing would run: all 3 stages are up to date.\n")
    done.edit("params.yaml", "pretrain:\n  seed: 1", "pretrain:\n  sed: 1")
    status, output = done.run("jokbo.cli", "run", "--plan")
    assert (status, output.count("\n")) == (2, 1)
    assert "pretrain.sed" in output
