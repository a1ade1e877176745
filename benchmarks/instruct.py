"""`python -m benchmarks.instruct`: Self-Instruct with a small model, SmolLM2-135M-Instruct from its package.

It writes tasks until so many instructions have an instance, or until its minutes are over; the same command then goes
on. It prints what became of all that was written, and some of the tasks, drawn at random, to be read and judged.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.judge import SMOL
from flows.command import one_line
from jokbo.instructions import seeds
from jokbo.instructions.instructor import Instructor, Settings
from jokbo.instructions.rounds import Place, instruct
from jokbo.instructions.writing import Writer
from jokbo.models import access
from jokbo.start import adopt
from tasks.frame.paths import STATE

OUT = STATE / "instruct/smollm2.jsonl"
CONTEXT = 1024
SETTINGS = Settings(seed=1, temperature=0.7, top_p=0.9, tokens=150)


def main(count: int, minutes: float, draw: int) -> None:
    start = SMOL.model_copy(update={"context": CONTEXT})
    network, tokenizer, _ = adopt.opened(start, STATE / "downloads", "benchmarks.instruct")
    own = Instructor(Writer(access.accelerated(network), tokenizer), seeds.read(), SETTINGS)
    place = Place(OUT, STATE / "instructed", adopt.source(start), seeds.OURS.name)
    found = instruct(own, place, count=count, seconds=minutes * 60)
    console = Console(width=110)
    for table in tables(found):
        console.print(table)
    _show(OUT, draw, console)
    if found["tasks"] < count:
        print(f"{found['tasks']:,} of {count:,} tasks are there: the same command goes on")


def tables(found: Mapping[str, Any]) -> list[Table]:
    """Return what is known of tasks as tables."""
    counts = Table("what", "how many", title="written and kept")
    for what in ("written", "kept", "tasks", "instances"):
        counts.add_row(what, f"{found[what]:,}")
    counts.add_row("classification, share of tasks", f"{found['classification'] or 0:.2f}")
    counts.add_row("with an input, share of instances", f"{found['with_input'] or 0:.2f}")
    trust = found["kinds"]
    counts.add_row(
        f"right on {trust['seeds']} seeds whether they are classification", f"{trust['by_line']:.2f}"
    )
    counts.add_row("the same, by its likelier word", f"{trust['likelier_word']:.2f}")
    words = Table("words of", "mean", "median", "least", "most", title="lengths")
    for what, each in found["words"].items():
        if each:
            words.add_row(what, *(f"{each[key]:g}" for key in ("mean", "median", "least", "most")))
    steps = Table("ROUGE-L from", "tasks", title="nearness to the nearest seed")
    for step, tasks in enumerate(found["nearest_seed"]):
        steps.add_row(f"{step / 10:.1f}", f"{tasks:,}")
    return [
        counts,
        _counted(
            "rounds", {str(n): each["tasks"] for n, each in enumerate(found["rounds"], start=1)}, "tasks"
        ),
        _counted("instructions left out", found["left_out"]),
        _counted("instances left out", found["instances_left_out"]),
        words,
        steps,
        _counted("first words", found["first_words"]),
    ]


def _counted(title: str, counts: Mapping[str, int], what: str = "how many") -> Table:
    table = Table("", what, title=title)
    for each, count in counts.items():
        table.add_row(each, f"{count:,}")
    return table


def _show(file: Path, draw: int, console: Console) -> None:
    """Print an instance of so many tasks, drawn at random."""
    first: dict[str, dict[str, Any]] = {}
    for line in file.read_text("utf-8").splitlines():
        row = json.loads(line)
        first.setdefault(row["instruction"], row)
    drawn = random.Random(SETTINGS.seed).sample(list(first.values()), min(draw, len(first)))
    for number, row in enumerate(drawn, start=1):
        kind = "classification" if row["classification"] else "no classification"
        console.print(f"\n{number}. [{kind}] {row['instruction']}", markup=False, highlight=False)
        for what in ("input", "output"):
            console.print(f"   {what}: {row[what]}", markup=False, highlight=False)


def _arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500, help="tasks")
    parser.add_argument("--minutes", type=float, default=55.0, help="after which no round begins")
    parser.add_argument("--draw", type=int, default=30, help="tasks that are printed")
    return parser.parse_args(words)


if __name__ == "__main__":
    options = _arguments()
    with one_line():
        main(options.count, options.minutes, options.draw)
