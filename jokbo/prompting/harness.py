"""Tasks of lm-evaluation-harness on any model in a folder: files of the user's own, and those that it brings.

A file of the user's own has the form of `evaluate.benchmarks`, and is held to the same rules (docs/own-benchmarks.md):
what would run code or ask the network is refused. What the harness brings is its own affair; most of it needs the hub.
Importing the harness takes seconds: import this file only where it is used.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import lm_eval
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks import TaskManager

from jokbo.evaluation.benchmarks import harness, task_files
from jokbo.evaluation.benchmarks.task_files import TaskFile
from jokbo.exporting.opening import Opened
from jokbo.params import reading
from jokbo.params.chain import Benchmark
from jokbo.runtime.errors import InputError, about, line_of
from jokbo.runtime.text import printable

SUFFIXES = (".yaml", ".yml")
BROUGHT = Path(lm_eval.__file__).parent / "tasks"  # the harness's own
RESAMPLES = 1000  # of a standard error that is not worked out otherwise


@dataclass(frozen=True)
class Asking:
    """How tasks are asked."""

    limit: int | None = None  # examples of a task; None: all
    shots: int | None = None  # answered examples before a question; None: as the task says
    seed: int = 1  # of these examples, and of responses that are sampled

    @property
    def benchmark(self) -> Benchmark:
        """The same, as `evaluate.benchmarks` says it."""
        given: dict[str, Any] = {"file": "task.yaml", "limit": self.limit, "shots": self.shots}
        return Benchmark.model_validate(given)


@dataclass(frozen=True)
class Named:
    """A task that is asked for: a file of the user's own, or a task that the harness brings."""

    name: str
    file: Path | None


def named(names: Sequence[str], folder: Path | None) -> list[Named]:
    """Return the tasks of these names: files, tasks of files in the folder, tasks that the harness brings.

    InputError, one line, for a name that is none of these, or that is there twice.
    """
    if folder is not None and not folder.is_dir():
        raise InputError(f"--include-path {folder}: no such folder: name the one that has the task files")
    own = dict(_own(folder)) if folder else {}
    found = []
    for name in names:
        if Path(name).suffix in SUFFIXES:
            if not Path(name).is_file():
                raise InputError(f"--tasks {name}: no such file: name one that is there, or a task")
            found.append(Named(Path(name).stem, Path(name)))
        elif name in own or _brought(name):
            found.append(Named(name, own.get(name)))
        else:
            near = get_close_matches(name, own, n=1)
            there = (
                f"{folder} has {', '.join(sorted(own)[:10]) or 'none'}"
                if folder
                else "no --include-path is given"
            )
            advice = f"did you mean {near[0]}?" if near else "name a task, or its YAML file"
            raise InputError(f"--tasks {name}: neither the harness has such a task, nor {there}: {advice}")
    all_names = [each.name for each in found]
    if twice := [name for name in all_names if all_names.count(name) > 1]:
        raise InputError(f"--tasks: {twice[0]} is there twice: leave one out")
    return found


