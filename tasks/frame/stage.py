"""What every stage does around its own work: check parameters, know its identity, track, resume, stop.

`python -m tasks.NAME` runs a stage by hand with the identity that DVC gives it, so both share checkpoints.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from jokbo.runtime import ancestry, changes, environment, launcher, load, run_record, tracking
from jokbo.runtime.changes import Changes, git
from jokbo.runtime.files import in_one_line, locked, read_if_there, write_text
from jokbo.runtime.interruption import SIGNALS, Interrupted, hold_lifeline, raising
from jokbo.runtime.tracking import flat
from jokbo.training.job import Job
from tasks.frame import checks, projects
from tasks.frame.identity import Identity, check_loaded, check_unchanged, committed, identify, outputs
from tasks.frame.lockfile import LOCK
from tasks.frame.paths import KEPT_TABLE, PROFILES, STATE

if TYPE_CHECKING:
    from jokbo.params import Compute

INTERRUPTED = 143  # the exit status a shell gives a process that SIGTERM ended
# what runs themselves leave where git sees it, as git names what it is not to look at
_KEPT = [Path(folder) / KEPT_TABLE for folder in projects.OPTIONAL]
WRITTEN = [f":(top,exclude,glob)**/{path}" for path in (LOCK, *_KEPT, PROFILES / "*.json")]
PARENT_RUN, FLOW_RUN = "JOKBO_PARENT_RUN", "JOKBO_FLOW_RUN"  # set by a flow: its MLflow run, its Prefect run


Section = TypeVar("Section", covariant=True)


class Seeded(Protocol):
    """A section of params.yaml with a seed."""

    @property
    def seed(self) -> int: ...


@dataclass(frozen=True)
class Stage(Generic[Section]):
    """What a stage's body is told of itself."""

    name: str
    params: Section  # its section of params.yaml; None if it has none
    compute: Compute
    key: str  # DVC's identity of what is about to run
    run: tracking.Run  # says nothing on ranks above 0
    checkpoints: Path  # of this identity alone; made by whoever saves the first one

    def job(self: Stage[Seeded], part: str | None = None) -> Job:
        """Return what a training of this stage is told. A stage of several trainings names each."""
        whole = Job(self.name, self.params.seed, self.compute, self.run, self.checkpoints)
        return whole.part(part) if part else whole


def run_stage(
    name: str, body: Callable[[Stage[Any]], None], *, parallel: bool = False, section: str | None = None
) -> None:
    """Run `body` as stage `name` and exit: 0; 2 with one line for bad input; 143 when told to stop.

    It is given the section of params.yaml of its name (family for family@bert), or `section`, or none.
    A `parallel` stage runs as compute.processes ranks, each of which calls this function again; the first
    process is then their launcher, unless compute.launcher says that they are started from outside.
    """
    hold_lifeline()
    try:
        with in_one_line(), raising():
            settings = projects.load()
            own = getattr(settings, section or name.partition("@")[0], None)
            compute = settings.compute
            if not launcher.take_rank(compute.launcher, compute.processes, trains=parallel):
                print(f"jokbo: {name}: rank 0 alone does this stage", file=sys.stderr)
            elif launcher.begun_elsewhere():
                _work(name, body, own, settings.compute)
            else:
                checks.check_before(name, settings)
                _begin(name, body, own, settings.compute, parallel)
    except Exception as error:
        if (line := launcher.lost(error)) is None:
            raise
        print(f"jokbo: {name}: {line}", file=sys.stderr, flush=True)
        os._exit(launcher.LOST)  # for torch's threads would wait for the one that is gone
    except Interrupted as error:
        for number in SIGNALS:
            signal.signal(
                number, signal.SIG_IGN
            )  # the same stop may come twice, and would change how this one ends
        print(f"jokbo: {name} stopped: {error}", file=sys.stderr)
        sys.exit(INTERRUPTED)


def leads() -> bool:
    """Return whether this process speaks for its stage: of several ranks, the first."""
    return launcher.rank() == 0


def state() -> Path:
    """Return checkpoints and the local store: the root's, for every project of it, also in the copy that `dvc exp run
    --temp` works in.
    """
    return projects.root(Path(os.path.relpath(os.environ.get("DVC_ROOT", ".")))) / STATE


