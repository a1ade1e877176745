"""The family's systems on the corpus of family/data, at the sizes and with the training settings of family/params.yaml.

`python -m benchmarks.family input`: what share of a training step goes into making its batch, ahead of it.
`python -m benchmarks.family learning`: held-out nats a predicted token after some seconds of training, beside those of
a model that knows frequencies and copies, and what a text's own context lowers them by.

For the systems that are named, or all. One that learns from another needs that one in family/models. The exit status
is 1 if a system misses the mark.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from jokbo import params  # first: it keeps DeepSpeed quiet
from jokbo.comparison.pretraining import pretrain
from jokbo.comparison.system import opened
from jokbo.comparison.table import learned_something
from jokbo.params import FamilyParams
from jokbo.runtime.tracking import Run
from jokbo.training import engine, processes
from jokbo.training.job import Job
from tasks.frame.paths import FAMILY, FAMILY_DATA

COST = 0.05  # of a whole step, at most
TURNS = 6
FIRST_STEPS = 5  # they allocate memory and choose kernels


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("input").add_argument(
        "--steps", type=int, default=32, help=f"of a turn, of which there are {TURNS}"
    )
    commands.add_parser("learning").add_argument("--seconds", type=float, default=30.0, help="of training")
    for command in commands.choices.values():
        command.add_argument("systems", nargs="*", help="all, if none is named")
    arguments = parser.parse_args()
    os.chdir(FAMILY)
    settings = params.load_family()
    known = settings.family.systems
    processes.join()
    if unknown := sorted(set(arguments.systems) - set(known)):
        parser.error(f"{FamilyParams.FILE} has no {', '.join(unknown)} in family.systems")
    names = [name for name in arguments.systems or known if _has_teacher(name, settings)]
    if not names:
        sys.exit("nothing to measure")
    if arguments.command == "input":
        good = input_costs(names, settings, arguments.steps)
    else:
        good = learning(names, settings, arguments.seconds)
    sys.exit(0 if good else 1)


def input_costs(names: list[str], settings: FamilyParams, steps: int) -> bool:
    """Print how long making a batch takes, and a step with it and without; whether all stay within COST."""
    print(f"{'':18}{'batch, ms':>10}{'step, ms':>10}{'without, ms':>13}{'cost':>8}", flush=True)
    costs = []
    for name in names:
        batch, ahead, there = (1e3 * seconds for seconds in step_times(name, settings, steps))
        costs.append(1 - there / ahead)
        print(f"{name:18}{batch:>10.2f}{ahead:>10.1f}{there:>13.1f}{costs[-1]:>8.1%}", flush=True)
    print(f"at most {max(costs):.1%} of a step; the goal is {COST:.0%}")
    return max(costs) <= COST


def step_times(name: str, settings: FamilyParams, steps: int) -> tuple[float, float, float]:
    """Return the seconds of making a batch with nothing beside it, of a step of a training that makes its batches
    ahead, and of a step of one that has them all: the medians over turns, in which each is done for so many steps.
    """
    system = opened(name, settings.family, FAMILY_DATA, settings.compute)
    own = system.own
    training = system.training(steps)
    objective = system.module.Objective(system.fresh(settings.family.seed), system.special_tokens)
    started = engine.start(
        objective,
        engine.StepSettings(own.batch_size, own.precision, training.gradient_clip),
        system.optimizer(objective) or training.optimizer,
        settings.compute,
    )

    def batch_at(step: int) -> engine.Batch:
        return system.batch(system.train, step, own.batch_size)

    def seconds(batches: Iterable[engine.Batch]) -> float:
        start = time.perf_counter()
        for batch in batches:
            loss, _ = started(**{key: value.to(processes.device()) for key, value in batch.items()})
            started.backward(loss)
            started.step()
            loss.item()  # on a GPU, waits for it
        return time.perf_counter() - start

    seconds(map(batch_at, range(FIRST_STEPS)))
    turns = []
    for turn in range(TURNS):
        these = range(turn * steps, (turn + 1) * steps)
        ahead = seconds(engine.ahead(batch_at, these, engine.beside_training()))
        start = time.perf_counter()
        batches = list(map(batch_at, these))
        alone = time.perf_counter() - start
        turns.append((alone, ahead, seconds(batches)))
    started.destroy()
    return tuple(statistics.median(each) / steps for each in zip(*turns, strict=True))


def learning(names: list[str], settings: FamilyParams, seconds: float) -> bool:
    """Print held-out loss before and after so long a training; whether context helps all, by `learned_something`."""
    budget = settings.family.budget.model_copy(update={"by": "seconds", "amount": seconds})
    family = settings.family.model_copy(update={"budget": budget})
    lines = [
        f"{'':18}{'steps':>8}{'seconds':>9}{'before':>9}{'after':>9}{'copying':>9}{'context':>9}{'error':>8}"
    ]
    failed = []
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            job = Job(f"family@{name}", family.seed, settings.compute, Run(), Path(folder))
            found = pretrain(job, opened(name, family, FAMILY_DATA, settings.compute)).metrics
        losses, context = found["pretraining"], found["pretraining"]["context"]
        if not learned_something(context):
            failed.append(name)
        nats = "".join(f"{losses[key]:>9.3f}" for key in ("before", "nats", "copying"))
        told = f"{context['gain']:>9.3f}{context['error']:>8.3f}"
        lines.append(f"{name:18}{found['steps']:>8}{found['seconds']:>9.1f}{nats}{told}")
        print(lines[-1], flush=True)
    print("", *lines, sep="\n")  # again, without what the engine says in between
    print(f"nothing learned of context: {', '.join(failed) or 'none'}")
    return not failed


def _has_teacher(name: str, settings: FamilyParams) -> bool:
    teacher = getattr(settings.family.systems[name].more, "teacher", None)
    if teacher and not Path(teacher).is_dir():
        print(f"{name} is left out: it learns from {teacher}, which `make family` has not made yet")
        return False
    return True


if __name__ == "__main__":
    main()
