"""What every stage does around its own work: check parameters, know its identity, track, resume, stop.

`python -m tasks.NAME` runs a stage by hand with the identity that DVC gives it, so both share checkpoints.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jokbo import ancestry, params, tracking
from jokbo.errors import InputError
from jokbo.training.interruption import Interrupted, raising
from tasks.identity import Identity, committed, identify
from tasks.paths import STATE

if TYPE_CHECKING:
    from jokbo.params import Compute

INTERRUPTED = 143  # the exit status a shell gives a process that SIGTERM ended
PARENT_RUN, FLOW_RUN = "JOKBO_PARENT_RUN", "JOKBO_FLOW_RUN"  # set by a flow: its MLflow run, its Prefect run


@dataclass(frozen=True)
class Stage:
    name: str
    params: Any  # its section of params.yaml, if there is one
    compute: Compute
    key: str  # DVC's identity of what is about to run
    run: tracking.Run  # says nothing on ranks above 0
    checkpoints: Path  # of this identity alone; made by whoever saves the first one


def run_stage(
    name: str, body: Callable[[Stage], None], *, parallel: bool = False, section: str | None = None
) -> None:
    """Run `body` as stage `name` and exit: 0; 2 with one line for bad input; 143 when told to stop.

    It is given the section of params.yaml of its name (family for family@bert), or `section`, or none.
    A `parallel` stage runs as compute.processes ranks, each of which calls this function again; the first
    process is then their launcher. Ranks know themselves by RANK in the environment, as torchrun sets it.
    """
    try:
        with raising():
            settings = params.load()
            own = getattr(settings, section or name.partition("@")[0], None)
            if "RANK" in os.environ:
                _work(name, body, own, settings.compute)
            else:
                _begin(name, body, own, settings.compute, parallel)
    except InputError as error:
        print(f"jokbo: {error}", file=sys.stderr)
        sys.exit(2)
    except Interrupted as error:
        print(f"jokbo: {name} stopped: {error}", file=sys.stderr)
        sys.exit(INTERRUPTED)


def leads() -> bool:
    """Whether this process speaks for its stage: of the ranks that torchrun starts, the first."""
    return int(os.environ.get("RANK", "0")) == 0


def state() -> Path:
    """Checkpoints and the local store: the project's, also in the copy that `dvc exp run --temp` works in."""
    return Path(os.path.relpath(os.environ.get("DVC_ROOT", "."))) / STATE


def timing(name: str) -> Path:
    """The record of the last run of a stage that came to its end: key, seconds, MLflow run."""
    return state() / "timings" / f"{name}.json"


def _begin(name: str, body: Callable[[Stage], None], own: Any, compute: Compute, parallel: bool) -> None:
    with _alone(name):
        identity = identify(name)
        _sweep(name, identity)
        if parallel and compute.processes > 1:
            _launch(compute.processes)
        else:
            _work(name, body, own, compute, identity)


def _work(
    name: str,
    body: Callable[[Stage], None],
    own: Any,
    compute: Compute,
    identity: Identity | None = None,
) -> None:
    identity = identity or identify(name)
    checkpoints = checkpoint_folder(name, identity.key)

    def stage(run: tracking.Run) -> Stage:
        return Stage(name, own, compute, identity.key, run, checkpoints)

    if not leads():
        body(stage(tracking.Run()))
        return
    with tracking.open_run(
        name,
        identity.key,
        params=identity.params,
        tags=_tags(name, identity),
        tracking_uri=tracking.local_store(state()),
        resumed=checkpoints.exists(),
    ) as run:
        start = time.monotonic()
        body(stage(run))
        for model in (Path(out) for out in identity.outs if Path(out).parts[0] == "models"):
            weights = ancestry.write(
                model, stage=name, key=identity.key, params=identity.params, deps=identity.deps
            )
            run.tag(f"out.{model}", weights)
        seconds = time.monotonic() - start
        run.log({"seconds": seconds})
    record = {"key": identity.key, "run": run.id, "seconds": round(seconds, 3)}
    timing(name).parent.mkdir(parents=True, exist_ok=True)
    timing(name).write_text(json.dumps(record) + "\n")


def _launch(processes: int) -> None:
    """Run this very module as `processes` ranks on this machine, and end as they end."""
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // processes)))
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    import torch.distributed.launcher.api as torchrun
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    config = torchrun.LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        local_addr="127.0.0.1",
        max_restarts=0,
    )
    module = sys.modules["__main__"].__spec__.name
    try:
        torchrun.elastic_launch(config, sys.executable)("-m", module, *sys.argv[1:])
    except ChildFailedError as error:
        sys.exit(error.get_first_failure()[1].exitcode)
    except SignalException as error:
        raise Interrupted("its ranks were told too") from error


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Hold the stage's lock: a second run of the stage in this folder waits, and says so."""
    lock = STATE / "locks" / name
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(
                f"jokbo: {name} is already running in this folder: waiting for it",
                file=sys.stderr,
                flush=True,
            )
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def checkpoint_folder(name: str, key: str) -> Path:
    return state() / "checkpoints" / name / key


def _sweep(name: str, identity: Identity) -> None:
    """Remove checkpoints that nothing will resume: those of other stages whose outputs DVC has committed, and
    this one's own if it ended and was committed before, for then it is being run anew, not resumed."""
    done = committed()
    for other, entry in done.items():
        if other != name and all(Path(out).exists() for out in entry.outs):
            shutil.rmtree(checkpoint_folder(other, entry.key), ignore_errors=True)
    ended = timing(name).is_file() and json.loads(timing(name).read_text())["key"] == identity.key
    if ended and name in done and done[name].key == identity.key:
        shutil.rmtree(checkpoint_folder(name, identity.key), ignore_errors=True)
    timing(name).unlink(missing_ok=True)


def _tags(name: str, identity: Identity) -> dict[str, str]:
    tags = {"stage": name, **_version()}
    tags |= {f"dep.{path}": hash for path, hash in identity.deps.items()}
    if PARENT_RUN in os.environ:
        tags["mlflow.parentRunId"] = os.environ[PARENT_RUN]
    if FLOW_RUN in os.environ:
        tags["flow.run"] = os.environ[FLOW_RUN]
    return tags


def _version() -> dict[str, str]:
    """The commit, and whether anything differs from it; or that they are unknown, and why."""
    try:
        if not _git("ls-files", "--", "dvc.yaml"):
            raise LookupError("this project is in no commit")
        return {"git.commit": _git("rev-parse", "HEAD"), "git.dirty": str(bool(_git("status", "-s")))}
    except LookupError as error:
        return {"git.commit": f"unknown ({error})", "git.dirty": "unknown"}


def _git(*arguments: str) -> str:
    """What git says. LookupError, with the first line of why, if it can't say."""
    try:
        result = subprocess.run(["git", *arguments], capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise LookupError(f"no git program: {error.strerror}") from error
    if result.returncode:
        raise LookupError(f"git: {result.stderr.strip().partition(chr(10))[0].removeprefix('fatal: ')}")
    return result.stdout.strip()
