"""Checks look at the stages that are to run, and at nothing that is stale."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from jokbo.data.counts import Counts, SourceCounts
from jokbo.runtime.errors import InputError
from tasks.frame import checks
from tasks.frame.paths import COUNTS, DOCUMENTS, RAW
from tests.conftest import ROOT, Project
from tests.params.settings import STAGES, settings


def test_dvc_repro_is_held_to_what_it_was_asked_for(project: Project) -> None:
    project.edit("params.yaml", "splits: {train: 0.65,", "splits: {train: 0.80,")
    project.edit("params.yaml", "judge: 0.15}", "judge: 0.0}")
    with Path("dvc.yaml").open("a") as file:
        file.write("  evaluate: {cmd: python -m standin evaluate, deps: [models/finetune]}\n")
    status, output = project.run("dvc", "repro")
    assert (
        "jokbo: params.yaml: prepare.splits.judge is 0, but evaluate reads that split: give it a share"
        in output
    )
    assert (status, Path("models/pretrain").exists()) == (255, False)
    status, output = project.run("dvc", "repro", "pretrain")
    assert (status, Path("models/pretrain").exists()) == (0, True), output


@pytest.fixture
def prepared(raw: Path, counts: Counts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with raw rows and their counts in it."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    RAW.parent.mkdir()
    RAW.symlink_to(raw)
    DOCUMENTS.mkdir()
    counts.save(DOCUMENTS / COUNTS)
    return tmp_path


def test_a_stage_looks_at_what_those_after_it_ask(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = settings(finetune__tasks__rotten_tomatoes__source="nosuch")
    monkeypatch.setenv(checks.STAGES, ",".join(STAGES))
    for stage in ("prepare", "tokenize", "pretrain", "tasks"):
        with pytest.raises(InputError, match="nosuch"):
            checks.check_before(stage, wrong)
    checks.check_before("distill", wrong)
    checks.check_before("fetch", wrong)
    monkeypatch.setenv(checks.STAGES, "fetch,prepare,tokenize,pretrain")
    checks.check_before("prepare", wrong)
    checks.check_before("pretrain", wrong)


def test_what_is_stale_says_nothing(prepared: Path) -> None:
    wrong = settings(finetune__tasks__rotten_tomatoes__source="nosuch")
    checks.check(wrong, STAGES, ["fetch", "prepare"])
    with pytest.raises(InputError, match="nosuch"):
        checks.check(wrong, STAGES, ["prepare"])
    Counts(sources={"nosuch": SourceCounts(rows=0)}).save(DOCUMENTS / COUNTS)
    with pytest.raises(InputError, match="there is no source nosuch"):
        checks.check(wrong, STAGES, ["prepare"])
