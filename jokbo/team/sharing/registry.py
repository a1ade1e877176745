"""MLflow's model registry: versions of a model, with all that is known of them, and which of them is the champion."""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jokbo.exporting.export import RECORD, Target, export
from jokbo.exporting.licences import licences
from jokbo.exporting.opening import opened
from jokbo.runtime.ancestry import Record
from jokbo.runtime.errors import InputError
from jokbo.runtime.mlflow_store import connect, reason
from jokbo.runtime.secrets import hidden
from jokbo.runtime.tracking import find_run
from jokbo.team.comparing.estimates import bounded, reach_of_difference

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION = "champion"  # the alias
NAME = re.compile(r"[\w.-]+")
WEIGHTS = "jokbo.weights"  # tag of a version: sha256
MEASURED = {
    field: f"jokbo.{field}" for field in ("metric", "value", "low", "high", "seeds")
}  # tags of a version
CARD = "README.md"
LONGEST = 5000  # of a description or a tag, in characters, as MLflow has it
PROMPT = "The film was"  # the input example
PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "accelerate")  # what opens a version


@dataclass(frozen=True)
class Measured:
    """What a model is judged by: a metric of which more is better, and its 95% interval.

    With several seeds it is the mean over runs like the model's, and the interval is over them; else over prompts.
    """

    metric: str
    value: float
    low: float
    high: float
    seeds: int = 1

    def beats(self, other: Measured) -> bool:
        """Return whether it is better beyond doubt: the 95% interval of their difference is above zero."""
        ours, theirs = (bounded(each.value, each.low, each.high, each.seeds) for each in (self, other))
        reach = reach_of_difference(ours, theirs)
        return reach is not None and self.value - other.value > reach

    def tags(self) -> dict[str, str]:
        return {tag: str(getattr(self, field)) for field, tag in MEASURED.items()}

    def __str__(self) -> str:
        over = f", mean of {self.seeds} seeds" if self.seeds > 1 else ""
        return f"{self.metric} {self.value:.3f} ({self.low:.3f} to {self.high:.3f}{over})"


def register(model: Path, name: str, measured: Measured, uri: str) -> list[str]:
    """Register a model that writes, as a version of `name`, and make it the champion if it beats the one that is.

    Returns what is to be said, a line each. A model that is registered already is not registered again, but what it is
    judged by is written anew. InputError for what the registry refuses.
    """
    if not NAME.fullmatch(name):
        raise InputError(f"--name {name!r}: it may have letters, digits, and . _ - in it")
    import mlflow

    record = Record.load(model)
    try:
        client, experiment = connect(uri)
        mlflow.set_tracking_uri(uri)  # a sqlite registry looks the model up where the process does
        known = _versions(client, name)
        version = next(
            (number for number, tags in known.items() if tags.get(WEIGHTS) == record.weights), None
        )
        said = [f"{model} is version {version} of {name} already"] if version else []
        if version:
            for tag, value in measured.tags().items():
                client.set_model_version_tag(name, version, tag, value)
        else:
            version = _add(client, experiment, model, name, record, measured)
            said = [f"{model} is version {version} of {name} at {hidden(uri)}"]
        return [*said, _crown(client, name, version, measured)]
    except InputError:
        raise
    except Exception as error:  # whatever MLflow and its stores raise
        raise InputError(f"{hidden(uri)}: {model} is not registered ({reason(error)})") from error


def _versions(client: MlflowClient, name: str) -> dict[str, Mapping[str, str]]:
    """Return the tags of each version, by its number."""
    return {str(found.version): found.tags for found in client.search_model_versions(f"name = '{name}'")}


