"""`python -m flows.project.doctor` (`jokbo doctor`) looks at what a run needs, and says what is wrong and what to do.

It changes nothing, and asks no other machine than those that the project names: its DVC remote, MLflow's and Prefect's
servers.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import psutil
import typer

from flows.project import forecast, leftovers
from jokbo import params
from jokbo.params import Params
from jokbo.runtime.errors import InputError, line_of
from jokbo.runtime.files import in_one_line
from jokbo.runtime.secrets import hidden, hidden_of
from jokbo.team.upkeep import findings, machine, tracker
from jokbo.team.upkeep.findings import Finding, ok, refused, warning, wrong
from tasks.frame import lockfile
from tasks.frame.paths import STATE

REMOTE_SECONDS = 8  # within which a DVC remote has to answer
Answer = TypeVar("Answer")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    memory: Annotated[
        bool,
        typer.Option(
            "--memory", help="Also reckon what the largest training takes in all: some seconds more."
        ),
    ] = False,
) -> None:
    """Say of all that a run needs whether it is right, what was found, and what to do. Exits 1 if anything is wrong."""
    with in_one_line():
        found = list(findings.examined(checks(memory)))
        print(findings.as_json(found)) if as_json else findings.show(found)
    sys.exit(0 if findings.is_right(found) else 1)


def checks(reckon: bool) -> dict[str, findings.Check]:
    """Return all checks, by name, in the order in which they are shown."""
    settings, fault = _settings()
    made = settings.compute if settings else None
    of_params: dict[str, findings.Check] = {"params": lambda: [fault]}
    if settings:
        of_params["memory"] = partial(forecast.memory, settings, reckon=reckon)
        of_params["disk"] = partial(forecast.disk, settings)
    return {
        "python": machine.python,
        "packages": machine.packages,
        "torch": machine.torch,
        "processor": machine.processor,
        "compiler": partial(machine.compiler, made.compile if made else True),
        "gpu": partial(machine.gpu, made.processes if made else 1),
        **of_params,
        "git": machine.git,
        "dvc": dvc,
        "dvc remote": remote,
        "mlflow": partial(tracker.mlflow, STATE),
        "unsent": partial(tracker.unsent, STATE),
        "prefect": prefect,
        "runs": runs,
        "tests": machine.programs if Path("tests").is_dir() else list,
    }


def _settings() -> tuple[Params | None, Finding]:
    """Return params.yaml, if it is right, and what is to be said of it."""
    try:
        return params.load(), ok("params.yaml is right")
    except InputError as error:
        return None, refused(error)


def dvc() -> Iterator[Finding]:
    """Yield whether this is a project of DVC, its settings can be read, its cache written to, and its lock is whole."""
    from dvc.config import Config, ConfigError

    if not Path(".dvc").is_dir():
        yield wrong("this is no project of DVC", "run this in the folder of a project, a clone of jokbo")
        return
    try:
        cache = Path(Config(".dvc")["cache"].get("dir") or ".dvc/cache")
    except ConfigError as error:
        yield wrong(f".dvc/config: {line_of(error)}", "correct it")
        return
    nearest = next(folder for folder in (cache, *cache.absolute().parents) if folder.exists())
    if os.access(nearest, os.W_OK):
        yield ok(f"cache in {cache}")
    else:
        yield wrong(
            f"{cache} cannot be written to", "make it writable for you, or set another: dvc cache dir"
        )
    text = lockfile.LOCK.read_text("utf-8", errors="replace") if lockfile.LOCK.is_file() else None
    if text is not None and any(line.startswith(lockfile.CONFLICT) for line in text.splitlines()):
        yield wrong("dvc.lock: a merge conflict", "take one side whole: git checkout --ours dvc.lock")
    elif text is not None and lockfile.parsed(text) is None:
        yield warning("dvc.lock is half written", "nothing: the next run mends it")


def remote() -> Iterator[Finding]:
    """Yield whether the DVC remote that is set answers."""
    from dvc.config import Config, ConfigError, NoRemoteError
    from dvc.fs import LocalFileSystem, get_cloud_fs

    try:
        config = Config(".dvc")
        if (name := config["core"].get("remote")) is None:
            yield ok("none is set: `dvc remote add -d NAME URL` shares data and models")
            return
        found: Any = get_cloud_fs(config, name=name)
        kind, options, path = found
    except (ConfigError, NoRemoteError, OSError) as error:
        yield wrong(f".dvc/config: {line_of(error)}", "correct it")
        return
    url = config["remote"][name]["url"]
    try:
        there = within(REMOTE_SECONDS, lambda: _is_there(kind(**options), path))
    except Exception as error:  # whatever drivers raise
        why = hidden_of(url, line_of(error))
        yield wrong(
            f"{name} ({hidden(url)}) does not answer: {why}",
            "correct it with `dvc remote modify`, or go on without",
        )
        return
    if not there:
        yield warning(
            f"{name} ({hidden(url)}) is not there yet", "dvc push makes it; or is its disk not mounted?"
        )
    elif kind is LocalFileSystem and not os.access(path, os.W_OK):
        yield warning(f"{name} ({url}) can be read, and not written to", "ask its owner, if you are to push")
    else:
        yield ok(f"{name} ({hidden(url)}) answers")


def _is_there(remote: Any, path: str) -> bool:
    """Return whether a remote has the path. Raises what keeps it from answering, which drivers tell as not found."""
    try:
        remote.info(path)
    except FileNotFoundError as error:
        if isinstance(error.__cause__, OSError):
            raise error.__cause__ from None
        return False
    return True


def within(seconds: float, ask: Callable[[], Answer]) -> Answer:
    """Return what `ask` returns, or raise what it raises; TimeoutError if it takes longer, for nothing ends a driver
    that waits for the network.
    """
    answers: list[Any] = []

    def answer() -> None:
        try:
            answers.append((ask(), None))
        except Exception as error:
            answers.append((None, error))

    asking = threading.Thread(target=answer, daemon=True)
    asking.start()
    asking.join(seconds)
    if not answers:
        raise TimeoutError(f"no answer within {seconds:g} seconds")
    answered, error = answers[0]
    if error:
        raise error
    return answered


def prefect() -> Iterator[Finding]:
    """Yield whether the Prefect server that is set answers."""
    # Prefect takes seconds to import, and without these two it has no server of the user's
    profiles = Path(os.environ.get("PREFECT_HOME", Path.home() / ".prefect")) / "profiles.toml"
    if "PREFECT_API_URL" in os.environ or profiles.is_file():
        from flows.server import NoServer, check, own_server

        if url := own_server():
            try:
                check(url)
                yield ok(f"the server at {hidden(url)} answers")
            except (InputError, NoServer) as error:
                yield refused(error)
            return
    yield ok("no server is set: a run starts one for itself alone; a schedule needs one (PREFECT_API_URL)")


def runs() -> Iterator[Finding]:
    """Yield what runs in this folder now, and what runs that were killed have left in the way of the next."""
    from flows.supervise import marked

    live = leftovers.live(Path())
    yield ok(
        f"at work in this folder now: {', '.join(sorted(live))}" if live else "nothing runs in this folder"
    )
    orphans = sorted(process.pid for process in marked(str(Path().resolve())))
    if orphans and "pipeline" not in live:
        shown = ", ".join(map(str, orphans))
        yield warning(f"an earlier run is not quite gone (PID {shown})", "nothing: the next run ends it")
    if strangers := _strangers(Path(".dvc/tmp/rwlock")):
        said = f".dvc/tmp/rwlock says that {', '.join(strangers)} work on files here, and they are no DVC"
        yield warning(f"{said}: DVC would wait for them", "rm .dvc/tmp/rwlock")


def _strangers(lock: Path) -> list[str]:
    """Return the processes that DVC's list of readers and writers names and that live, but are another program.

    Those that are gone DVC takes out itself.
    """
    try:
        found = json.loads(lock.read_text("utf-8"))
        writers = [*found.get("write", {}).values()]
        pids = {
            one["pid"]
            for one in [*writers, *(each for many in found.get("read", {}).values() for each in many)]
        }
    except (OSError, ValueError):  # half of it: the next run removes it
        return []
    others = []
    for pid in sorted(pids):
        try:
            words = psutil.Process(pid).cmdline()
        except psutil.Error:
            continue
        if not any("dvc" in word for word in words):
            others.append(f"PID {pid} ({words[0] if words else 'unknown'})")
    return others


if __name__ == "__main__":
    app()
