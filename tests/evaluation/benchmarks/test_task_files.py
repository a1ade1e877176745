"""What of the file of a task is data is taken, also from files that it includes; the rest is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedModel

from jokbo.evaluation.benchmarks import harness
from jokbo.params.chain import Benchmark
from jokbo.runtime.errors import InputError
from tests.conftest import ROOT
from tests.evaluation.benchmarks.asking import CONTEXT, LETTERS, SHORT, given, questions


def test_a_task_takes_from_those_it_includes_what_it_does_not_say(
    net: PreTrainedModel, tokenizer: Any
) -> None:
    """Rows are named from the file that names them; what is nearer counts."""
    benchmark = given(LETTERS)
    folder = Path("data/local")
    whole = json.loads((folder / "mine/task.yaml").read_text()) | SHORT
    (folder / "mine/more").mkdir()
    rows = {"dataset_kwargs": {"data_files": {"test": "../rows.jsonl"}}}
    (folder / "mine/more/base.yaml").write_text(json.dumps(whole | rows))
    (folder / "choices.yaml").write_text(json.dumps({"doc_to_choice": ["k", "l", "m"], "num_fewshot": 1}))
    own = {"include": ["more/base.yaml", "../choices.yaml"], "num_fewshot": 0, "doc_to_text": "{{text}}?"}
    (folder / "mine/task.yaml").write_text(json.dumps(own))
    asked = questions(net, tokenizer, benchmark)
    assert set(asked) == {(f"{row['text']}?", f"={choice}") for row in LETTERS for choice in "klm"}


@pytest.mark.parametrize(
    ("other", "name", "message"),
    [
        ({}, "no.yaml", "include names no.yaml: put that file into data/local/mine"),
        (
            {},
            "../../../params.yaml",
            "a name in include is '../../../params.yaml': give it relative to data/local",
        ),
        ({}, "/etc/passwd", "a name in include is '/etc/passwd'"),
        ({}, "https://x.org/a.yaml", "nothing is got from the network"),
        ({"process_docs": "utils.clean"}, "other.yaml", "other.yaml: process_docs is code"),
        (
            {"include": "task.yaml"},
            "other.yaml",
            "other.yaml: include names .*task.yaml, which includes this file",
        ),
        ({"doc_to_text": "{{ ''.__class__.__mro__ }}"}, "other.yaml", "SecurityError"),
        ({"group": "all"}, "other.yaml", "other.yaml: group cannot be used here: take it out"),
    ],
)
def test_what_is_included_is_data_below_data_local(other: dict[str, Any], name: str, message: str) -> None:
    benchmark = given(changes={"include": name, "doc_to_text": None})
    Path("data/local/mine/other.yaml").write_text(json.dumps({"doc_to_text": "{{text}}"} | other))
    with pytest.raises(InputError, match=message) as raised:
        harness.check("reviews", benchmark, CONTEXT)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset_path": "imdb"}, "dataset_path is 'imdb', and nothing is got from the hub"),
        (
            {"dataset_kwargs": {"data_files": {"test": "no.jsonl"}}},
            "data_files names no.jsonl: put that file into",
        ),
        ({"dataset_kwargs": {"data_files": "https://x.org/a.jsonl"}}, "nothing is got from the network"),
        ({"dataset_kwargs": {"data_files": {"test": "../../../etc/passwd"}}}, "relative to data/local"),
        (
            {"dataset_kwargs": {"data_files": {"train": "rows.jsonl"}}},
            "test_split is test, but data_files has train",
        ),
        ({"test_split": None}, "test_split is not there"),
        ({"metric_list": [{"metric": "rouge"}]}, "the metric 'rouge' would be looked for on the hub"),
        ({"metric_list": [{"metric": "acc", "hf_evaluate": True}]}, "the metric 'acc' would be looked for"),
        (
            {"metric_list": [{"metric": "acc", "aggregation": "nosuch"}]},
            "the aggregation of acc is not known",
        ),
        ({"metric_list": [{"metric": "f1"}]}, "task.yaml: ValueError: Target is multiclass"),
        ({"process_docs": "utils.clean"}, "process_docs is code"),
        ({"group": ["a"]}, "group cannot be used here: take it out"),
        ({"fewshot_config": "first_n"}, "fewshot_config is 'first_n': write its keys"),
        (
            {"fewshot_config": {"sampler": "mine"}},
            "fewshot_config.sampler is 'mine': it must be default or first_n",
        ),
        ({"fewshot_config": {"process_docs": "utils.f"}}, "fewshot_config.process_docs is code"),
        ({"fewshot_config": {"count": 2}}, "fewshot_config.count cannot be used here: it can have sampler"),
        ({"fewshot_config": {"split": "dev"}}, "fewshot_config.split is 'dev', but data_files has test"),
        (
            {"fewshot_config": {"fewshot_indices": [0]}},
            "fewshot_config.fewshot_indices is not read by the harness",
        ),
        (
            {"fewshot_config": {"samples": "utils.samples"}},
            "samples is 'utils.samples': write a list of rows",
        ),
        ({"fewshot_config": {"samples": [{"text": "f"}], "split": "test"}}, "has samples and split"),
        (
            {"fewshot_config": {"samples": [{"text": "f"}]}, "num_fewshot": 1},
            "row 1 of fewshot_config.samples: .*label",
        ),
        ({"task": ["a", "b"]}, "task is a list"),
        ({"output_type": "guess"}, "output_type is 'guess': it must be multiple_choice"),
        ({"doc_to_choice": None}, "doc_to_choice is not there"),
        ({"doc_to_text": "{{txt}}"}, r"task.yaml: .*'txt' is undefined"),
        ({"doc_to_text": "{{ ''.__class__.__mro__ }}"}, "task.yaml: SecurityError"),
        ({"doc_to_choice": ["good", "bad"]}, "row 2 of test: its answer is '2', none of its 2 choices"),
        ({"num_fewshot": 9}, "ValueError: Sample larger than population"),
    ],
)
def test_what_is_wrong_with_a_task_is_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        harness.check("reviews", given(changes=changes), CONTEXT)
    assert str(raised.value).startswith("evaluate.benchmarks.reviews: ")
    assert "\n" not in str(raised.value)


def test_a_right_task_passes_the_check() -> None:
    harness.check("reviews", given(), CONTEXT)


def test_a_function_is_not_run() -> None:
    benchmark = given()
    Path("data/local/mine/utils.py").write_text("raise SystemExit('it ran')\n")
    with open("data/local/mine/task.yaml", "w") as file:
        file.write("task: reviews\nprocess_docs: !function utils.clean\n")
    with pytest.raises(
        InputError, match=r"task.yaml: line 2: !function names code, and a task's code is not run"
    ):
        harness.check("reviews", benchmark, CONTEXT)


def test_a_row_that_is_no_json_is_named() -> None:
    benchmark = given()
    with open("data/local/mine/rows.jsonl", "a") as file:
        file.write("{text\n")
    with pytest.raises(InputError, match=r"rows.jsonl: .*JSON"):
        harness.check("reviews", benchmark, CONTEXT)


def test_a_response_longer_than_the_context() -> None:
    changes = {"output_type": "generate_until", "doc_to_choice": None, "metric_list": None}
    with pytest.raises(
        InputError, match=f"may have 256 tokens, and the context {CONTEXT}: lower generation_kwargs"
    ):
        harness.check("reviews", given(changes=changes), CONTEXT)


def test_the_example_of_the_page_passes_the_check() -> None:
    """The rows and the task stand in docs/own-benchmarks.md as a user would copy them."""
    page = (ROOT / "docs/own-benchmarks.md").read_text()
    rows, task = page.partition("```json\n")[2], page.partition("\n```\n")[2].partition("```\n")[2]
    folder = Path("data/local/tasks")
    folder.mkdir()
    (folder / "reviews.jsonl").write_text(rows.partition("```")[0])
    (folder / "reviews.yaml").write_text(task.partition("```")[0])
    harness.check("reviews", Benchmark(file="tasks/reviews.yaml"), CONTEXT)