def _add(
    client: MlflowClient, experiment: str, model: Path, name: str, record: Record, measured: Measured
) -> str:
    """Upload the model as MLflow's flavour `transformers`, with signature, example, licences, card and ancestry."""
    from mlflow.entities import LoggedModelOutput
    from mlflow.exceptions import MlflowException

    def commit_of(key: str) -> str | None:
        run = find_run(client, key)
        return run.data.tags.get("git.commit") if run else None

    run = find_run(client, record.key)
    id = run.info.run_id if run else None
    allowed = [f"{what}: {licence}" for what, licence in licences(model).items()] or ["unknown"]
    tags = {
        WEIGHTS: record.weights,
        "jokbo.key": record.key,
        "git.commit": commit_of(record.key) or "unknown",
        "licence": "; ".join(allowed)[:LONGEST],
        **measured.tags(),
    }
    with tempfile.TemporaryDirectory() as place:
        plain, whole = Path(place, model.resolve().name), Path(place, "whole")
        export(model, Target(plain, "folder"), commit_of)
        made = client.create_logged_model(experiment, name=model.resolve().name, source_run_id=id, tags=tags)
        try:
            _save(plain, whole, made.model_id, id)
            # in the place of MLflow's, which says that none was found
            (whole / "LICENSE.txt").write_text("\n".join([*allowed, ""]), "utf-8")
            client.log_model_artifacts(made.model_id, str(whole))
        except BaseException:
            client.finalize_logged_model(made.model_id, "FAILED")
            raise
        client.finalize_logged_model(made.model_id, "READY")
        _, _, card = (plain / CARD).read_text("utf-8").split("---\n", 2)
    if id:
        client.log_outputs(id, [LoggedModelOutput(made.model_id, step=0)])
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    more = {
        "run_id": id,
        "tags": tags,
        "description": card.partition("\n## Ancestry")[0][:LONGEST],
        "model_id": made.model_id,
    }
    return str(client.create_model_version(name, f"models:/{made.model_id}", **more).version)


def _save(plain: Path, whole: Path, model_id: str, run_id: str | None) -> None:
    """Write a model as mlflow.transformers and mlflow.pyfunc open it, its card and ancestry beside."""
    from importlib.metadata import version

    from mlflow import transformers as flavour  # pyright: ignore[reportPrivateImportUsage]
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    text = Schema([ColSpec(DataType.string)])
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    found = opened(plain)
    about: dict[str, Any] = {"model_id": model_id, "run_id": run_id}
    flavour.save_model(
        {"model": found.network, "tokenizer": found.tokenizer},
        str(whole),
        task="text-generation",
        mlflow_model=Model(**about),
        signature=ModelSignature(inputs=text, outputs=text),
        input_example=PROMPT,
        pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in ("mlflow", *PACKAGES)],
    )
    for name in (CARD, RECORD):
        shutil.copy(plain / name, whole)


def _crown(client: MlflowClient, name: str, version: str, measured: Measured) -> str:
    """Move the champion's alias to the version if that beats the one that has it; return what came of it."""
    champion = client.get_registered_model(name).aliases.get(CHAMPION)
    if champion is not None:
        champion = str(champion)
        if champion == version:
            return f"version {version} is the champion: {measured}"
        tags = _versions(client, name)[champion]
        try:
            value, low, high = (float(tags[MEASURED[key]]) for key in ("value", "low", "high"))
            seeds = int(tags.get(MEASURED["seeds"], "1"))  # versions of before seeds say nothing of them
            before = Measured(tags[MEASURED["metric"]], value, low, high, seeds)
        except (KeyError, ValueError):
            return f"version {champion} stays the champion: nothing is known of what it was judged by"
        if before.metric != measured.metric:
            return f"version {champion} stays the champion: it was judged by {before.metric}, this by {measured.metric}"
        if (before.seeds > 1) != (measured.seeds > 1):
            runs = [f"{each.seeds} seeds" if each.seeds > 1 else "one run" for each in (before, measured)]
            return f"version {champion} stays the champion: it was judged by {runs[0]}, this by {runs[1]}"
        if not measured.beats(before):
            return f"version {champion} stays the champion: {before} is not beaten beyond doubt by {measured}"
    client.set_registered_model_alias(name, CHAMPION, version)
    return f"version {version} is the champion now: {measured}"
