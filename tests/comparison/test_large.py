"""The table of the large comparison, from made-up rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import large
from jokbo.runtime.errors import InputError
from tests.comparison.made_up import result, system

GPU, CPU = {"accelerators": ["a GPU"], "processor": "a CPU"}, {"accelerators": [], "processor": "a CPU"}


def leave(folder: Path, name: str, gains: dict[str, float], environment: dict) -> None:
    results = {
        count: {"pretrained": result(0.6 + gain), "scratch": result(0.6)} for count, gain in gains.items()
    }
    row = system(name) | {"downstream": results, "environment": environment}
    (folder / f"{name}.json").write_text(json.dumps(row))


def test_a_row_has_what_pretraining_adds_with_each_number_of_labels(tmp_path: Path) -> None:
    leave(tmp_path, "bert", {"500": 0.1, "all": 0.0}, GPU)
    leave(tmp_path, "roberta", {"500": 0.2}, GPU)  # the other is still to come
    page = large.table(tmp_path)
    lines = {line.split(" | ")[0].strip("| "): line for line in page.splitlines() if line.startswith("| ")}
    assert "| 500 labels | all labels |" in lines["System"]
    assert "70.0 / 60.0: +10.0" in lines["BERT"]
    assert lines["roberta"].split(" | ")[-2].startswith("80.0 / 60.0: +20.0")
    assert page.startswith(
        "On a GPU. Pretraining pays, by two standard errors, with 500 labels for 2 of 2; "
        "with all labels for 0 of 1 (not BERT)."
    )
    assert "| RoBERTa over BERT |" in page
    assert page.index("With 500 labels") < page.index("| RoBERTa over BERT |")
    assert "With all labels" not in page  # no claim is of BERT alone


def test_a_system_that_is_not_fine_tuned_yet_is_named(tmp_path: Path) -> None:
    leave(tmp_path, "bert", {"500": 0.1}, GPU)
    leave(tmp_path, "roberta", {}, GPU)
    assert "with 500 labels for 1 of 1. Not fine-tuned yet: roberta." in large.table(tmp_path)


def test_rows_of_two_kinds_of_machine_are_no_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no row: run `python -m benchmarks.large SYSTEM`"):
        large.table(tmp_path)
    leave(tmp_path, "bert", {"500": 0.1}, GPU)
    leave(tmp_path, "roberta", {"500": 0.1}, CPU)
    with pytest.raises(InputError, match="one kind of machine: bert on a GPU, roberta on a CPU") as raised:
        large.table(tmp_path)
    assert "\n" not in str(raised.value)
