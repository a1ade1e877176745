"""The schema of params.yaml: one model a section, checked whole before anything runs.

It holds no defaults and changes no value, so it cannot change what a stage computes: that is why the files of this
folder are the only ones that dvc.yaml does not list among the code a stage depends on.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError, model_validator

from jokbo.errors import InputError
from jokbo.params.base import Section
from jokbo.params.chain import (
    Compute,
    Distill,
    DistillationWeights,
    Evaluate,
    Finetune,
    Model,
    Optimizer,
    Ppo,
    Preferences,
    Pretrain,
    Reward,
    Training,
)
from jokbo.params.data import (
    Bounds,
    Cleaner,
    Fetch,
    FilesSource,
    HubSource,
    Mix,
    PackageSource,
    Prepare,
    Quality,
    Rule,
    Tokenize,
    Tokenizer,
)
from jokbo.params.family import Family, FamilyBaselines, FamilyText, Search, System, Task, check_texts
from jokbo.params.reading import found_as, read, shown

__all__ = [
    "Bounds",
    "Cleaner",
    "Compute",
    "DistillationWeights",
    "Family",
    "FamilyBaselines",
    "FamilyText",
    "Fetch",
    "FilesSource",
    "HubSource",
    "Mix",
    "Model",
    "Optimizer",
    "PackageSource",
    "Params",
    "Ppo",
    "Prepare",
    "Quality",
    "Rule",
    "Search",
    "System",
    "Task",
    "Tokenize",
    "Tokenizer",
    "Training",
    "checked",
    "load",
    "read",
]

QUOTED = re.compile(r"'([^']*)'")
LINE = 600  # characters of a message
PLAIN = {  # pydantic's kinds of fault, where its own words name Python's types
    "model_type": "it must hold keys, each on a line of its own below it",
    "dict_type": "it must hold keys, each on a line of its own below it",
    "bool_type": "it must be true or false",
    "invalid_key": "a key must be a word: write it as text",
}


class Params(Section):
    compute: Compute
    fetch: Fetch
    prepare: Prepare
    tokenize: Tokenize
    pretrain: Pretrain
    finetune: Finetune
    distill: Distill
    preferences: Preferences
    reward: Reward
    ppo: Ppo
    evaluate: Evaluate
    family_text: FamilyText
    family: Family
    family_baselines: FamilyBaselines

    @model_validator(mode="after")
    def fits_together(self) -> Params:
        context = self.pretrain.model.context
        spoken = self.finetune.policy.prompt_tokens + self.finetune.policy.response_tokens
        if spoken > context:
            raise ValueError(
                f"finetune.policy.prompt_tokens + response_tokens is {spoken}: "
                f"it must be at most pretrain.model.context, which is {context}"
            )
        if self.finetune.classifier.context > context:
            raise ValueError(
                f"finetune.classifier.context is {self.finetune.classifier.context}: "
                f"it must be at most pretrain.model.context, which is {context}"
            )
        if not spoken < self.reward.context <= context:
            raise ValueError(
                f"reward.context is {self.reward.context}: it must be above {spoken} (prompt, response and the end "
                f"of text) and at most pretrain.model.context, which is {context}"
            )
        if self.distill.layers > self.pretrain.model.layers:
            raise ValueError(
                f"distill.layers is {self.distill.layers}: "
                f"it must be at most pretrain.model.layers, which is {self.pretrain.model.layers}"
            )
        check_texts(self.family_text, self.family, self.family_baselines)
        rows = self.compute.processes * max(self.compute.micro_batch, 1)
        for name, batch in self._batches():
            if batch % rows:
                raise ValueError(
                    f"{name} is {batch}: it must be a multiple of compute.processes "
                    f"({self.compute.processes}) x compute.micro_batch ({self.compute.micro_batch or 'all'})"
                )
        return self

    def _batches(self) -> list[tuple[str, int]]:
        return [
            ("pretrain.training.batch", self.pretrain.training.batch),
            ("finetune.policy.training.batch", self.finetune.policy.training.batch),
            ("finetune.classifier.training.batch", self.finetune.classifier.training.batch),
            ("distill.training.batch", self.distill.training.batch),
            ("reward.training.batch", self.reward.training.batch),
            ("ppo.minibatch", self.ppo.minibatch),
            *((f"family.systems.{name}.batch", own.batch) for name, own in self.family.systems.items()),
            ("family.finetune.batch", self.family.finetune.batch),
            ("family_baselines.finetune.batch", self.family_baselines.finetune.batch),
        ]


def load(path: Path | str = "params.yaml") -> Params:
    """The checked parameters. Raises InputError, one line naming file and key, if anything is wrong."""
    return checked(read(Path(path)), str(path))


def checked(tree: dict[str, Any], name: str) -> Params:
    """The parameters in a tree that was read. Raises InputError, one line with `name` and the key, as `load` does."""
    try:
        return Params.model_validate(tree)
    except ValidationError as error:
        # a misspelt key is both unknown and missing: the unknown one is what the user typed
        fault = min(
            error.errors(include_url=False),
            key=lambda fault: fault["type"] not in ("extra_forbidden", "invalid_key"),
        )
        raise InputError(f"{name}: {shown(_explain(fault, tree), LINE)}") from error


def _explain(fault: dict[str, Any], tree: Any) -> str:
    """One line for one of pydantic's complaints: the key, what was found, what is allowed."""
    # pydantic puts a union's tag between the keys; what is not in the tree is not a key of the file
    keys, node = [], tree
    of_key = fault["loc"][-1:] == ("[key]",)
    unknown_name = (
        of_key and fault["type"] == "literal_error"
    )  # in a mapping whose keys are names that we give
    for part in fault["loc"][: -1 if of_key else None]:
        inside = (isinstance(node, dict) and part in node) or (
            isinstance(node, list) and isinstance(part, int)
        )
        if inside or (part == fault["loc"][-1] and not of_key):
            keys.append(str(part))
            node = node[part] if inside else None
    key = ".".join(map(shown, keys)) or "the file"
    if fault["type"] == "extra_forbidden" or unknown_name:
        known = QUOTED.findall(fault["msg"]) if unknown_name else _siblings(keys[:-1], tree)
        near = difflib.get_close_matches(keys[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else "remove it"
        return f"{key} is not a known key: {hint}"
    if fault["type"] in ("invalid_key", "string_type") and isinstance(fault["input"], int | float | tuple | None):
        pass
    if fault["type"] == "missing":
        return f"{key} is missing: add it"
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "value_error":
        return f"{key}: {message}" if keys else message
    if fault["type"] == "union_tag_invalid":
        which = fault["ctx"]["discriminator"].strip("'")
        found = shown(fault["ctx"]["tag"])
        return f"{key}.{which} is {found}: it must be one of {fault['ctx']['expected_tags']}"
    message = PLAIN.get(fault["type"], f"{message[0].lower()}{message[1:]}")
    return f"{key} is {found_as(fault['input'])}: {message}"


def _siblings(keys: list[str], tree: Any) -> list[str]:
    """The keys that the schema knows at this place, nearest match material for a misspelt one."""
    models: list[Any] = [Params]
    for key in keys:
        annotations = [model.model_fields[key].annotation for model in models if key in model.model_fields]
        models = [found for annotation in annotations for found in _models_in(annotation)] or models
    return [name for model in models for name in model.model_fields]


def _models_in(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [model for inner in getattr(annotation, "__args__", ()) for model in _models_in(inner)]
