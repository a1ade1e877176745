"""The ancestry of models: beside every model's folder stands the record of what that model was made from, and in.

models/NAME.ancestry.json is an output of its own, which the report alone reads: it holds hashes of code, which a model
that comes out the same does not change with. It names parents by the hash of their weights; `jokbo tree` joins the
records.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from jokbo.runtime.errors import InputError
from jokbo.runtime.files import write_text
from jokbo.runtime.secrets import hidden_in

SUFFIX = ".ancestry.json"  # of the file beside a model's folder


@dataclass(frozen=True)
class Record:
    """What a model was made from, and in which environments."""

    stage: str
    key: str  # DVC's identity of the stage
    weights: str  # sha256
    params: Mapping[str, Any]
    data: Mapping[str, str]  # path -> DVC's md5
    code: Mapping[str, str]
    parents: Mapping[str, str]  # path -> sha256 of the weights
    environments: Sequence[Mapping[str, Any]]  # the last one is that in which it was finished

    def save(self, model: Path) -> None:
        """Write the record beside the model's folder: the same bytes for the same record."""
        write_text(
            _file(model), json.dumps(asdict(self), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        )

    @classmethod
    def load(cls, model: Path) -> Record:
        """Return the record beside a model's folder, or beside the folder of models that it is one of.

        InputError if there is none, or it is of other weights.
        """
        model = recorded(model)
        file = _file(model)
        record = cls.read(file)
        if model.is_dir() and weights_of(model) != record.weights:
            raise InputError(
                f"{file}: of other weights than those in {model}: `dvc checkout`, or make it again"
            )
        return record

    @classmethod
    def read(cls, file: Path) -> Record:
        """Return the record that a file holds. InputError if it is none."""
        try:
            found = json.loads(file.read_text("utf-8"))
            if missing := {field.name for field in fields(cls)} - set(found):
                raise ValueError(f"it has no {min(missing)}")
            return cls(**found)
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(f"{file}: not there: name the folder of a model that a stage wrote") from None
        except (ValueError, TypeError) as error:
            raise InputError(f"{file}: not a record of ancestry ({error}): make the model again") from error


def has_record(model: Path) -> bool:
    """Return whether a record stands beside a model's folder, or beside the folder of models that it is one of."""
    return _file(recorded(model)).is_file()


def recorded(model: Path) -> Path:
    """Return what the record of a model is of: the model, or the folder of models that it is one of."""
    among = model.parent.name and not _file(model).is_file() and _file(model.parent).is_file()
    return model.parent if among else model


def made(model: Path, *, stage: str, key: str, params: Mapping[str, Any], deps: Mapping[str, str]) -> Record:
    """Return the record of a model that was just made, without environments.

    `deps` are the stage's inputs, path -> hash. Folders with weights in them are its parents.
    """
    parents = {path: weights_of(Path(path)) for path in sorted(deps) if any(_weight_files(Path(path)))}
    code = {path: hash for path, hash in sorted(deps.items()) if is_code(path)}
    data = {path: hash for path, hash in sorted(deps.items()) if path not in code and path not in parents}
    return Record(stage, key, weights_of(model), hidden_in(params), data, code, parents, [])


def is_code(path: str) -> bool:
    """Return whether a stage's dependency is code of ours, a file or a folder, and not data."""
    return path.endswith(".py") or path.removeprefix("../").partition("/")[0] in ("jokbo", "tasks", "flows")


def records_beside(model: Path) -> dict[str, tuple[str, Record]]:
    """Return every record of the project's models, as `records_in` does."""
    return records_in(recorded(model).parent)


def records_in(folder: Path) -> dict[str, tuple[str, Record]]:
    """Return every record in a folder of models, by the hash of the weights, with the model's path."""
    found = {}
    for file in sorted(folder.glob(f"*{SUFFIX}")):
        record = Record.read(file)
        found[record.weights] = (str(file).removesuffix(SUFFIX), record)
    return found


def weights_of(model: Path) -> str:
    """Return the sha256 of a model's weights; of a folder of models those of all."""
    digest = hashlib.sha256()
    for file in sorted(_weight_files(model)):
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _weight_files(model: Path) -> Sequence[Path]:
    return [*(model.glob("*.safetensors")), *(model.glob("*/*.safetensors"))]


def _file(model: Path) -> Path:
    return model.with_name(model.name + SUFFIX)
