"""Scores of benchmark tasks are those that are worked out by hand, one sequence at a time, without the harness."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from jokbo.evaluation.benchmarks import harness
from jokbo.runtime.errors import InputError
from tests.evaluation.benchmarks.asking import (
    CHOICES,
    CONTEXT,
    LETTERS,
    ROWS,
    SHORT,
    by_hand,
    given,
    log_likelihood,
    questions,
    scored,
)
from tests.evaluation.benchmarks.conftest import TEMPLATE


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
    benchmark = given(LETTERS, SHORT, shots=4)
    assert scored(net, tokenizer, benchmark).shots == 4
    asked = questions(net, tokenizer, benchmark)
    assert asked == questions(net, tokenizer, benchmark)
    assert len(asked) == 15
    for question, _ in asked:
        *examples, last = question.split()
        assert sorted([*(example[0] for example in examples), last]) == list("abcde")


def examples(net: Any, tokenizer: Any, config: dict[str, Any], **changes: Any) -> set[str]:
    """Return what stands before the questions a to e, with one example or as many as `num_fewshot` says."""
    changes = {"num_fewshot": 1, "fewshot_config": config, **SHORT, **changes}
    return {question[:-1] for question, _ in questions(net, tokenizer, given(LETTERS, changes))}


def test_examples_are_those_of_fewshot_config(net: PreTrainedModel, tokenizer: Any) -> None:
    assert examples(net, tokenizer, {"sampler": "first_n"}) == {"a=x ", "b=z "}  # none is its own example
    assert examples(net, tokenizer, {"sampler": "first_n"}, num_fewshot=2) == {
        "a=x b=z ",
        "a=x c=x ",
        "b=z c=x ",
    }
    assert examples(net, tokenizer, {"samples": [{"text": "f", "label": 1}]}) == {"f=y "}
    written = {
        "samples": [{"text": "f", "label": 1}],
        "doc_to_text": "{{text}}{{text}}",
        "fewshot_delimiter": ";",
    }
    assert examples(net, tokenizer, written) == {"ff=y;"}
    Path("data/local/mine/more.jsonl").write_text(json.dumps({"text": "g", "label": 0}) + "\n")
    files = {"data_files": {"test": "rows.jsonl", "shown": "more.jsonl"}}
    assert examples(net, tokenizer, {"split": "shown"}, dataset_kwargs=files) == {"g=x "}


def test_by_a_chat_template_the_answer_is_the_assistants(net: PreTrainedModel, chatting: Any) -> None:
    found = scored(net, chatting, given(apply_chat_template=True))
    asked = [f"u: {row['text']}\na:" for row in ROWS]
    right, right_a_character = by_hand(net, chatting, asked, ROWS)
    assert found.models["base"]["acc"].value == pytest.approx(np.mean(right))
    assert found.models["base"]["acc_norm"].value == pytest.approx(np.mean(right_a_character))


def test_examples_are_turns_or_one_question(net: PreTrainedModel, chatting: Any) -> None:
    changes = {**SHORT, "description": "Hi", "fewshot_config": {"sampler": "first_n"}}
    template = {"shots": 1, "apply_chat_template": True}
    turns = questions(net, chatting, given(LETTERS[:2], changes, **template))
    assert ("s: Hi\nu: b\na: z</s>u: a\na:", " x") in turns
    one = questions(net, chatting, given(LETTERS[:2], changes, **template, fewshot_as_multiturn=False))
    assert ("s: Hi\nu: b=z a\na:", " x") in one
    assert len(turns) == len(one) == 6


def test_a_model_without_a_chat_template_or_with_one_that_refuses(
    net: PreTrainedModel, tokenizer: Any, chatting: Any
) -> None:
    benchmark = given(changes={"description": "Answer."}, apply_chat_template=True)
    with pytest.raises(
        InputError, match="reviews: apply_chat_template is true, but the models have no chat template"
    ):
        scored(net, tokenizer, benchmark)
    chatting.chat_template = "{{ raise_exception('no system') if messages[0].role == 'system' }}" + TEMPLATE
    with pytest.raises(
        InputError, match=r"reviews: the chat template fails \(no system\): take .* description"
    ):
        scored(net, chatting, benchmark)
    scored(net, chatting, given(apply_chat_template=True))


def test_what_is_written_by_a_chat_template_is_compared_without_the_space_before_it(
    net: PreTrainedModel, chatting: Any
) -> None:
    changes = {
        **{"output_type": "generate_until", "doc_to_choice": None, "doc_to_target": "answer"},
        "generation_kwargs": {"max_gen_toks": 4, "until": ["</s>"], "do_sample": False},
        "metric_list": [{"metric": "exact_match"}],
    }
    rows = [{"text": row["text"], "answer": "written"} for row in ROWS]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(harness._Harness, "generate_until", lambda self, asked, _: [" written"] * len(asked))
        found = scored(net, chatting, given(rows, changes, apply_chat_template=True))
        plain = scored(net, chatting, given(rows, changes))
    assert (found.models["base"]["exact_match"].value, plain.models["base"]["exact_match"].value) == (1, 0)


def test_the_first_examples(net: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    found = scored(net, tokenizer, given(limit=2))
    right, _ = by_hand(net, tokenizer, [row["text"] for row in ROWS[:2]], ROWS[:2])
    assert (found.examples, found.models["base"]["acc"].value) == (2, np.mean(right))


def test_an_answer_longer_than_the_context(net: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(InputError, match=rf"reviews: the answer .* tokens .*: it needs 1 to {CONTEXT}"):
        scored(net, tokenizer, given(changes={"doc_to_choice": ["good", "bad", "dull " * 50]}))
