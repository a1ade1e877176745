"""The file of a benchmark task: YAML in the form of lm-evaluation-harness, below data/local, with its data beside it.

Only what is data is taken from it. A key by which the harness would run code, or get something from the network, is
refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jokbo.data.files.files import LOCAL, below_local, local_files
from jokbo.params import reading
from jokbo.runtime.errors import InputError

if TYPE_CHECKING:
    from jokbo.params.chain import Benchmark

FORMATS = ("json", "csv", "parquet")  # json: an object a line
METRICS = {  # of each output_type: those that the harness has without the network, and that it works out there
    "multiple_choice": (
        *("acc", "acc_norm", "acc_bytes", "acc_mutual_info", "exact_match"),
        *("f1", "mcc", "brier_score", "likelihood"),
    ),
    "loglikelihood": ("acc", "perplexity"),
    "loglikelihood_rolling": ("word_perplexity", "byte_perplexity", "bits_per_byte"),
    "generate_until": ("exact_match", "bleu", "chrf", "ter"),
}
CODE = ("process_docs", "process_results", "custom_dataset", "class", "unsafe_code", "use_prompt")
OF_THE_DATA = ("dataset_path", "dataset_name", "dataset_kwargs")
SPLITS = ("test_split", "validation_split", "training_split", "fewshot_split")
SHOWN = (
    "fewshot_split",
    "training_split",
    "validation_split",
)  # from which answered examples come, the first given
ASKED = (  # keys that go to the harness as they are
    *(
        "doc_to_text",
        "doc_to_target",
        "doc_to_choice",
        "description",
        "target_delimiter",
        "fewshot_delimiter",
    ),
    *("output_type", "generation_kwargs", "repeats", "gen_prefix", "metric_list", "filter_list"),
)
OF_EXAMPLES = (  # keys of fewshot_config
    *("sampler", "split", "samples", "doc_to_text", "doc_to_target", "doc_to_choice"),
    *("gen_prefix", "target_delimiter", "fewshot_delimiter"),
)
SAMPLERS = ("default", "first_n")
NAMES = ("task", "task_alias", "tag", "metadata")  # what the task is called here is the key in params.yaml
FIT = re.compile(r"[\w.-]+")  # a name of a filter: it becomes a part of a metric's name


@dataclass(frozen=True)
class TaskFile:
    """What a task asks, and where its rows are."""

    file: Path
    config: dict[str, Any]  # for the harness, without its data
    format: str
    rows: dict[str, list[Path]]  # by split


def opened(benchmark: Benchmark) -> TaskFile:
    """Return the task of a benchmark. Raises InputError for what is missing, and for what would not be data alone."""
    file = below_local("file", benchmark.file, "the task")
    if not file.is_file():
        raise InputError(f"file is {benchmark.file}: put that file into {LOCAL}")
    found = _whole(file)
    _check_asked(file, found)
    _check_metrics(file, found)
    rows = _rows(file, found)
    _check_examples(file, found, rows)
    config = {key: found[key] for key in ASKED if key in found} | _splits(file, found, rows)
    if found.get("fewshot_config"):
        config["fewshot_config"] = found["fewshot_config"]
    shots = found.get("num_fewshot") or 0 if benchmark.shots is None else benchmark.shots
    if not isinstance(shots, int):
        raise InputError(f"{file}: num_fewshot is {reading.found_as(shots)}: write a whole number")
    return TaskFile(file, {**config, "num_fewshot": shots}, found["dataset_path"], rows)


def _whole(file: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return what a file says, over what those say that it includes. Names of rows become paths.

    above: the files by which it is included.
    """
    found, whole = _read(file), {}
    _check_keys(file, found)
    if "dataset_kwargs" in found:
        found["dataset_kwargs"] = _data_files(file, found["dataset_kwargs"])
    for other in _named(file, "include", found.pop("include", None) or []):
        if other in (*above, file):
            raise InputError(f"{file}: include names {other}, which includes this file: take one of them out")
        whole |= _whole(other, (*above, file))
    return whole | found


def _read(file: Path) -> dict[str, Any]:
    try:
        return reading.read(file)
    except InputError as error:
        where, typed, _ = str(error).partition(": a type, !function")
        if typed:
            what = "!function names code, and a task's code is not run: write a template, or prepare the rows"
            raise InputError(f"{where}: {what}") from error
        raise


def _check_keys(file: Path, found: dict[str, Any]) -> None:
    for key in found:
        if key in CODE:
            raise InputError(
                f"{file}: {key} is code, or gets some: prepare the rows instead, and take it out"
            )
        if key not in (*ASKED, *SPLITS, *OF_THE_DATA, *NAMES, "num_fewshot", "fewshot_config", "include"):
            raise InputError(f"{file}: {key} cannot be used here: take it out")
    if not isinstance(found.get("task", ""), str):
        raise InputError(f"{file}: task is a list: give each of its tasks a file and an entry of its own")


def _check_asked(file: Path, found: dict[str, Any]) -> None:
    for key in ("doc_to_text", "doc_to_target"):
        if not isinstance(
            found.get(key, "" if found.get("output_type") == "loglikelihood_rolling" else None), str
        ):
            raise InputError(
                f"{file}: {key} is {reading.found_as(found.get(key))}: name a column, or write a template"
            )


