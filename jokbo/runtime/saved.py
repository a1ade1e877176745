"""What one stage saves and another loads: a frozen dataclass in one JSON file."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar, Self

from pydantic import TypeAdapter, ValidationError

from jokbo.runtime.errors import InputError
from jokbo.runtime.files import read_json, write_text


class Saved:
    """The base of such a dataclass. STAGE is the stage that saves it."""

    STAGE: ClassVar[str]

    def save(self, path: Path) -> None:
        """Write the fields, in their order, as JSON."""
        tree = asdict(self)  # pyright: ignore[reportArgumentType]
        write_text(path, json.dumps(tree, ensure_ascii=False, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return what a file holds. InputError if it is not there, or holds something else."""
        remedy = f"run the stage {cls.STAGE}"
        try:
            return TypeAdapter(cls).validate_python(read_json(path, remedy))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise InputError(f"{path}: {where}: {first['msg']}: {remedy}") from error
