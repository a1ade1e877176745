"""Scores of benchmark tasks are those that are worked out by hand, one sequence at a time, without the harness."""

from __future__ import annotations

import json
import math
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from jokbo.evaluation import evaluation
from jokbo.evaluation.benchmarks import harness
from jokbo.models import causal
from jokbo.params.chain import Benchmark
from jokbo.runtime.errors import InputError
from tests.conftest import ROOT
from tests.support import adopted

CONTEXT = 40
CHOICES = ["good", "not so good at all", "bad"]
ROWS = [
    {"text": "The film was warm and", "label": 0},
    {"text": "They say the plot was", "label": 2},
    {"text": "In 1950 the score seemed", "label": 1},
    {"text": "A dull film", "label": 2},
    {"text": "Wonderful, they say", "label": 0},
]
TASK = {
    "task": "reviews",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "rows.jsonl"}},
    "test_split": "test",
    "output_type": "multiple_choice",
    "doc_to_text": "{{text}}",
    "doc_to_target": "label",
    "doc_to_choice": CHOICES,
    "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}, {"metric": "mcc"}],
}


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in a project of its own, where no name of the network can be looked up."""
    (tmp_path / "data/local/mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    def refuse(*asked: Any, **options: Any) -> None:
        raise AssertionError(f"the network is asked: {asked}")

    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return adopted.tokenizer("<pad>", "</s>", pad_token="<pad>", eos_token="</s>")


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def net(request: pytest.FixtureRequest, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    sizes = {"layers": 2, "hidden_size": 16, "heads": 2, "context": CONTEXT, "dropout": 0.0}
    settings: Any = SimpleNamespace(architecture=request.param, **sizes)
    config = causal.configuration(settings, vocabulary=len(tokenizer), end_of_text=1, padding=0)
    built = causal.build(config, seed=0)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.mul_(5 if parameter.ndim > 1 else 1)  # far enough from uniform
    return built.eval()


def given(
    rows: list[dict[str, Any]] = ROWS, changes: dict[str, Any] | None = None, **settings: Any
) -> Benchmark:
    """Write a task and its rows; return the settings that name it. A change to None takes a key out."""
    folder = Path("data/local/mine")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {key: value for key, value in (TASK | (changes or {})).items() if value is not None}
    (folder / "task.yaml").write_text(json.dumps(task))  # JSON is YAML
    return Benchmark.model_validate({"file": "mine/task.yaml", **settings})


def scored(net: Any, tokenizer: Any, benchmark: Benchmark, seed: int = 1) -> evaluation.Benchmark:
    return harness.scores("reviews", benchmark, {"base": net}, tokenizer, seed, 200)


def log_likelihood(net: PreTrainedModel, asked: list[int], answer: list[int]) -> float:
    """Return that of the answer's tokens after those asked, of which the last ones that fit are read."""
    whole = (asked + answer)[-(CONTEXT + 1) :]
    with torch.no_grad():
        log_probs_TV = net(torch.tensor([whole[:-1]])).logits[0].log_softmax(-1)
    places = range(len(whole) - 1 - len(answer), len(whole) - 1)
    return sum(log_probs_TV[place, whole[place + 1]].item() for place in places)


def by_hand(
    net: PreTrainedModel, tokenizer: Any, asked: list[str], rows: list[dict[str, Any]]
) -> tuple[list, list]:
    """Return for each row whether the right choice is the likeliest, and whether it is so a character."""
    right, right_a_character = [], []
    for question, row in zip(asked, rows, strict=True):
        found = [
            log_likelihood(net, tokenizer.encode(question), tokenizer.encode(f" {choice}"))
            for choice in CHOICES
        ]
        right.append(int(np.argmax(found)) == row["label"])
        right_a_character.append(
            int(np.argmax([one / len(c) for one, c in zip(found, CHOICES, strict=True)])) == row["label"]
        )
    return right, right_a_character


