"""A3C: workers that wait for nobody change one policy and one value (Mnih et al. 2016, algorithm S3).

A worker is a process with an environment and a network of its own. It copies the shared weights, takes `segment` steps,
and applies its gradient to the shared weights as they are by then, by RMSProp whose squares are shared too, all without
a lock (Hogwild). So which update builds on which is nobody's to say, and two runs differ, unless there is one worker:
then it is A2C to the bit.

Every `rest_steps` steps the workers come to rest, and what is saved then is whole: weights, squares, and where each
worker's environment stands. From there a run goes on exactly; what the workers do then is again in nobody's order.

Settings (control/params.yaml, kind a3c)
    rest_steps           steps of all workers together between two rests
    the others           as in a2c.py

Measures: as in a2c.py; means over the updates of all workers.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

import torch
from torch import Tensor, multiprocessing

from jokbo.control.a2c import loss, rate_at, stepped
from jokbo.control.environments import Environments
from jokbo.control.job import Job, Outcome, check_finite
from jokbo.control.network import flattened, gradient
from jokbo.control.rollouts import collect
from jokbo.control.settings import A3c
from jokbo.runtime.errors import InputError
from jokbo.runtime.interruption import SIGNALS

FORK = multiprocessing.get_context("fork")  # torch is imported once; this process has computed no gradient
FRESH = {"update": 0, "environments": None}  # of a worker that has not begun


@dataclass(frozen=True)
class Shared:
    """What all workers change, without a lock; only the steps are counted with one."""

    weights: Tensor
    squares: Tensor
    steps: Any  # a Value of multiprocessing

    def state(self) -> dict[str, Tensor]:
        return {"weights": self.weights.clone(), "squares": self.squares.clone()}


def trained(job: Job) -> Outcome:
    """Return what came of A3C; from the checkpoint on, if there is one."""
    own = job.setting.own
    assert isinstance(own, A3c)
    record, kept = job.restored()
    start = Environments(job.where.environment, job.seed, [0])
    weights = kept["weights"] if kept else flattened(job.network(start.seen_NO.shape[1], start.actions))
    squares = kept["squares"] if kept else torch.zeros_like(weights)
    shared = Shared(weights.share_memory_(), squares.share_memory_(), FORK.Value("q", record.steps))
    states: list[dict[str, Any]] = kept.get("workers", [FRESH] * own.workers)
    with _started(job, shared, own.workers) as workers:
        while record.steps < job.where.steps:
            until = min(record.steps + own.rest_steps, job.where.steps)
            for (pipe, _), state in zip(workers, states, strict=True):
                pipe.send((until, state))
            found = [_answer(*each) for each in workers]
            check_finite(job, shared.weights)
            states = [each["state"] for each in found]
            episodes = sorted(episode for each in found for episode in each["episodes"])
            measures = [measure for each in found for measure in each["measures"]]
            means = {name: sum(each[name] for each in measures) / len(measures) for name in measures[0]}
            record.add(shared.steps.value - record.steps, episodes, means)
            job.save(record, {**shared.state(), "workers": states})
    return Outcome(record, shared.weights.clone())


def work(job: Job, shared: Shared, index: int, pipe: Connection, others: Sequence[Connection]) -> None:
    """Learn until all have done so many steps, rest, and begin again when told, until nobody tells any more.

    `others` are the ends of pipes that the process which tells holds: with copies here, none would ever end.
    """
    for other in others:
        other.close()
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # whoever started it hears of a stop
    torch.set_num_threads(1)
    own = job.setting.own
    assert isinstance(own, A3c)
    environments = Environments(job.where.environment, job.seed, [index])
    network = job.network(environments.seen_NO.shape[1], environments.actions)
    mine = flattened(network)
    while True:
        try:
            until, state = pipe.recv()
        except EOFError:
            return
        if state["environments"]:
            environments.restore(state["environments"])
        update, episodes, measures = state["update"], [], []
        try:
            while (done := shared.steps.value) < until:
                mine.copy_(shared.weights)
                rollout = collect(network, environments, own.segment, update)
                total, measured = loss(network, rollout, own)
                stepped(
                    shared.weights, shared.squares, gradient(network, total), rate_at(done, job, own), own
                )
                with shared.steps.get_lock():
                    shared.steps.value += own.segment
                    after = shared.steps.value
                update += 1
                measures.append(measured)
                episodes += [(after - own.segment + step, earned) for step, earned in rollout.episodes]
        except InputError as error:
            pipe.send(error)
            return
        rest = {"update": update, "environments": environments.state()}
        pipe.send({"state": rest, "episodes": episodes, "measures": measures})


@contextmanager
def _started(job: Job, shared: Shared, count: int) -> Iterator[list[tuple[Connection, Any]]]:
    """Yield a pipe to each worker, and its process; none outlives the block."""
    workers: list[tuple[Connection, Any]] = []
    try:
        for index in range(count):
            ours, theirs = FORK.Pipe()
            others = [pipe for pipe, _ in workers] + [ours]
            process = FORK.Process(target=work, args=(job, shared, index, theirs, others), daemon=True)
            process.start()
            theirs.close()
            workers.append((ours, process))  # pyright: ignore[reportArgumentType]
        yield workers
    finally:
        for pipe, process in workers:
            pipe.close()
            process.kill()
            process.join()


def _answer(pipe: Connection, process: Any) -> dict[str, Any]:
    """Return what a worker says when it rests. InputError if it ended before."""
    wait([pipe, process.sentinel])
    try:
        found = pipe.recv()
    except EOFError:
        process.join()
        raise InputError(
            f"a worker of A3C ended with status {process.exitcode}: run again to go on from the last rest"
        ) from None
    if isinstance(found, Exception):
        raise found
    return found
