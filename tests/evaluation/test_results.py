"""What `evaluate` found comes back from its file, and another file is told by what it lacks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jokbo.evaluation.evaluation import Evaluation
from jokbo.runtime.errors import InputError
from tests.reporting.findings import findings


def test_what_is_saved_is_loaded_the_same_with_numbers_that_are_not_there(tmp_path: Path) -> None:
    made = findings().evaluation
    assert made.judges["words"].models["supervised"].win_rate is None
    made.save(tmp_path / "evaluation.json")
    assert Evaluation.load(tmp_path / "evaluation.json") == made


def test_a_file_that_lacks_a_number_is_told_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "evaluation.json"
    findings().evaluation.save(file)
    found = json.loads(file.read_text())
    del found["models"]["aligned"]["kl"]
    file.write_text(json.dumps(found))
    with pytest.raises(
        InputError, match=r"evaluation.json: models.aligned.kl: .*run the stage evaluate"
    ) as told:
        Evaluation.load(file)
    assert "\n" not in str(told.value)
