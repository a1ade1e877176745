"""`python -m benchmarks.shots`: accuracy against the number of examples in the prompt, by model and pretraining.

It asks four models two tasks: SmolLM2-135M-Instruct as it is published, the same network with random weights, and
models/base and models/policy of the last run of this folder. The tasks are the sentiment of Rotten Tomatoes sentences
that no stage has learned from (data/documents), and which of four replies is the one to a question (the English part
of chatterbot-corpus). Each model with each number of examples and each seed leaves a row in docs/results/shots.jsonl;
stopped, the same command goes on. `make results` makes the table, the claims and the figure of the rows.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from benchmarks import shots_results
from jokbo.data.fetch.sources import download
from jokbo.data.tables import open_splits, rows_of
from jokbo.exporting import opening
from jokbo.models import causal
from jokbo.params import reading
from jokbo.params.start import FromPackage
from jokbo.prompting import scores, shots
from jokbo.prompting import task as tasks
from jokbo.prompting.task import Task
from jokbo.runtime import environment
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import in_one_line, write_text
from jokbo.start import adopt
from profiles import chat
from tasks.frame.paths import BASE, DOCUMENTS, POLICY, PROFILES, STATE

FOLDER = STATE / "shots"
KS, SEEDS = (0, 1, 4, 16), 3
CONTEXT = 1024  # of SmolLM2, which could read 8,192 tokens
ASKED = {"sentiment": 120, "replies": 60}  # rows of each task
POOL = 400  # rows from which examples are drawn
CHOICES, LONGEST = 4, 80  # replies to choose from, and the most characters of one
SENTIMENT = {"0": "negative", "1": "positive"}


@dataclass(frozen=True)
class System:
    """A model that is asked."""

    title: str
    pretrained: str  # on what
    opened: Callable[[], tuple[PreTrainedModel, PreTrainedTokenizerBase]]
    seeds: int = SEEDS
    ks: tuple[int, ...] = KS


@cache
def published() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return SmolLM2-135M-Instruct, from its package."""
    start = read_profile()
    path = FOLDER / f"smollm2-{CONTEXT}"
    if not path.is_dir():
        adopt.adopt(start, STATE / "downloads", path)
    found = opening.opened(path)
    return found.network, found.tokenizer


def read_profile() -> FromPackage:
    """Return where SmolLM2 is from: what profiles/smollm.yaml says of it, but for how much it reads at once."""
    own = reading.read(PROFILES / "smollm.yaml")["pretrain"]["start"]
    return FromPackage.model_validate({**own, "context": CONTEXT})