def _own(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files of tasks in a folder by name: what `task` says there, else the file's own name."""
    files: dict[str, Path] = {}
    for file in sorted(each for each in folder.rglob("*") if each.suffix in SUFFIXES):
        text = file.read_text("utf-8", errors="replace")
        said = re.search(r"^[\"']?task[\"']?:\s*[\"']?([\w.-]+)", text, re.M)
        name = said[1] if said else file.stem
        if name in files:
            raise InputError(
                f"{file}: the task {name} is also in {files[name]}: give one of them another name"
            )
        files[name] = file
        yield name, file


def _brought(name: str) -> list[Path]:
    """Return the folders of the harness's own tasks in which a task, a group or a tag of that name is said.

    Its own index of 14,000 files takes minutes to make.
    """
    said = re.compile(rf"^\s*(?:(?:task|group|tag):|-)\s*[\"']?{re.escape(name)}[\"']?\s*$".encode(), re.M)
    files = [
        each for each in BROUGHT.rglob("*") if each.suffix in SUFFIXES and said.search(each.read_bytes())
    ]
    return sorted({BROUGHT / each.relative_to(BROUGHT).parts[0] for each in files})


class Tasks:
    """Tasks that were opened, before there is a model. InputError, one line, for what is wrong in their files."""

    def __init__(self, asked: Sequence[Named], asking: Asking) -> None:
        self._asking = asking
        self.own: dict[str, ConfigurableTask] = {}
        self.brought: dict[str, Mapping[str, Any]] = {}  # as TaskManager loads them
        for each in asked:
            if each.file:
                self.own[each.name] = self._opened(each.name, opened(each.file, asking.shots))
            else:
                self.brought[each.name] = self._loaded(each.name)

    def scores(self, model: Opened) -> dict[str, dict[str, Any]]:
        """Return by task how many examples were asked, of which `cut` lost the beginning, and each metric with its
        standard error."""
        found: dict[str, dict[str, Any]] = {}
        for name, task in self.own.items():
            with about(name):
                found |= self._scored(model, {"tasks": {task.task_name: task}})
        for name, tasks in self.brought.items():
            with about(name), harness._one_line():
                found |= self._scored(model, tasks)
        return found

    def _scored(self, model: Opened, tasks: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        with harness._quiet():
            lm = harness._Network(model.network, model.tokenizer)
        result: dict[str, Any] = {}
        for name, task in tasks["tasks"].items():
            lm.cut.clear()
            found = harness._asked(lm, task, self._asking.benchmark, self._asking.seed, RESAMPLES)
            result[name] = {
                "examples": found["sample_len"],
                "shots": task.config.num_fewshot or 0,
                "cut": len(lm.cut),
                "scores": {metric: asdict(score) for metric, score in harness._scores(found)},
            }
        return result

    def _opened(self, name: str, given: TaskFile) -> ConfigurableTask:
        """Return a task of the user's own, all of whose rows were gone through, and which was tried."""
        task = harness._task(name, given)
        rows: Any = task.eval_docs
        for number, row in enumerate(rows, start=1):
            with about(f"{given.file}: row {number} of {task.config.test_split}"), harness._one_line():
                harness._check_row(task, row)
        harness._check_examples(task, given)
        with about(str(given.file)), harness._one_line():
            harness._asked(harness._Nobody(), task, self._asking.benchmark, seed=0, bootstrap=0)
        return task

    def _loaded(self, name: str) -> Mapping[str, Any]:
        """Return a task, or the tasks of a group, that the harness brings."""
        with _from_the_hub(name), harness._quiet():
            try:
                manager = TaskManager(include_path=[*_brought(name)], include_defaults=False)
                tasks = manager.load(name)
            except KeyError:  # a group of tasks that are elsewhere
                tasks = TaskManager().load(name)
            for task in tasks["tasks"].values():
                if self._asking.shots is not None:
                    task.set_config("num_fewshot", self._asking.shots)
            return tasks


@contextmanager
def _from_the_hub(name: str) -> Iterator[None]:
    """Raise InputError, one line, for whatever is raised of a task that the harness brings."""
    try:
        yield
    except Exception as error:
        advice = "its rows are on the Hugging Face hub: check the network, or ask a task file of your own"
        raise InputError(f"--tasks {name}: {printable(line_of(error))[:200]}: {advice}") from error


def opened(file: Path, shots: int | None) -> TaskFile:
    """Return the task in a file of the user's own, wherever it is; its rows are named from where it is."""
    found = _whole(file)
    task_files._check_asked(file, found)
    task_files._check_metrics(file, found)
    rows = task_files._rows(file, found)
    task_files._check_examples(file, found, rows)
    config = {key: found[key] for key in task_files.ASKED if key in found} | task_files._splits(
        file, found, rows
    )
    if found.get("fewshot_config"):
        config["fewshot_config"] = found["fewshot_config"]
    before = found.get("num_fewshot") or 0 if shots is None else shots
    if not isinstance(before, int):
        raise InputError(f"{file}: num_fewshot is {reading.found_as(before)}: write a whole number")
    return TaskFile(file, {**config, "num_fewshot": before}, found["dataset_path"], rows)


def _whole(file: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return what a file says, over what those say that it includes. above: the files by which it is included."""
    found, whole = task_files._read(file), {}
    task_files._check_keys(file, found)
    if "dataset_kwargs" in found:
        found["dataset_kwargs"] = _data_files(file, found["dataset_kwargs"])
    included = found.pop("include", None) or []
    for name in included if isinstance(included, list) else [included]:
        (other,) = _beside(file, "include", name)
        if other in (*above, file):
            raise InputError(f"{file}: include names {other}, which includes this file: take one of them out")
        whole |= _whole(other, (*above, file))
    return whole | found


def _data_files(file: Path, options: Any) -> dict[str, list[Path]]:
    named = options.get("data_files") if isinstance(options, dict) and len(options) == 1 else None
    if not named:
        raise InputError(
            f"{file}: dataset_kwargs must be {{data_files: {{test: FILE}}}}, and no more: correct it"
        )
    splits = named if isinstance(named, dict) else {"train": named}
    return {
        str(split): [
            each
            for name in (names if isinstance(names, list) else [names])
            for each in _beside(file, "data_files", name)
        ]
        for split, names in splits.items()
    }


def _beside(file: Path, key: str, name: Any) -> list[Path]:
    """Return the file that a file names from where it is."""
    if not isinstance(name, str) or "://" in name:
        what = "nothing is got from the network" if isinstance(name, str) else "it is no name"
        raise InputError(f"{file}: {key} names {reading.found_as(name)}, but {what}: name a file beside it")
    path = Path(os.path.normpath(file.parent / name))  # a file that includes itself has one name
    if not path.is_file():
        raise InputError(f"{file}: {key} names {name}: put that file into {path.parent}")
    return [path]