def _check_metrics(file: Path, found: dict[str, Any]) -> None:
    kind = found.get("output_type", "generate_until")
    if kind not in METRICS:
        raise InputError(f"{file}: output_type is {reading.found_as(kind)}: it must be {', '.join(METRICS)}")
    if (kind == "multiple_choice") and not found.get("doc_to_choice"):
        raise InputError(f"{file}: doc_to_choice is not there: write the choices, or name their column")
    for key, within in (("metric_list", "metric"), ("filter_list", "name")):
        entries = found.get(key)
        if entries is None:
            continue
        if not isinstance(entries, list) or not all(
            isinstance(each, dict) and within in each for each in entries
        ):
            raise InputError(f"{file}: {key} is no list of entries with {within}: correct it")
    for entry in found.get("metric_list") or ():
        if entry["metric"] not in METRICS[kind] or entry.get("hf_evaluate"):
            metric = reading.found_as(entry["metric"])
            have = f"of {kind} there are {', '.join(METRICS[kind])}"
            raise InputError(
                f"{file}: the metric {metric} would be looked for on the hub, or has no sense: {have}"
            )
    for entry in found.get("filter_list") or ():
        if not FIT.fullmatch(str(entry["name"])):
            raise InputError(
                f"{file}: the filter {entry['name']!r:.40}: use letters, digits, '_', '.' and '-'"
            )


def _check_examples(file: Path, found: dict[str, Any], rows: Mapping[str, Any]) -> None:
    """Raise InputError for a fewshot_config by which the harness would run code, or that it would not read."""
    given, key = found.get("fewshot_config") or {}, f"{file}: fewshot_config"
    if not isinstance(given, dict):
        raise InputError(f"{key} is {reading.found_as(given)}: write its keys, such as {{sampler: first_n}}")
    for name in given:
        if name in CODE:
            raise InputError(f"{key}.{name} is code: prepare the rows instead, and take it out")
        if name == "fewshot_indices":
            raise InputError(f"{key}.{name} is not read by the harness: write those rows into samples")
        if name not in OF_EXAMPLES:
            raise InputError(f"{key}.{name} cannot be used here: it can have {', '.join(OF_EXAMPLES)}")
    sampler, samples = given.get("sampler"), given.get("samples")
    if sampler not in (None, *SAMPLERS):
        raise InputError(f"{key}.sampler is {reading.found_as(sampler)}: it must be {' or '.join(SAMPLERS)}")
    if given.get("split") not in (None, *rows):
        have = f"data_files has {', '.join(rows)}"
        raise InputError(f"{key}.split is {reading.found_as(given['split'])}, but {have}: name one of them")
    if samples is not None:
        if not isinstance(samples, list) or not all(isinstance(each, dict) and each for each in samples):
            raise InputError(
                f"{key}.samples is {reading.found_as(samples)}: write a list of rows, {{column: value}}"
            )
        if given.get("split"):
            raise InputError(
                f"{key} has samples and split: examples come from one of them; take the other out"
            )


def _rows(file: Path, found: dict[str, Any]) -> dict[str, list[Path]]:
    """Return the files of rows of each split."""
    given = found.get("dataset_path")
    if given not in FORMATS:
        advice = (
            "write json, csv or parquet, and dataset_kwargs: {data_files: {test: FILE}} with a file beside it"
        )
        what = f"dataset_path is {reading.found_as(given)}, and nothing is got from the hub"
        raise InputError(f"{file}: {what}: {advice}")
    if not found.get("dataset_kwargs"):
        raise InputError(f"{file}: dataset_kwargs is not there: write {{data_files: {{test: FILE}}}}")
    return found["dataset_kwargs"]


def _data_files(file: Path, options: Any) -> dict[str, list[Path]]:
    named = options.get("data_files") if isinstance(options, dict) and len(options) == 1 else None
    if not named:
        raise InputError(
            f"{file}: dataset_kwargs must be {{data_files: {{test: FILE}}}}, and no more: correct it"
        )
    splits = named if isinstance(named, dict) else {"train": named}
    return {str(split): _named(file, "data_files", names) for split, names in splits.items()}


def _named(file: Path, key: str, names: Any) -> list[Path]:
    """Return the files that a file names, from where it stands, below data/local."""
    found: list[Path] = []
    for name in names if isinstance(names, list) else [names]:
        if not isinstance(name, str) or "://" in name:
            what = "nothing is got from the network" if isinstance(name, str) else "it is no name"
            raise InputError(
                f"{file}: {key} names {reading.found_as(name)}, but {what}: name a file beside it"
            )
        beside = os.path.normpath(file.parent.relative_to(LOCAL) / name)
        if os.path.isabs(beside) or beside.startswith(".."):
            below_local(f"{file}: a name in {key}", name, "the file")
        files = [path for path in local_files(LOCAL, beside, "") if isinstance(path, Path)]
        if not files or any(path.is_dir() for path in files):
            raise InputError(f"{file}: {key} names {name}: put that file into {(LOCAL / beside).parent}")
        found += files
    return found


def _splits(file: Path, found: dict[str, Any], rows: dict[str, list[Path]]) -> dict[str, str | None]:
    """Return the split that is asked and that of the answered examples, unless they stand in the file.

    The harness leaves the question itself out of the examples before it only where both are said, and are the same.
    """
    for key in SPLITS:
        if found.get(key) and found[key] not in rows:
            raise InputError(
                f"{file}: {key} is {found[key]}, but data_files has {', '.join(rows)}: name one of them"
            )
    test = found.get("test_split") or found.get("validation_split")
    if not test:
        raise InputError(f"{file}: test_split is not there: name the split of data_files that is asked")
    examples = found.get("fewshot_config") or {}
    shown = next(filter(None, (examples.get("split"), *(found.get(key) for key in SHOWN))), test)
    return {"test_split": test, "fewshot_split": None if examples.get("samples") else shown}
