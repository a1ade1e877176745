"""`python -m benchmarks.trail`: what a training's trail costs, as a share of its steps.

The default run's pretraining: a step of the engine, and what the trail hashes in it, each timed alone. The goal is
below 1%.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from benchmarks import scratch
from jokbo import params  # first: it keeps DeepSpeed quiet
from jokbo.models import causal
from jokbo.training import engine, processes
from jokbo.training.trail import Trail, of_weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    settings = params.load()
    start, training, tokenizer = scratch.parts(settings)
    processes.join()
    config = causal.configuration(start, vocabulary=tokenizer.vocabulary, end_of_text=0, padding=1)
    shape = (training.batch_size, start.context)
    batch = {
        "tokens_BS": torch.randint(2, config.vocab_size, (shape[0], shape[1] + 1)),
        "weights_BT": torch.ones(shape),
    }
    network = causal.build(config, seed=1)
    step = engine.StepSettings(training.batch_size, training.precision, training.gradient_clip)
    compiled = training.steps >= engine.COMPILE_FROM_STEPS
    own = engine.start(
        causal.NextToken(network), step, training.optimizer, settings.compute, compiled=compiled
    )
    trail = Trail({})

    def hash_step() -> None:
        trail.batch(batch)
        trail.loss({"loss": 1.0})

    of_step = quickest(lambda: engine.update(own, batch), rounds)
    each, weights = quickest(hash_step, rounds), quickest(lambda: of_weights({"model": own}), rounds)
    for number in range(training.steps):
        trail.done(number + 1, training.steps, {})
    marks = len(trail.marks)
    cost = (training.steps * each + marks * weights) / (training.steps * of_step)
    print(f"{network.num_parameters():,} parameters, batch {shape[0]} x {shape[1]}, {training.steps:,} steps")
    print(
        f"a step {of_step * 1e3:.1f} ms; its batch and loss {each * 1e6:.0f} us; the weights {weights * 1e3:.2f} ms"
    )
    print(
        f"{marks} marks of {len(str(trail.marks)) / 1e3:.1f} kB in all: {cost:.3%} of the training; goal 1%"
    )


def quickest(work: Callable[[], object], rounds: int) -> float:
    """Return the seconds of the quickest of so many turns, after two that warm up."""
    seconds = []
    for _ in range(rounds + 2):
        before = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - before)
    return min(seconds[2:])


if __name__ == "__main__":
    main()
