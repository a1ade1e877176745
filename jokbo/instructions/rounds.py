"""Self-Instruct, round by round, up to a file of tasks to fine-tune on.

A round is a function of the seed, its number and the rounds before it, and is kept on disk. So a command that was
stopped goes on with the next one, and a larger count goes on with the same file.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from jokbo.instructions.instructor import Candidate, Instructor, Round
from jokbo.instructions.summary import summary
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import atomic_write_file, read_if_there, write_text

IDLE = 10  # rounds in a row without a new task, after which it ends
SHOWN = partial(print, flush=True)  # a line at once, in a log too


@dataclass(frozen=True)
class Place:
    """Where tasks are written, and from what: names that are recorded."""

    out: Path
    kept: Path  # a folder for the rounds
    model: str
    seeds: str

    @property
    def record(self) -> Path:
        """The file beside the tasks that says what they were made from."""
        return self.out.with_suffix(".made.json")


def instruct(
    instructor: Instructor,
    place: Place,
    *,
    count: int,
    seconds: float | None = None,
    say: Callable[[str], None] = SHOWN,
) -> dict[str, Any]:
    """Write a jsonl file, an instance a line, until so many instructions have one; return what is known of it.

    After each round the file and its record are whole. `seconds`: no round begins later than that.
    InputError if `out` is of another making, or if the model writes no new task in IDLE rounds in a row.
    """
    ends = None if seconds is None else time.monotonic() + seconds
    _check(place, instructor.key)
    _ = instructor.room  # whose error comes before anything is written
    rounds: list[Round] = []
    for done in _rounds(instructor, place.kept / instructor.key, rounds):
        rounds.append(done)
        tasks = sum(map(_tasks, rounds))
        known = _write(instructor, place, rounds)
        kept = sum(not each.left_out for each in done)
        say(
            f"round {len(rounds)}: {kept} of {len(done)} instructions are kept; {tasks:,} of {count:,} have an instance"
        )
        if len(rounds) >= IDLE and not any(map(_tasks, rounds[-IDLE:])):
            raise InputError(_idle(rounds[-IDLE:]))
        if tasks >= count or (ends is not None and time.monotonic() >= ends):
            return known
    raise AssertionError  # rounds do not end by themselves


def _rounds(instructor: Instructor, folder: Path, before: Sequence[Round]) -> Iterator[Round]:
    """Yield the rounds that are on disk, then new ones; `before` holds those that were yielded."""
    while True:
        file = folder / f"{len(before)}.json"
        if (found := read_if_there(file)) is None:
            kept = [each.instruction for some in before for each in some if not each.left_out]
            found = [asdict(each) for each in instructor.round(len(before), kept)]
            write_text(file, json.dumps(found, ensure_ascii=False) + "\n")
        yield [Candidate(**each) for each in found]


def _check(place: Place, key: str) -> None:
    if place.out.exists() and (read_if_there(place.record) or {}).get("key") != key:
        raise InputError(
            f"{place.out}: it is there already, and was not made by this model with these seeds and settings: take it "
            "away, or give another --out"
        )


def _write(instructor: Instructor, place: Place, rounds: Sequence[Round]) -> dict[str, Any]:
    """Write the record, then the tasks: where the tasks are, it is known what they are. Return the record."""
    made = {
        "key": instructor.key,
        "model": place.model,
        "weights": instructor.weights,
        "seeds": place.seeds,
        "seed_tasks": len(instructor.seeds),
        **asdict(instructor.settings),
        "kinds": instructor.kinds.trust._asdict(),
        **summary(rounds),
    }
    write_text(place.record, json.dumps(made, ensure_ascii=False, indent=1) + "\n")
    with atomic_write_file(place.out) as opened:
        opened.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows(rounds))
    return made


def rows(rounds: Sequence[Round]) -> Iterator[dict[str, Any]]:
    """Yield what is written: an instance of a kept instruction, and where it comes from."""
    for number, some in enumerate(rounds, start=1):
        for each in some:
            known = {
                "classification": each.classification,
                "round": number,
                "nearest_seed": each.nearest_seed,
            }
            for instance in each.instances:
                yield {"instruction": each.instruction, **instance, **known}


def _tasks(done: Round) -> int:
    """Return how many instructions of a round have an instance."""
    return sum(bool(each.instances) for each in done)


def _idle(rounds: Sequence[Round]) -> str:
    why = Counter(each.left_out or "it has no instance" for some in rounds for each in some)
    most = (
        "; ".join(f"{count:,} times {reason}" for reason, count in why.most_common(3)) or "it wrote nothing"
    )
    advice = "give another model, more seeds or a higher --temperature"
    return f"{IDLE} rounds in a row brought no new task ({most}): {advice}"
