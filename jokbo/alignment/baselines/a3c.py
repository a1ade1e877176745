"""A3C: workers that wait for nobody change one policy and one value (Mnih et al. 2016, algorithm S3).

A worker is a process with networks of its own. It copies the shared weights, samples and scores responses, and applies
its gradients to the shared weights as they are by then, by RMSProp whose moments are shared too, without a lock. So
which update builds on which is nobody's to say: two runs differ, unless there is one worker.

The process that starts them only hands out numbers of updates, and prompts and samples are functions of these. For a
checkpoint it hands out no more until all workers are done, so what is saved is whole: weights, moments, and what was
logged. From there a run goes on exactly; what the workers do then is again in nobody's order.

It computes on the CPU, as in the paper. Shapes: as in common.py.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, multiprocessing, nn

from jokbo.alignment.baselines.actor_critic import batches, critic_loss
from jokbo.alignment.baselines.common import (
    SHOWN,
    Clock,
    Given,
    Made,
    Plan,
    PolicyGradient,
    begun,
    of_network,
    rolled,
    summary,
)
from jokbo.alignment.controllers import Controllers
from jokbo.alignment.networks import prepared
from jokbo.alignment.ppo import initialise_value
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import atomic_write_folder, read_json
from jokbo.runtime.interruption import SIGNALS, Interrupted, polled
from jokbo.runtime.launcher import cores
from jokbo.runtime.progress import Progress
from jokbo.training import processes
from jokbo.training.loop import Row, check_finite

if TYPE_CHECKING:
    from jokbo.params import Asynchronous

STEP = "update-"  # before the number of a checkpoint's folder
WAIT_SECONDS = 1.0  # after which one who waits looks whether the others are still there


@dataclass(frozen=True)
class Shared:
    """What all workers change: the weights of policy and value, and the mean squares of their gradients."""

    networks: nn.ModuleDict
    squares: dict[str, Tensor]  # by the names of the weights

    @classmethod
    def of(cls, given: Given) -> Shared:
        networks = nn.ModuleDict({"policy": given.networks.policy, "value": given.networks.value})
        networks.share_memory()
        named = networks.named_parameters()
        return cls(networks, {name: torch.zeros_like(each).share_memory_() for name, each in named})

    def tensors(self) -> dict[str, Tensor]:
        weights = {f"weights.{name}": each.detach() for name, each in self.networks.named_parameters()}
        return weights | {f"squares.{name}": each for name, each in self.squares.items()}


@dataclass(frozen=True)
class Setup:
    """What a worker is told when it starts."""

    given: Given
    own: Asynchronous
    shared: Shared
    plan: Plan
    length: float
    parent: int  # the process that started it


def made(given: Given, own: Asynchronous) -> Made:
    """Return what came of A3C. The value's head is fitted first, as PPO's is, from samples that count."""
    clock = begun(given)
    settings = given.settings
    length = initialise_value(given.networks, given.prompts_NP, settings)
    networks = given.networks
    for network in (networks.policy, networks.value, networks.reference, networks.reward, *networks.members):
        network.cpu()
    plan = Plan(own.batch, valued=True, spent=settings.value_rollouts * settings.rollout_batch)
    shared = Shared.of(given)
    kept = _restored(given.job.folder, shared)
    # nothing of the job but its name and its seed goes to another process
    told = replace(given, job=replace(given.job, run=None, compute=None))  # pyright: ignore[reportArgumentType]
    setup = Setup(told, own, shared, plan, length, os.getpid())
    history = _coordinated(given, setup, kept, clock)
    prepared(networks)
    return of_network(given, clock.beside(history, plan))


def _coordinated(given: Given, setup: Setup, kept: dict[str, Any], clock: Clock) -> list[Row]:
    """Have the workers do the updates that are left; return a row an update, in the order in which they ended."""
    job, updates = given.job, setup.plan.iterations(given.samples)
    history: list[Row] = kept.setdefault("history", [])
    controllers = Controllers.of(
        given.settings, kept.get("beta", given.settings.kl_coefficient), setup.length
    )
    saved, saved_at, handed = len(history), time.monotonic(), len(history)
    with (
        polled() as stop,
        Progress(job.name, updates, done=handed, compiles=False) as progress,
        _started(setup, min(setup.own.workers, updates - handed)) as workers,
    ):
        idle = workers.count
        while len(history) < updates:
            waited = time.monotonic() - saved_at
            due = stop.requested or (handed > saved and waited >= job.compute.checkpoint_seconds)
            while idle and handed < updates and not due:
                handed, idle = handed + 1, idle - 1
                workers.hand((handed, controllers.kl.beta))
            if idle < workers.count:
                row = workers.row()
                idle += 1
                check_finite(job.name, len(history) + 1, row)
                history.append({"step": len(history) + 1, **row})
                controllers.kl.update(row["kl"])
                job.run.log({f"{job.name}/{key}": value for key, value in row.items()}, step=len(history))
                progress.advance(**{label: row[key] for label, key in SHOWN.items()})
                clock.done(len(history))
            if idle == workers.count and (due or len(history) == updates):
                kept["beta"] = controllers.kl.beta
                job.run.flush()
                _save(job.folder, setup.shared, kept)
                saved, saved_at = len(history), time.monotonic()
                if stop.requested:
                    raise Interrupted(f"saved at step {len(history)}: run again to go on from there")
    return history


class _Workers:
    """The processes, what they are handed and what they give back."""

    def __init__(self, setup: Setup, count: int) -> None:
        own = multiprocessing.get_context("spawn")
        self.count, self.jobs, self.rows = count, own.Queue(), own.Queue()
        self.alive = [
            own.Process(target=work, args=(setup, self.jobs, self.rows, count), daemon=True)
            for _ in range(count)
        ]
        for each in self.alive:
            each.start()

    def hand(self, job: tuple[int, float]) -> None:
        self.jobs.put(job)

    def row(self) -> Row:
        """Return the next row. InputError if a worker has ended before its time."""
        while True:
            try:
                found = self.rows.get(timeout=WAIT_SECONDS)
            except queue.Empty:
                for each in self.alive:
                    if each.exitcode is not None:
                        raise InputError(
                            f"a worker of A3C ended with status {each.exitcode}: for memory set workers lower, and "
                            "run again to go on from the last checkpoint"
                        ) from None
                continue
            if isinstance(found, Exception):
                raise found
            return found

    def end(self) -> None:
        for each in self.alive:
            each.kill()
        for each in self.alive:
            each.join()


@contextmanager
def _started(setup: Setup, count: int) -> Iterator[_Workers]:
    workers = _Workers(setup, count)
    try:
        yield workers
    finally:
        workers.end()


def work(setup: Setup, jobs: Any, rows: Any, count: int) -> None:
    """Do updates, each with a number and a price of KL, until the process that hands them out is gone."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # the one who hands out updates hears of a stop
    torch.set_num_threads(max(1, cores() // count))
    worker = Worker(setup)
    while os.getppid() == setup.parent:
        try:
            number, beta = jobs.get(timeout=WAIT_SECONDS)
        except queue.Empty:
            continue
        try:
            rows.put(worker.update(number, beta))
        except Exception as error:
            rows.put(error)


class Worker:
    """Networks of its own, and an optimizer of the shared ones."""

    def __init__(self, setup: Setup) -> None:
        given, shared = setup.given, setup.shared
        own = replace(
            given.networks, policy=deepcopy(given.networks.policy), value=deepcopy(given.networks.value)
        )
        self.setup, self.given = setup, replace(given, networks=own)
        prompt_tokens = given.prompts_NP.shape[1]
        self.mine = nn.ModuleDict({"policy": own.policy, "value": own.value})
        self.objectives = {
            "policy": PolicyGradient(own.policy, given.settings.temperature, prompt_tokens),
            "value": critic_loss(own.value, prompt_tokens),
        }
        rates = {"policy": setup.own.policy_rate, "value": setup.own.value_rate}
        self.optimizer = torch.optim.RMSprop(
            [{"params": list(shared.networks[name].parameters()), "lr": rates[name]} for name in rates],
            alpha=setup.own.decay,
            foreach=False,
        )
        for name, weights in shared.networks.named_parameters():
            # the count of steps is read by nothing in RMSProp
            self.optimizer.state[weights] = {"step": torch.zeros(()), "square_avg": shared.squares[name]}

    def update(self, number: int, beta: float) -> Row:
        """Sample by the shared weights as they are now, and step from where they are then; return the row."""
        setup, settings = self.setup, self.given.settings
        pairs = list(zip(self.mine.parameters(), setup.shared.networks.parameters(), strict=True))
        with torch.no_grad():
            for mine, shared in pairs:
                mine.copy_(shared)
        seen, _ = rolled(self.given, setup.plan, number)
        controllers = Controllers.of(settings, beta, setup.length)
        rewards_BR, weight = controllers.rewards(seen)
        row = summary(seen, controllers, weight)
        self.mine.zero_grad()
        for name, batch in batches(seen, rewards_BR, settings.discount, setup.own.gae_lambda).items():
            with processes.autocast(settings.precision):
                loss, _ = self.objectives[name](**batch)
            loss.backward()
            if settings.gradient_clip:
                nn.utils.clip_grad_norm_(self.mine[name].parameters(), settings.gradient_clip)
            row[f"{name}_loss"] = loss.item()
        for mine, shared in pairs:
            shared.grad = mine.grad
        self.optimizer.step()
        return row


def _save(folder: Path, shared: Shared, kept: dict[str, Any]) -> None:
    """Write a checkpoint, and remove those before it. InputError if a weight is not finite."""
    tensors = shared.tensors()
    if not all(bool(each.isfinite().all()) for each in tensors.values()):
        raise InputError(
            "a3c: the weights are not finite: lower policy_rate and value_rate, or set precision to fp32"
        )
    path = folder / f"{STEP}{len(kept['history']):08d}"
    with atomic_write_folder(path) as partial:
        save_file({name: each.contiguous() for name, each in tensors.items()}, partial / "shared.safetensors")
        (partial / "state.json").write_text(json.dumps(kept))
    for old in _checkpoints(folder)[:-1]:
        shutil.rmtree(old)


def _restored(folder: Path, shared: Shared) -> dict[str, Any]:
    """Put the newest checkpoint into the shared weights; return what was kept with it, nothing if there is none."""
    found = _checkpoints(folder)
    if not found:
        return {}
    saved, here = load_file(found[-1] / "shared.safetensors"), shared.tensors()
    with torch.no_grad():
        for name, tensor in here.items():
            tensor.copy_(saved[name])
    return read_json(found[-1] / "state.json", f"delete {folder} to train anew")


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{STEP}*"))
