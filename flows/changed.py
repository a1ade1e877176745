"""A run of the chain with other values of params.yaml, given as parameters of the flow run: `chain`, which is deployed.

It works in a copy of the project, .jokbo/sets/NUMBER, as a profile does; params.yaml stays as it is. The copy shares
the MLflow store, and the DVC cache, where stages that the values do not change are found. The same values lead to the
same copy, so a run that was stopped goes on there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Cancelled, Failed

from flows import profile
from flows.flow import BAD_INPUT_STATE, Busy, pipeline, run_name
from flows.schedule import SKIPPED, overtaken
from jokbo import params
from jokbo.runtime import tracking
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import write_text
from tasks.frame.paths import STATE
from tasks.frame.stage import state

STORE = "MLFLOW_TRACKING_URI"


@flow(name="chain", flow_run_name=lambda: ", ".join([*_shown(flow_run.parameters.get("set")), run_name()]))
def chain(set: dict[str, Any] | None = None, until: str | None = None, timeout_hours: float = 24.0) -> State:
    """Bring the chain up to date (`until`: that stage and what it needs), as the flow pipeline does.

    With `set`, such as {"align.kl_target": 3.0}, with these values in place of those of params.yaml, in a copy.
    """
    if late := overtaken():
        return Cancelled(name=SKIPPED, message=late)
    try:
        with changed(set or {}):
            outcome = pipeline(timeout_hours, until, return_state=True)
    except Busy as error:
        return Cancelled(name=SKIPPED, message=str(error))
    except InputError as error:
        return Failed(name=BAD_INPUT_STATE, message=str(error))
    return State(type=outcome.type, name=outcome.name, message=outcome.message)


@contextlib.contextmanager
def changed(values: Mapping[str, Any]) -> Iterator[None]:
    """Work in a copy of this project with these values, by their keys; without any, in this project itself.

    InputError for a key that there is none of, or a value that is not right.
    """
    if not values:
        yield
        return
    tree = params.read(Path("params.yaml"))
    for key, value in values.items():
        _put(tree, key, value)
    params.checked(tree, "params.yaml with `set`")
    text = json.dumps(values, sort_keys=True, indent=1)
    folder = STATE / "sets" / hashlib.sha256(text.encode()).hexdigest()[:12]
    store, before = tracking.local_store(state().resolve()), os.environ.get(STORE)
    profile.lay_out(folder, tree)
    write_text(folder / "set.json", text + "\n")
    with contextlib.chdir(folder):
        os.environ[STORE] = store
        try:
            yield
        finally:
            del os.environ[STORE]
            os.environ |= {STORE: before} if before else {}


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    """Put a value where it stands in the tree of parameters. InputError if nothing stands there."""
    *sections, last = key.split(".")
    place: Any = tree
    for name in sections:
        place = place.get(name) if isinstance(place, dict) else None
    if not isinstance(place, dict) or last not in place:
        raise InputError(
            f"`set`: params.yaml has no {key}: name a key that stands there, such as align.kl_target"
        )
    place[last] = value


def _shown(values: Mapping[str, Any] | None) -> list[str]:
    return [f"{key} {value}" for key, value in (values or {}).items()]
