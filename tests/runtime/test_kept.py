"""What a run measured says when and on what; measured again to the same, it stays as it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from jokbo.runtime import ancestry, environment, kept

NUMBERS = {"rows": [{"name": "bert", "nats": 5.25}], "claims": []}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder of two models that were made on this machine."""
    for name in ("bert", "elmo"):
        model = tmp_path / "models" / name
        model.mkdir(parents=True)
        (model / "model.safetensors").write_text(name)
        record = ancestry.made(model, stage=name, key=name, params={}, deps={})
        replace(record, environments=[environment.collect()]).save(model)
    return tmp_path / "models"


def test_numbers_have_the_day_and_the_machine_that_they_were_new_on(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, today = tmp_path / "table.json", ["2026-01-01"]
    monkeypatch.setattr("time.strftime", lambda form: today[0])
    kept.keep(path, NUMBERS, models)
    found = json.loads(path.read_text())
    machine = environment.machine(environment.collect())
    assert found == {**NUMBERS, "measured": {"date": "2026-01-01", "machine": machine}}
    assert kept.when(found) == f"2026-01-01 on {machine}"
    today[0] = "2026-01-02"
    kept.keep(path, NUMBERS, models)
    assert json.loads(path.read_text()) == found
    today[0] = "2026-01-03"
    kept.keep(path, {**NUMBERS, "claims": ["seen"]}, models)
    assert json.loads(path.read_text())["measured"]["date"] == "2026-01-03"


def test_of_numbers_without_a_day_it_says_so() -> None:
    assert kept.when(NUMBERS) == "on a day and a machine that are not written down"
