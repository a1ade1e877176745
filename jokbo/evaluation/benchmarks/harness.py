"""Benchmark tasks of the user's own on the chain's models. This is the one place that imports lm-evaluation-harness.

Importing it takes seconds: import this file only where there are benchmarks.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import datasets
import torch
from datasets.exceptions import DatasetGenerationError
from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from lm_eval import evaluator, utils
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.task import ConfigurableTask
from lm_eval.models import huggingface
from lm_eval.models.utils import normalize_gen_kwargs
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from jokbo.data.conversations.chat import Chat
from jokbo.data.conversations.turns import USER, Turn
from jokbo.evaluation import evaluation
from jokbo.evaluation.benchmarks import task_files
from jokbo.evaluation.benchmarks.task_files import TaskFile
from jokbo.models import access
from jokbo.runtime.errors import InputError, about, line_of
from jokbo.runtime.text import printable

if TYPE_CHECKING:
    from jokbo.params.chain import Benchmark

LOGITS = 2**26  # most numbers that a forward pass leaves
NO_FILTER = "none"  # what the harness calls it
os.environ.setdefault("DISABLE_MULTIPROC", "1")  # its resamples would fork a process that holds networks
logging.getLogger("lm_eval").setLevel(logging.ERROR)


def _sandbox() -> None:
    """Have templates of tasks render in a sandbox: as the harness renders them they can run any Python."""
    sandbox = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
    sandbox.filters |= utils.env.filters
    utils.env = sandbox


_sandbox()


_Harness: Any = huggingface.HFLM  # its decorator hides its type


class _Network(_Harness):
    """A network as the harness asks it. It notes the examples whose beginning its context could not hold.

    lead: white space that a chat template writes before an answer, for which the harness has no place.
    """

    def __init__(self, network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, lead: str = "") -> None:
        context = access.context(network)
        rows = max(1, LOGITS // (context * network.config.vocab_size))
        super().__init__(network, "causal", tokenizer=tokenizer, max_length=context, batch_size=rows)
        self.cut: set[int | None] = set()
        self._too_long: list[bool] = []  # of the requests
        self._lead = lead

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Return what the template writes. The harness would leave out a system prompt that it refuses."""
        try:
            return self.tokenizer.apply_chat_template(
                chat_history,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
            )
        except Exception as error:  # whatever the template's own code raises
            reason = line_of(error)[:200]
            advice = "take apply_chat_template out, or what it refuses, such as description"
            raise InputError(f"the chat template fails ({reason}): {advice}") from error

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        for each in requests if self._lead else ():
            asked, answer = cast(Any, each.args)
            each.arguments = (asked, answer if answer[:1].isspace() else self._lead + answer)
        found = super().loglikelihood(requests, disable_tqdm)
        self.cut |= {each.doc_id for each, cut in zip(requests, self._too_long, strict=True) if cut}
        return found

    def _loglikelihood_tokens(self, requests: Sequence[Any], **options: Any) -> list[tuple[float, bool]]:
        for (_, answer), _, tokens in (request for request in requests if request[0]):
            if not 0 < len(tokens) <= self.max_length:
                has = f"the answer {answer[:40]!r} has {len(tokens):,} tokens after its question"
                raise InputError(f"{has}: it needs 1 to {self.max_length:,}, the network's context")
        self._too_long = [len(asked) + len(answer) > self.max_length + 1 for _, asked, answer in requests]
        return super()._loglikelihood_tokens(list(requests), **options)

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = True) -> list[str]:
        for each in requests:
            args: Any = each.args
            asked, options = args
            room = self.max_length - response_tokens(options)
            if len(self.tok_encode(asked)) > room:
                self.cut.add(each.doc_id)
        return [each.removeprefix(self._lead) for each in super().generate_until(requests, disable_tqdm)]


