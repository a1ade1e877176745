"""What is known of how a model, a run or a revision was made, in one form, so that any two can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jokbo.runtime import ancestry, files
from jokbo.runtime.ancestry import Record
from jokbo.runtime.errors import InputError
from jokbo.runtime.secrets import hidden_in
from jokbo.runtime.tracking import flat

Hashes = Mapping[str, str]  # by what they are hashes of: `md5`, DVC's; `weights`, a sha256
HASHED = ("data", "code", "parents")  # aspects that are hashes
SEVERAL = ", "  # between what each of several seeds has
ASPECTS = ("data", "code", "parameters", "environment", "parents", "metrics")


@dataclass(frozen=True)
class Facts:
    """How a stage made something, by name. None is what nothing tells of."""

    data: Mapping[str, Hashes] | None = None
    code: Mapping[str, Hashes] | None = None
    parameters: Mapping[str, Any] | None = None  # a.b.c
    environment: Mapping[str, Any] | None = None
    parents: Mapping[str, Hashes] | None = None
    metrics: Sequence[Mapping[str, float]] | None = None  # a/b/c; of several seeds, those of each


@dataclass(frozen=True)
class Made:
    """What a user named, with the facts of each stage that made it."""

    name: str
    stages: Mapping[str, Facts]
    whole: bool = False  # whether it is all of a project
    logged: bool = False  # whether the metrics are MLflow's, which has more than the files of stages


WHOLE = "params.yaml"  # stands for the stage of what is a whole project's


def of_model(model: Path) -> Made:
    """Return what the record beside a model tells, and the metrics of its stage in the same project.

    InputError if there is no record, or it is of other weights.
    """
    record = Record.load(model)
    measured = ancestry.recorded(model).parent.parent / "metrics" / f"{record.stage.replace('@', '/')}.json"
    return Made(str(model), {record.stage: of_record(record, files.read_if_there(measured))})


def of_file(file: Path) -> Made:
    """Return what a file of ancestry tells. InputError if it is none."""
    record = Record.read(file)
    return Made(str(file), {record.stage: of_record(record)})


def of_record(record: Record, metrics: Any = None) -> Facts:
    """Return what a record of ancestry tells, with what its stage measured."""
    return Facts(
        data=_hashes("md5", record.data),
        code=_hashes("md5", record.code),
        parameters=parameters(record.params),
        environment=environment(record.environments),
        parents=_hashes("weights", record.parents),
        metrics=None if metrics is None else [numbers(metrics)],
    )


def together(name: str, made: Sequence[Made]) -> Made:
    """Return runs that differ by their seed as one: of what they don't have in common, what each has.

    InputError if no stage is in all of them.
    """
    shared = [stage for stage in made[0].stages if all(stage in each.stages for each in made)]
    if not shared:
        of = "; ".join(f"{each.name} is of {', '.join(each.stages)}" for each in made)
        raise InputError(f"{name}: they are not of one stage ({of}): name runs of the same")
    stages = {stage: _together([each.stages[stage] for each in made]) for stage in shared}
    shown = f"{name} ({len(made)} seeds)"
    return Made(shown, stages, all(each.whole for each in made), any(each.logged for each in made))


def _together(found: Sequence[Facts]) -> Facts:
    aspects: dict[str, Any] = {}
    for aspect in ASPECTS:
        known = [getattr(each, aspect) for each in found]
        if None in known:
            aspects[aspect] = None
        elif aspect == "metrics":
            aspects[aspect] = [metrics for own in known for metrics in own]
        else:
            names = dict.fromkeys(name for own in known for name in own)
            join = _one_hashes if aspect in HASHED else _one
            aspects[aspect] = {name: join([own.get(name) for own in known]) for name in names}
    return Facts(**aspects)


def _one(values: Sequence[Any]) -> Any:
    """Return what all values are, or all of them as one text."""
    found = [str(value) for value in values]
    return values[0] if len({*found}) == 1 else SEVERAL.join(found)


def _one_hashes(values: Sequence[Hashes | None]) -> Hashes:
    there = [each for each in values if each]
    kinds = [kind for kind in there[0] if all(kind in each for each in there)]
    return {kind: _one([each and each[kind] for each in values]) for kind in kinds}


def of_inputs(inputs: Mapping[str, str], parents: Mapping[str, str]) -> dict[str, dict[str, Hashes]]:
    """Return a stage's inputs (path -> DVC's md5) as data, code and parents; of some, `parents` has the weights."""
    found: dict[str, dict[str, Hashes]] = {"data": {}, "code": {}, "parents": {}}
    for path, md5 in inputs.items():
        model = path.startswith("models/") and not path.endswith(ancestry.SUFFIX)
        aspect = "code" if ancestry.is_code(path) else "parents" if model else "data"
        weights = {"weights": parents[path]} if path in parents else {}
        found[aspect][path] = {"md5": md5, **weights}
    return found


def parameters(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested parameters by their dotted names, without what may be secret in them."""
    return flat(hidden_in(params))


def environment(found: Any) -> dict[str, Any] | None:
    """Return the last of the environments that something was made in, as one mapping; None if there is none."""
    return flat(found[-1]) if found else None


def numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of nested metrics by their names with slashes, as MLflow has them."""
    return {
        name: value
        for name, value in flat(metrics, "/").items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _hashes(kind: str, found: Mapping[str, str]) -> dict[str, Hashes]:
    return {path: {kind: value} for path, value in found.items()}