def random_weights() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return the network of SmolLM2 as it is before any training."""
    network, tokenizer = published()
    return causal.build(network.config, seed=1), tokenizer


def of_the_chain(folder: Path) -> Callable[[], tuple[PreTrainedModel, PreTrainedTokenizerBase]]:
    def opened() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        found = opening.writing(folder)
        return found.network, found.tokenizer

    return opened


SYSTEMS = {
    "base": System("base", "film reviews", of_the_chain(BASE)),
    "supervised": System("supervised", "film reviews, then continuations", of_the_chain(POLICY)),
    "smollm2": System("SmolLM2-135M-Instruct", "2T tokens of web text, then instructions", published),
    "random": System("the same, random weights", "nothing", random_weights, 1, (0, 16)),
}


def sentiment() -> Task:
    """Return the task on Rotten Tomatoes: test sentences, and examples from the sentences for training."""
    splits = open_splits(DOCUMENTS)
    rows = {
        split: [
            {"text": row["text"], "label": row["label"]}
            for row in rows_of(splits[split])
            if "rotten_tomatoes" in row["sources"] and row["label"] in SENTIMENT
        ]
        for split in ("test", "train")
    }
    own = {"question": "Review: {{text}}\nSentiment:", "options": SENTIMENT}
    return written("sentiment", own, rows["test"], rows["train"])


def replies() -> Task:
    """Return the task on chatterbot-corpus: the first reply to a question, among those to three others, by chance."""
    found = chat.made_of(download(chat.REQUIREMENT, chat.SHA256, STATE / "downloads"))[0]
    turns = [(row["messages"][0]["content"], row["messages"][1]["content"]) for row in found]
    turns = [(question, reply) for question, reply in turns if len(reply) <= LONGEST]
    drawn, rows = random.Random(1), []
    for question, reply in turns:
        options = [reply]
        for _, other in drawn.sample(turns, len(turns)):
            if not any(other.startswith(each) or each.startswith(other) for each in options):
                options.append(other)
            if len(options) == CHOICES:
                break
        drawn.shuffle(options)
        rows.append({"question": question, "options": options, "label": options.index(reply)})
    drawn.shuffle(rows)
    asked = ASKED["replies"]
    own = {
        "question": "Q: {{question}}\nA:",
        "options": "options",
        "unconditional": "A:",
        "fewshot_delimiter": "\n",
    }
    return written("replies", own, rows[:asked], rows[asked:])


def written(name: str, own: Mapping[str, Any], asked: Sequence[Any], pool: Sequence[Any]) -> Task:
    """Write a task's files, which `jokbo shots` takes as well, and return it."""
    folder = FOLDER / "tasks" / name
    folder.mkdir(parents=True, exist_ok=True)
    for file, rows in (("rows.jsonl", asked), ("examples.jsonl", pool)):
        chosen = random.Random(1).sample(
            list(rows), min(len(rows), POOL if file == "examples.jsonl" else ASKED[name])
        )
        write_text(folder / file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in chosen))
    whole = {"rows": "rows.jsonl", "examples": "examples.jsonl", **own}
    write_text(folder / f"{name}.yaml", json.dumps(whole, indent=1) + "\n")  # JSON is YAML
    return tasks.load(folder / f"{name}.yaml")


def ask(system: str, task: Task, seed: int) -> None:
    """Have a model asked a task with every number of examples of one seed, and leave the rows."""
    own = SYSTEMS[system]
    network, tokenizer = own.opened()
    asker, majority = shots.Asker(network, tokenizer, task), scores.majority([row.right for row in task.rows])
    wanted = [each for each in shots.settings_of(own.ks, seed, balanced=task.fixed) if each.seed == seed]
    began = time.monotonic()
    for outcome in shots.outcomes(asker, wanted, FOLDER / "asked"):
        settings = outcome.settings
        row = {"system": system, "task": task.name, "parameters": network.num_parameters(), **outcome.row()}
        row |= {"title": own.title, "pretrained": own.pretrained, "majority": majority}
        leave(
            {
                **row,
                "seconds": round(time.monotonic() - began, 1),
                "machine": environment.collect()["processor"],
            }
        )
        print(f"{system}, {task.name}: {settings.k} examples, seed {settings.seed}", flush=True)
        began = time.monotonic()


def leave(row: dict[str, Any]) -> None:
    """Write a row in place of the one of the same model, task, number of examples and seed, unless it is the same."""
    found = {place(each): each for each in shots_results.rows_there()}
    before = found.get(place(row))
    if before is None or before["right"] != row["right"]:
        found[place(row)] = row
    shots_results.ROWS.parent.mkdir(parents=True, exist_ok=True)
    write_text(
        shots_results.ROWS, "".join(json.dumps(found[key], sort_keys=True) + "\n" for key in sorted(found))
    )


def place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["task"], row["system"], row["settings"]["k"], row["settings"]["seed"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("systems", nargs="*", help=f"some of {', '.join(SYSTEMS)}; by default all")
    parser.add_argument("--minutes", type=float, default=60, help="after which no other row is begun")
    arguments = parser.parse_args()
    with in_one_line():
        if unknown := sorted({*arguments.systems} - {*SYSTEMS}):
            raise InputError(f"{unknown[0]}: no such model: there are {', '.join(SYSTEMS)}")
        began = time.monotonic()
        for seed in range(1, SEEDS + 1):
            for task in (sentiment(), replies()):
                for system in arguments.systems or SYSTEMS:
                    if time.monotonic() - began > 60 * arguments.minutes:
                        sys.exit(f"jokbo: {arguments.minutes:g} minutes are over: the same command goes on")
                    if seed <= SYSTEMS[system].seeds:
                        ask(system, task, seed)


if __name__ == "__main__":
    main()
