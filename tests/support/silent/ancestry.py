"""In the place of jokbo.runtime.ancestry: records say nothing, but are there, for DVC asks for them."""

from dataclasses import dataclass, field
from pathlib import Path

SUFFIX = ".ancestry.json"


@dataclass(frozen=True)
class Record:
    weights: str = ""
    environments: list = field(default_factory=list)

    def save(self, model):
        Path(f"{model}{SUFFIX}").write_text("{}\n")


def made(model, **more):
    return Record()


def is_code(path):
    return False