def test_multiple_choice(net: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    found = scored(net, tokenizer, given())
    right, right_a_character = by_hand(net, tokenizer, [row["text"] for row in ROWS], ROWS)
    assert (found.examples, found.shots, found.cut) == (5, 0, 0)
    assert set(found.models["base"]) == {"acc", "acc_norm", "mcc"}
    accuracy = found.models["base"]["acc"]
    assert accuracy.value == pytest.approx(np.mean(right))
    assert accuracy.standard_error == pytest.approx(np.std(right, ddof=1) / math.sqrt(5))
    assert found.models["base"]["acc_norm"].value == pytest.approx(np.mean(right_a_character))


def test_the_log_likelihood_of_an_answer(net: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    """Sequences of several lengths stand in one batch; some questions are empty, some longer than the context."""
    rows = [
        *ROWS,
        {"text": "", "label": 0},
        {"text": ("They say the plot was dull. " * 9).strip(), "label": 1},
    ]
    metrics = [{"metric": "perplexity", "aggregation": "perplexity"}, {"metric": "acc"}]
    answer = "{{[' good', ' not so good at all', ' bad'][label]}}"
    changes = {
        "output_type": "loglikelihood",
        "doc_to_choice": None,
        "doc_to_target": answer,
        "metric_list": metrics,
    }
    found = scored(net, tokenizer, given(rows, changes))
    nats = [
        log_likelihood(
            net, tokenizer.encode(row["text"]) or [1], tokenizer.encode(f" {CHOICES[row['label']]}")
        )
        for row in rows
    ]
    assert found.models["base"]["perplexity"].value == pytest.approx(math.exp(-np.mean(nats)), rel=1e-4)
    assert found.cut == 1


def test_the_perplexity_of_whole_texts(net: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    """A text begins after the end of text, and one that is longer than the context is read in windows."""
    text = "The film was wonderful and the score seemed warm to me. "
    rows = [{"text": text}, {"text": text * 3}]
    changes = {"output_type": "loglikelihood_rolling", "doc_to_choice": None, "doc_to_target": "{{text}}"}
    metrics = [{"metric": "bits_per_byte"}]
    found = scored(net, tokenizer, given(rows, changes | {"doc_to_text": "", "metric_list": metrics}))
    nats = 0.0
    for row in rows:
        tokens = [1, *tokenizer.encode(row["text"])]
        nats -= log_likelihood(net, tokens[:1], tokens[1 : CONTEXT + 1])
        for begin in range(CONTEXT + 1, len(tokens), CONTEXT):
            window = tokens[begin : begin + CONTEXT]
            nats -= log_likelihood(net, tokens[:begin], window)
    bits = nats / math.log(2) / sum(len(row["text"].encode()) for row in rows)
    assert found.models["base"]["bits_per_byte"].value == pytest.approx(bits, rel=1e-4)
    assert found.cut == 0


def test_written_answers(net: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    """What the model writes, token by token, to a question of any length in the batch."""

    def written(question: str) -> str:
        tokens = tokenizer.encode(question)
        for _ in range(4):
            with torch.no_grad():
                tokens.append(int(net(torch.tensor([tokens])).logits[0, -1].argmax()))
            if tokens[-1] == 1:
                break
        answer = tokenizer.decode(tokens[len(tokenizer.encode(question)) :], skip_special_tokens=True)
        assert isinstance(answer, str)
        return answer

    rows = [{"text": row["text"], "answer": written(row["text"]) if i else "?"} for i, row in enumerate(ROWS)]
    changes = {
        **{"output_type": "generate_until", "doc_to_choice": None, "doc_to_target": "answer"},
        "generation_kwargs": {"max_gen_toks": 4, "until": ["</s>"], "do_sample": False},
        "metric_list": [{"metric": "exact_match"}],
    }
    assert scored(net, tokenizer, given(rows, changes)).models["base"]["exact_match"].value == pytest.approx(
        0.8
    )


def test_no_question_is_among_the_examples_before_it(net: PreTrainedModel, tokenizer: Any) -> None:
    """With four examples of five rows, each question must be asked after just the other four."""
    rows = [{"text": text, "label": label} for text, label in zip("abcde", (0, 2, 0, 2, 0), strict=True)]
    changes = {"doc_to_choice": ["x", "y", "z"], "fewshot_delimiter": " ", "target_delimiter": "="}
    asked: list[str] = []
    plain = harness._Network._loglikelihood_tokens

    def noted(self: Any, requests: Any, **options: Any) -> Any:
        asked.extend(question for (question, _), _, _ in requests)
        return plain(self, requests, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harness._Network, "_loglikelihood_tokens", noted)
        found = scored(net, tokenizer, given(rows, changes, shots=4))
        again = scored(net, tokenizer, given(rows, changes, shots=4))
    assert found == again
    assert found.shots == 4
    assert asked[: len(asked) // 2] == asked[len(asked) // 2 :]
    for question in asked:
        *examples, last = question.split()
        assert sorted([*(example[0] for example in examples), last]) == list("abcde")


def test_the_first_examples(net: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    found = scored(net, tokenizer, given(limit=2))
    right, _ = by_hand(net, tokenizer, [row["text"] for row in ROWS[:2]], ROWS[:2])
    assert (found.examples, found.models["base"]["acc"].value) == (2, np.mean(right))


def test_an_answer_longer_than_the_context(net: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(InputError, match=rf"reviews: the answer .* tokens .*: it needs 1 to {CONTEXT}"):
        scored(net, tokenizer, given(changes={"doc_to_choice": ["good", "bad", "dull " * 50]}))


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
        ({"include": "other.yaml"}, "include cannot be used here: write a task on its own"),
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