class _Nobody(LM):
    """One who answers at random, always alike, by whom a task is tried before there is a network."""

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        return [(-1.0 - number % 7, number % 2 == 0) for number, _ in enumerate(requests)]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        return [-1.0 for _ in requests]

    def generate_until(self, requests: list[Instance]) -> list[str]:
        return ["" for _ in requests]

    @property
    def tokenizer_name(self) -> str:
        return ""

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        return "\n".join(turn["content"] for turn in chat_history)


def response_tokens(options: Mapping[str, Any] | None) -> int:
    """Return how many tokens a model may write in answer to a question, by the task's generation_kwargs."""
    most = normalize_gen_kwargs(dict(options or {})).get("max_gen_toks")
    if not isinstance(most, int) or most < 1:
        raise InputError(f"generation_kwargs.max_gen_toks is {str(most)[:40]}: write a whole number above 0")
    return most


def check(name: str, benchmark: Benchmark, context: int) -> None:
    """Raise InputError for the first thing that is wrong in the files of a benchmark, row by row.

    context: the most tokens that the models read at once.
    """
    with about(f"evaluate.benchmarks.{name}"):
        task_file = task_files.opened(benchmark)
        task = _task(name, task_file)
        if task.OUTPUT_TYPE == "loglikelihood_rolling" and benchmark.apply_chat_template:
            raise InputError(
                f"{task_file.file}: whole texts are read as they are: take apply_chat_template out"
            )
        if task.OUTPUT_TYPE == "generate_until":
            most = response_tokens(task.config.generation_kwargs)
            if most >= context:
                found = f"a response may have {most} tokens, and the context {context}"
                raise InputError(f"{task_file.file}: {found}: lower generation_kwargs.max_gen_toks")
        rows: Any = task.eval_docs
        for number, row in enumerate(rows, start=1):
            with about(f"{task_file.file}: row {number} of {task.config.test_split}"), _one_line():
                _check_row(task, row)
        _check_examples(task, task_file)
        with about(str(task_file.file)), _one_line():
            _asked(_Nobody(), task, benchmark, seed=0, bootstrap=0)


def scores(
    name: str,
    benchmark: Benchmark,
    networks: Mapping[str, PreTrainedModel],
    tokenizer: PreTrainedTokenizerBase,
    seed: int,
    bootstrap: int,
) -> evaluation.Benchmark:
    """Return what every network scores on a benchmark.

    seed: of the examples before a question, and of responses where the task samples them. bootstrap: how many
    resamples a standard error has that is not worked out otherwise.
    """
    models, cut, examples = {}, set(), 0
    with about(f"evaluate.benchmarks.{name}"):
        task_file = task_files.opened(benchmark)
        task = _task(name, task_file)
        lead = _lead(tokenizer) if benchmark.apply_chat_template and not task.config.gen_prefix else ""
        for model, network in networks.items():
            with _quiet():
                lm = _Network(network, tokenizer, lead)
            found = _asked(lm, task, benchmark, seed, bootstrap)
            models[model] = dict(_scores(found))
            examples, cut = found["sample_len"], cut | lm.cut
    shots = task_file.config["num_fewshot"]
    return evaluation.Benchmark(examples, shots, len(cut), models)


