"""`jokbo eval` gives lm-evaluation-harness's numbers, and they are those of `jokbo shots` where both do the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jokbo.exporting.opening import Opened
from jokbo.prompting import harness, shots
from jokbo.prompting import task as tasks
from jokbo.prompting.harness import Asking
from jokbo.prompting.shots import Asker, Settings
from jokbo.runtime.errors import InputError
from tests.prompting.conftest import OPTIONS, ROWS

Given = Callable[..., Path]
LABELS = list(OPTIONS)
TASK = {
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "rows.jsonl", "shown": "shown.jsonl"}},
    "test_split": "test",
    "fewshot_split": "shown",
    "fewshot_config": {"sampler": "first_n"},
    "output_type": "multiple_choice",
    "doc_to_text": "{{text}}",
    "doc_to_target": "{{['pos', 'neg', 'mixed'].index(label)}}",
    "doc_to_choice": list(OPTIONS.values()),
    "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}, {"metric": "acc_mutual_info"}],
}
MANY = [
    {"text": f"{row['text']} {word}", "label": row["label"]}
    for row in ROWS
    for word in ("was", "in 1950", "they")
]


def written(changes: dict[str, Any] | None = None, shown: list[dict[str, Any]] = ROWS[:3]) -> Path:
    """Write the task's file into a folder that is not below data/local, with its rows beside it."""
    folder = Path("mine")
    folder.mkdir(exist_ok=True)
    for name, rows in (("rows", MANY), ("shown", shown)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {key: value for key, value in (TASK | (changes or {})).items() if value is not None}
    (folder / "reviews.yaml").write_text(json.dumps(task))
    return folder / "reviews.yaml"


def asked(model: Opened, names: list[str], folder: Path | None = None, **asking: Any) -> dict[str, Any]:
    return harness.Tasks(harness.named(names, folder), Asking(**asking)).scores(model)


def test_its_numbers_are_ours(model: Opened, given: Given) -> None:
    """acc is the sum's, acc_norm a character's, acc_mutual_info against the option after the beginning of text."""
    found = asked(model, [str(written())])["reviews"]
    own = tasks.load(given(MANY, unconditional=""))
    (ours,) = shots.summary([Asker(model.network, model.tokenizer, own).ask(Settings(0))])
    pairs = {"acc": "sum", "acc_norm": "character", "acc_mutual_info": "unconditional"}
    for metric, score in pairs.items():
        assert found["scores"][metric]["value"] == pytest.approx(ours["scores"][score]["value"], abs=5e-5)
    assert 0 < found["scores"]["acc"]["value"] < 1
    assert found["scores"]["acc"]["value"] != found["scores"]["acc_norm"]["value"]
    assert (found["examples"], found["shots"], found["cut"]) == (len(MANY), 0, 0)


def test_its_numbers_are_ours_after_examples(
    model: Opened, given: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = asked(model, [str(written())], shots=2)["reviews"]
    own = tasks.load(given(MANY))
    shown = tasks.load(given(ROWS)).rows[:2]
    monkeypatch.setattr("jokbo.prompting.examples.drawn", lambda *_, **__: list(shown))
    (ours,) = shots.summary([Asker(model.network, model.tokenizer, own).ask(Settings(2))])
    assert found["shots"] == 2
    for metric, score in (("acc", "sum"), ("acc_norm", "character")):
        assert found["scores"][metric]["value"] == pytest.approx(ours["scores"][score]["value"], abs=5e-5)
    assert np.isfinite(found["scores"]["acc"]["standard_error"])


def test_a_task_is_found_in_a_folder(model: Opened) -> None:
    written()
    assert asked(model, ["reviews"], Path("mine"), limit=4)["reviews"]["examples"] == 4


def test_a_task_of_the_harness_is_found_by_name() -> None:
    """Its data would come from the hub, which no test asks."""
    assert harness.named(["arc_easy"], None) == [harness.Named("arc_easy", None)]


def test_a_task_whose_rows_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any) -> None:
        raise ConnectionError("Couldn't reach it\non the Hub")

    monkeypatch.setattr(harness.TaskManager, "load", unreachable)
    with pytest.raises(
        InputError, match="--tasks arc_easy: Couldn't reach it on the Hub: its rows are on"
    ) as raised:
        harness.Tasks([harness.Named("arc_easy", None)], Asking())
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"doc_to_text": "{{txt}}"}, "'txt' is undefined: correct the task or its rows"),
        ({"process_docs": "cut"}, "process_docs is code"),
        ({"metric_list": [{"metric": "bleurt"}]}, "would be looked for on the hub"),
        ({"dataset_path": "super_glue"}, "nothing is got from the hub"),
        ({"dataset_kwargs": {"data_files": {"test": "gone.jsonl"}}}, r"data_files names gone\.jsonl"),
        ({"doc_to_target": "{{'else'}}"}, "none of its 3 choices"),
    ],
)
def test_bad_task_files(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as raised:
        harness.Tasks(harness.named([str(written(changes))], None), Asking())
    assert "\n" not in str(raised.value)
    assert "reviews.yaml" in str(raised.value)


def test_unknown_names() -> None:
    written()
    with pytest.raises(InputError, match=r"--tasks review: neither .* did you mean reviews\?"):
        harness.named(["review"], Path("mine"))
    with pytest.raises(InputError, match=r"gone\.yaml: no such file"):
        harness.named(["gone.yaml"], None)
    with pytest.raises(InputError, match="no such folder"):
        harness.named(["reviews"], Path("theirs"))
    with pytest.raises(InputError, match="reviews is there twice"):
        harness.named(["reviews", "mine/reviews.yaml"], Path("mine"))


def test_an_included_file_is_named_from_where_it_is_included(model: Opened) -> None:
    file = written()
    Path("mine/more").mkdir()
    Path("mine/more/two.yaml").write_text("include: ../reviews.yaml\nnum_fewshot: 1\n")
    found = asked(model, ["mine/more/two.yaml"], limit=2)["two"]
    assert (found["shots"], found["examples"]) == (1, 2)
    file.write_text(json.dumps({**TASK, "include": "more/two.yaml"}))
    with pytest.raises(InputError, match="includes this file"):
        harness.named(["mine/more/two.yaml"], None) and harness.opened(Path("mine/more/two.yaml"), None)