def timing(name: str) -> Path:
    """Return the record of the last run of a stage that came to its end: key, seconds, MLflow run."""
    return state() / "timings" / f"{name}.json"


def _begin(name: str, body: Callable[[Stage[Any]], None], own: Any, compute: Compute, parallel: bool) -> None:
    with _alone(name, STATE / "locks" / name), ExitStack() as stack:
        identity = identify(name)
        check_loaded(identity)
        # a copy that `dvc exp run --temp` works in shares checkpoints with the project
        stack.enter_context(_alone(name, checkpoints_lock(name, identity.key)))
        _sweep(name, identity)
        if parallel and compute.processes > 1 and not launcher.meeting():
            _launch(compute.processes)
        else:
            _work(name, body, own, compute, identity)


def _work(
    name: str,
    body: Callable[[Stage[Any]], None],
    own: Any,
    compute: Compute,
    identity: Identity | None = None,
) -> None:
    if identity is None:  # of a rank
        identity = identify(name)
        check_loaded(identity)
    checkpoints = checkpoint_folder(name, identity.key)

    if launcher.meeting() == launcher.OUTSIDE:
        from jokbo.runtime import hosts  # imports torch

        hosts.check(_depends_on(identity, compute), checkpoints.parent)

    def stage(run: tracking.Run) -> Stage[Any]:
        return Stage(name, own, compute, identity.key, run, checkpoints)

    if not leads():
        body(stage(tracking.Run()))
        return
    resumed = checkpoints.exists()
    made_in = environment.worked(
        state(),
        name,
        identity.key,
        environment.collect(ranks=launcher.world(), zero_stage=compute.zero_stage, compiled=compute.compile),
        resumed=resumed,
    )
    with tracking.open_run(
        tracking.Subject(name, identity.key, identity.params, _tags(name, identity)),
        tracking_uri=tracking.local_store(state()),
        resumed=resumed,
        state=state(),
        made_in=made_in,
    ) as run:
        run.text(environment.text(identity.deps), "inputs.json")
        run.inputs({path: md5 for path, md5 in identity.deps.items() if not ancestry.is_code(path)})
        changed = keep_changes(run)
        start = time.monotonic()
        with load.logged(run):
            body(stage(run))
        check_unchanged(name, identity)
        for model in map(Path, identity.models):
            record = ancestry.made(
                model, stage=name, key=identity.key, params=identity.params, deps=identity.deps
            )
            replace(record, environments=made_in).save(model)
            run.tag(f"out.{model}", record.weights)
        seconds = time.monotonic() - start
        run.log({"seconds": seconds})
        _keep_account(name, identity, run, changed, made_in)
    record = {"key": identity.key, "run": run.id, "seconds": round(seconds, 3)}
    write_text(timing(name), json.dumps(record) + "\n")


def _depends_on(identity: Identity, compute: Compute) -> dict[str, str]:
    """Return by name what ranks on several hosts must have alike: parameters, code, data and packages."""
    alike = compute.model_dump(exclude={"workers", "launcher"})
    params = {
        f"params.yaml: {name}": each for name, each in flat({"compute": alike, **identity.params}).items()
    }
    packages = environment.collect()["packages"]
    installed = {f"the package {name}": packages[name] for name in environment.SHOWN if name in packages}
    return {name: str(value) for name, value in {**params, **identity.deps, **installed}.items()}


def keep_changes(run: tracking.Run) -> Changes:
    """Keep in a run what differs from its commit; return it. Says what of it is too long to be kept."""
    try:
        found = changes.collect(WRITTEN)
    except LookupError as error:
        return Changes(f"unknown ({error})")
    for line in found.notes():
        print(f"jokbo: {line}", file=sys.stderr, flush=True)
    if found.diff:
        run.text(found.diff, f"{run_record.FOLDER}/{run_record.DIFF}")
    return found