def _lead(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the white space that the chat template writes before an answer. InputError if there is no template."""
    if not tokenizer.chat_template:
        raise InputError("apply_chat_template is true, but the models have no chat template: take it out")
    answer = "It is."
    _, written = Chat.of(tokenizer).exchange((Turn(USER, "What is it?"),), answer)
    return written.removesuffix(answer)


def _asked(
    lm: Any, task: ConfigurableTask, benchmark: Benchmark, seed: int, bootstrap: int
) -> dict[str, Any]:
    """Return what the harness finds of one who answers."""
    task.set_fewshot_seed(seed)
    torch.manual_seed(seed)  # where the task samples responses
    tasks: Any = {"tasks": {task.task_name: task}}
    with _quiet():
        found: Any = evaluator.evaluate(
            lm,
            tasks,
            benchmark.limit,
            bootstrap_iters=bootstrap,
            log_samples=False,
            apply_chat_template=bool(benchmark.apply_chat_template),
            fewshot_as_multiturn=benchmark.fewshot_as_multiturn is not False,
        )
    return found["results"][task.task_name]


def _scores(found: Mapping[str, Any]) -> Iterator[tuple[str, evaluation.BenchmarkScore]]:
    """Yield name and score of each metric. The harness has them as METRIC,FILTER, and METRIC_stderr,FILTER."""
    for key, value in found.items():
        metric, comma, filtered = key.partition(",")
        if comma and not metric.endswith("_stderr"):
            error = found[f"{metric}_stderr,{filtered}"]
            known = None if isinstance(error, str) else float(error)  # N/A
            name = metric if filtered == NO_FILTER else f"{metric}.{filtered}"
            yield name, evaluation.BenchmarkScore(float(value), known)


def _task(name: str, given: TaskFile) -> ConfigurableTask:
    """Return the harness's task. Raises InputError for what it does not take."""
    rows = _rows(given)
    config = {"task": name, **given.config, "custom_dataset": lambda **_: rows}
    with about(str(given.file)), _one_line(), _quiet():
        task = ConfigurableTask(config=config)
        if missing := [metric for metric, how in task.aggregation().items() if how is None]:
            raise InputError(f"the aggregation of {missing[0]} is not known: take it out")
        return task


def _rows(given: TaskFile) -> datasets.DatasetDict:
    """Return the rows of each split, read as the harness reads them, but kept nowhere."""
    found = {}
    for split, files in given.rows.items():
        with about(", ".join(map(str, files))), _one_line(), tempfile.TemporaryDirectory() as folder:
            names = [str(file) for file in files]
            read = datasets.load_dataset(
                given.format, data_files={split: names}, cache_dir=folder, keep_in_memory=True
            )
            found[split] = read[split]
            if not len(found[split]):
                raise InputError("there is no row: write some")
    return datasets.DatasetDict(found)


def _check_row(task: ConfigurableTask, row: dict[str, Any]) -> None:
    """Raise InputError for a row without a question, or whose answer is not among its choices."""
    asked, target = task.doc_to_text(row), task.doc_to_target(row)
    if not isinstance(asked, str):
        raise InputError(f"its question is {str(asked)[:40]}, no text: correct doc_to_text, or the row")
    if task.OUTPUT_TYPE != "multiple_choice":
        if target is None or target == "" or target == []:
            raise InputError("it has no answer: correct doc_to_target, or the row")
        return
    choices = task.doc_to_choice(row)
    if not isinstance(choices, list) or not all(isinstance(choice, str) and choice for choice in choices):
        raise InputError(f"its choices are {str(choices)[:40]}: each must be a text")
    targets = target if isinstance(target, list) else [target]
    if isinstance(target, list) != bool(task.multiple_target):
        raise InputError(f"its answer is {str(target)[:40]}: write it as in the first row, as a list or not")
    for each in targets:
        if not (each in choices if isinstance(each, str) else _is_index(each, len(choices))):
            raise InputError(
                f"its answer is {str(each)[:40]!r}, none of its {len(choices)} choices: write one, or its number from 0"
            )


def _check_examples(task: ConfigurableTask, given: TaskFile) -> None:
    """Raise InputError for an answered example that a template cannot write."""
    few, shots = task.fewshot_cfg, given.config["num_fewshot"]
    for number, row in enumerate(task.fewshot_docs() if shots else (), start=1):
        with about(f"{given.file}: row {number} of {few.split or 'fewshot_config.samples'}"), _one_line():
            task.doc_to_text(row, few.doc_to_text)
            task.doc_to_target(row, few.doc_to_target)
            if few.doc_to_choice:
                task.doc_to_choice(row, few.doc_to_choice)


def _is_index(value: Any, count: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < count


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    """Raise InputError, in one line, for whatever the harness and what it builds on raise of a task."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        told = error.__cause__ if isinstance(error, DatasetGenerationError) else error
        line = printable(" ".join(f"{type(told).__name__}: {told}".split()))[:200]
        raise InputError(f"{line}: correct the task or its rows") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep back the bars that the harness draws."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
