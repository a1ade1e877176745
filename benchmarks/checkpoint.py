"""`python -m benchmarks.checkpoint`: by how much checkpoints stall a training at the default interval.

The default run's pretraining, by the loop of every training. Stretches with checkpoints, each up to the end of the
last of a few, and stretches of as many steps without them are taken in turns, so that what else the machine does falls
on both alike. The goal is 5%.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks import scratch
from jokbo import params  # first: it keeps DeepSpeed quiet
from jokbo.models import causal
from jokbo.runtime import tracking
from jokbo.training import engine, processes
from jokbo.training.job import Job
from jokbo.training.loop import State, loop
from tasks.frame.paths import STATE

FOREVER = 10**9  # steps; a stretch ends before, so that it has no last checkpoint of its own


class Over(Exception):
    """A stretch has ended."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="stretches of each kind")
    parser.add_argument("--saves", type=int, default=2, help="checkpoints a stretch")
    parser.add_argument(
        "--seconds", type=float, help="between two checkpoints; by default as params.yaml has it"
    )
    arguments = parser.parse_args()
    settings = params.load()
    compute = settings.compute
    if arguments.seconds is not None:
        compute = compute.model_copy(update={"checkpoint_seconds": arguments.seconds})
    start, training, tokenizer = scratch.parts(settings)
    processes.join()
    config = causal.configuration(start, vocabulary=tokenizer.vocabulary, end_of_text=0, padding=1)
    shape = (training.batch_size, start.context)
    batch = {
        "tokens_BS": torch.randint(2, config.vocab_size, (shape[0], shape[1] + 1)),
        "weights_BT": torch.ones(shape),
    }
    network = causal.build(config, seed=1)
    own = engine.start(
        causal.NextToken(network),
        engine.StepSettings(training.batch_size, training.precision, training.gradient_clip),
        training.optimizer,
        compute,
        compiled=training.steps >= engine.COMPILE_FROM_STEPS,
    )
    state = State(0, {})

    def stretch(job: Job, over: Callable[[int], bool]) -> tuple[int, float]:
        """Train until it is over by the number of steps done; return that number and its seconds."""
        first, began = state.done, time.perf_counter()

        def one(_: int) -> dict[str, float]:
            if over(state.done - first):
                raise Over
            state.trail.batch(batch)
            row = engine.update(own, batch)
            state.trail.loss({"loss": row["loss"]})
            return row

        with suppress(Over):
            loop(job, {"model": own}, state, FOREVER, one, {"loss": "loss"})
        return state.done - first, time.perf_counter() - began

    STATE.mkdir(exist_ok=True)
    took = {"without": 0.0, "with": 0.0}
    with tempfile.TemporaryDirectory(dir=STATE) as place:  # on the disk on which checkpoints are
        plain = Job("checkpoint", 1, compute, tracking.Run(), None)
        saving = replace(plain, checkpoints=Path(place, "checkpoints"))
        stretch(plain, lambda steps: steps == 5)  # compilation
        for _ in range(arguments.rounds):
            steps, seconds = stretch(saving, _saved(Path(place, "checkpoints"), arguments.saves))
            took["with"] += seconds
            took["without"] += stretch(plain, lambda done, most=steps: done == most)[1]
        size = max(_size(folder) for folder in Path(place, "checkpoints").iterdir())
    count = arguments.rounds * arguments.saves
    print(
        f"{network.num_parameters():,} parameters, batch {shape[0]} x {shape[1]}; a checkpoint is {size / 1e6:.1f} MB"
    )
    print(f"{count} checkpoints, {compute.checkpoint_seconds:g} s from the end of one to the next")
    print(f"{'':22}{'seconds':>10}")
    for name, seconds in took.items():
        print(f"{name + ' checkpoints':22}{seconds:>10.1f}")
    stall = took["with"] / took["without"] - 1
    each = (took["with"] - took["without"]) / count
    print(f"with / without: {1 + stall:.3f}: a stall of {stall:.1%}, {each:.2f} s a checkpoint; goal 5%")


def _saved(folder: Path, most: int) -> Callable[[int], bool]:
    """Return what says whether so many checkpoints have been written since it was first asked."""
    seen: list[set[str]] = []

    def over(_: int) -> bool:
        there = {path.name for path in folder.glob("step-*")}
        if not seen or there != seen[-1]:
            seen.append(there)
        return len(seen) > most

    return over


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
