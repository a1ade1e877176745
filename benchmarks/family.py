"""The family's systems on the corpus of data/family, at the sizes and with the recipe of params.yaml.

`python -m benchmarks.family input`: what making a batch costs beside the whole training step.
`python -m benchmarks.family learning`: held-out nats a predicted token after some seconds of training, beside the
unigram entropy of the text.

For the systems that are named, or all. One that learns from another needs that one in models/family. The exit status
is 1 if a system misses the mark.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from jokbo import params  # first: it keeps DeepSpeed quiet
from jokbo.params import Params
from jokbo.tracking import Run
from jokbo.training import engine, processes
from tasks.family import opened, pretrain
from tasks.stage import Stage

COST = 0.05  # of a whole step, at most
SHARE = 0.95  # of the unigram entropy, at most
FIRST_STEPS = 5  # they allocate memory and choose kernels


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("input").add_argument("--steps", type=int, default=40, help="that are timed")
    commands.add_parser("learning").add_argument("--seconds", type=float, default=30.0, help="of training")
    for command in commands.choices.values():
        command.add_argument("systems", nargs="*", help="all, if none is named")
    arguments = parser.parse_args()
    settings = params.load()
    known = settings.family.systems
    processes.join()
    if unknown := sorted(set(arguments.systems) - set(known)):
        parser.error(f"params.yaml has no {', '.join(unknown)} in family.systems")
    names = [name for name in arguments.systems or known if _has_teacher(name, settings)]
    if not names:
        sys.exit("nothing to measure")
    if arguments.command == "input":
        good = input_costs(names, settings, arguments.steps)
    else:
        good = learning(names, settings, arguments.seconds)
    sys.exit(0 if good else 1)


def input_costs(names: list[str], settings: Params, steps: int) -> bool:
    """Prints how long making a batch and the rest of a step take; whether all systems stay within COST."""
    print(f"{'':18}{'batch, ms':>10}{'step, ms':>10}{'share':>8}", flush=True)
    shares = []
    for name in names:
        batch, rest = step_times(name, settings, steps)
        shares.append(batch / (batch + rest))
        print(f"{name:18}{1e3 * batch:>10.2f}{1e3 * (batch + rest):>10.1f}{shares[-1]:>8.1%}", flush=True)
    print(f"at most {max(shares):.1%}; the goal is {COST:.0%}")
    return max(shares) <= COST


def step_times(name: str, settings: Params, steps: int) -> tuple[float, float]:
    """Mean seconds of making a batch and of training on it, each step one after the other as in a training (a mean:
    some systems take two kinds of batches in turns)."""
    member = opened(name, settings.family)
    own = member.own
    training = member.training(steps)
    objective = member.module.Objective(member.fresh(settings.family.seed), member.marks)
    started = engine.start(
        objective,
        batch=own.batch,
        precision=own.precision,
        optimizer=member.optimizer(objective) or training.optimizer,
        gradient_clip=training.gradient_clip,
        compute=settings.compute,
    )
    made, trained = [], []
    for step in range(FIRST_STEPS + steps):
        start = time.perf_counter()
        batch = member.batch(member.train, step, own.batch)
        between = time.perf_counter()
        loss, _ = started(**{key: value.to(processes.device()) for key, value in batch.items()})
        started.backward(loss)
        started.step()
        loss.item()  # on a GPU, waits for it
        made.append(between - start)
        trained.append(time.perf_counter() - between)
    started.destroy()
    return statistics.fmean(made[FIRST_STEPS:]), statistics.fmean(trained[FIRST_STEPS:])


def learning(names: list[str], settings: Params, seconds: float) -> bool:
    """Prints held-out loss before and after so long a training; whether it comes below SHARE of the entropy for all."""
    budget = settings.family.budget.model_copy(update={"by": "seconds", "amount": seconds})
    family = settings.family.model_copy(update={"budget": budget})
    lines = [f"{'':18}{'steps':>8}{'seconds':>9}{'before':>9}{'after':>9}{'unigram':>9}{'of it':>8}"]
    shares = []
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            stage = Stage(f"family@{name}", family, settings.compute, "", Run(), Path(folder))
            _, _, found = pretrain(stage, opened(name, family))
        losses = found["pretraining"]
        shares.append(losses["nats"] / losses["unigram"])
        nats = "".join(f"{losses[key]:>9.3f}" for key in ("before", "nats", "unigram"))
        lines.append(f"{name:18}{found['steps']:>8}{found['seconds']:>9.1f}{nats}{shares[-1]:>8.1%}")
        print(lines[-1], flush=True)
    print("", *lines, sep="\n")  # again, without what the engine says in between
    print(f"at most {max(shares):.1%} of the unigram entropy; the goal is {SHARE:.0%}")
    return max(shares) <= SHARE


def _has_teacher(name: str, settings: Params) -> bool:
    teacher = settings.family.systems[name].more.get("teacher")
    if teacher and not Path(teacher).is_dir():
        print(f"{name} is left out: it learns from {teacher}, which `dvc repro` has not made yet")
        return False
    return True


if __name__ == "__main__":
    main()