def _keep_account(
    name: str,
    identity: Identity,
    run: tracking.Run,
    changed: Changes,
    made_in: Sequence[Mapping[str, Any]],
) -> None:
    """Keep in the run, and in .jokbo, what the stage was made from, what it made, and its trails."""
    record = run_record.RunRecord(
        stage=name,
        key=identity.key,
        folder=str(Path.cwd().relative_to(projects.root().resolve())),
        run=run.id,
        commit=changed.commit,
        changes=run_record.said(changed),
        params=identity.params,
        deps=identity.deps,
        outs=outputs(name),
        environments=made_in,
    )
    own = checkpoint_folder(name, identity.key)
    trails = {
        name if path == own else str(path.relative_to(own)): marks for path, marks in run.trails.items()
    }
    folder = run_record.place(state(), name, identity.key)
    run_record.Account(record, changed.diff, trails).save(folder)
    run.artifact(folder, run_record.FOLDER)


def _launch(processes: int) -> None:
    """Run this very module as `processes` ranks on this machine, and end as they end."""
    spec = sys.modules["__main__"].__spec__
    assert spec is not None  # a stage is started by `python -m`
    status = launcher.launch([sys.executable, "-m", spec.name, *sys.argv[1:]], processes)
    if status:
        sys.exit(status)


@contextmanager
def _alone(name: str, lock: Path) -> Iterator[None]:
    """Hold a lock of the stage: a second run of it in this folder waits, and says so."""

    def taken() -> None:
        print(f"jokbo: {name} is already running in this folder: waiting for it", file=sys.stderr, flush=True)

    with locked(lock, taken):
        yield


def checkpoint_folder(name: str, key: str) -> Path:
    return state() / "checkpoints" / name / key


def checkpoints_lock(name: str, key: str) -> Path:
    return state() / "locks" / f"{name}-{key[:16]}"


def _remove_checkpoints(name: str, key: str) -> None:
    """Remove those of an identity, unless somebody trains it now, as in a copy of `dvc exp run --temp`."""
    folder, lock = checkpoint_folder(name, key), checkpoints_lock(name, key)
    if not folder.exists():
        return
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as file, suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(name: str, identity: Identity) -> None:
    """Remove checkpoints that nothing will resume: those of other stages whose outputs DVC has committed, and
    this one's own if it ended and was committed before, for then it is being run anew, not resumed."""
    done = committed()
    for other, entry in done.items():
        if other != name and all(Path(out).exists() for out in entry.outs):
            _remove_checkpoints(other, entry.key)
    ended = read_if_there(timing(name)) or {}
    if ended.get("key") == identity.key and name in done and done[name].key == identity.key:
        shutil.rmtree(checkpoint_folder(name, identity.key), ignore_errors=True)
    timing(name).unlink(missing_ok=True)


def _tags(name: str, identity: Identity) -> dict[str, str]:
    tags = {"stage": name, **version()}
    seed = next(
        (f" seed {value}" for key, value in flat(identity.params).items() if key.endswith("seed")), ""
    )
    tags["mlflow.runName"] = ", ".join(filter(None, [name + seed, commit(tags)]))
    tags["mlflow.note.content"] = (
        f"The stage `{name}`: it reads {_named(path for path in identity.deps if not ancestry.is_code(path))}, "
        f"and makes {_named(identity.outs)}. `dvc repro {name}` runs it again."
    )
    if PARENT_RUN in os.environ:
        tags["mlflow.parentRunId"] = os.environ[PARENT_RUN]
    if FLOW_RUN in os.environ:
        tags["flow.run"] = os.environ[FLOW_RUN]
    return tags


def _named(paths: Iterable[str]) -> str:
    return ", ".join(f"`{path}`" for path in paths) or "nothing"


def version() -> dict[str, str]:
    """Return the commit, and whether anything differs from it; or that they are unknown, and why."""
    try:
        if not git("ls-files", "--", "dvc.yaml"):
            raise LookupError("this project is in no commit")
        return {
            "git.commit": git("rev-parse", "HEAD"),
            "git.dirty": str(bool(git("status", "-s", "--", ":/", *WRITTEN))),
        }
    except LookupError as error:
        return {"git.commit": f"unknown ({error})", "git.dirty": "unknown"}


def commit(found: dict[str, str]) -> str:
    """Return the commit of `version` as people read it, and whether anything differs; empty where it is unknown."""
    ends = {"True": " with changes", "False": ""}
    dirty = found["git.dirty"]
    return f"{found['git.commit'][:7]}{ends[dirty]}" if dirty in ends else ""
