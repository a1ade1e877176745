"""The schema of params.yaml and of family/params.yaml: one model a section, checked whole before anything runs.

It holds no defaults and changes no value, so it cannot change what a stage computes, and no stage depends on it.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args

from pydantic import ValidationError, model_validator
from pydantic_core import ErrorDetails

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
    Prompts,
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
from jokbo.params.family import (
    Family,
    FamilyBaselines,
    FamilyParams,
    FamilyText,
    Search,
    Task,
    from_defaults,
    with_defaults,
)
from jokbo.params.reading import found_as, read, shown
from jokbo.params.renamed import MOVED, RENAMED
from jokbo.params.systems import System
from jokbo.runtime.errors import InputError

__all__ = [
    "Bounds",
    "Cleaner",
    "Compute",
    "DistillationWeights",
    "Family",
    "FamilyBaselines",
    "FamilyParams",
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
    "Prompts",
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
    "load_family",
    "read",
]

QUOTED = re.compile(r"'([^']*)'")
QUOTE = "'"
LINE = 600  # characters of a message
Whole = TypeVar("Whole", bound=Section)
PLAIN = {  # pydantic's kinds of fault, where its own words name Python's types
    "model_type": "it must hold keys, each on a line of its own below it",
    "dict_type": "it must hold keys, each on a line of its own below it",
    "bool_type": "it must be true or false",
    "none_required": "a system of this kind has none: remove it",
}


class Params(Section):
    """params.yaml: the chain, and how everything is computed."""

    FILE: ClassVar[str] = "params.yaml"

    compute: Compute
    """How stages run, not what they make: no stage depends on it."""
    fetch: Fetch
    """Where texts come from."""
    prepare: Prepare
    """How texts are cleaned, chosen and split."""
    tokenize: Tokenize
    """The tokenizer and the corpus."""
    prompts: Prompts
    """What the policy is asked: the beginning of a sentence, to be gone on with as its author did."""
    pretrain: Pretrain
    """The base model: next-token prediction."""
    finetune: Finetune
    """The supervised policy, and a classifier."""
    distill: Distill
    """A smaller student of the policy."""
    preferences: Preferences
    """Pairs of answers, and which one is preferred."""
    reward: Reward
    """The reward model, fitted to those pairs."""
    ppo: Ppo
    """The aligned policy: PPO against the reward model."""
    evaluate: Evaluate
    """What the four models are measured on."""

    @model_validator(mode="after")
    def fits_together(self) -> Params:
        context = self.pretrain.model.context
        spoken = self.prompts.prompt_tokens + self.prompts.response_tokens
        if spoken > context:
            raise ValueError(
                f"prompts.prompt_tokens + response_tokens is {spoken}: "
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
        most = self.prompts.sentences_per_review
        for name, asked in self._sentences():
            if asked > most:
                raise ValueError(
                    f"{name} is {asked}: it must be at most prompts.sentences_per_review, which is {most}"
                )
        if self.distill.layers > self.pretrain.model.layers:
            raise ValueError(
                f"distill.layers is {self.distill.layers}: "
                f"it must be at most pretrain.model.layers, which is {self.pretrain.model.layers}"
            )
        self.compute.check_batches(self._batches())
        return self

    def _sentences(self) -> list[tuple[str, int]]:
        return [
            ("finetune.policy.sentences_per_review", self.finetune.policy.sentences_per_review),
            ("distill.sentences_per_review", self.distill.sentences_per_review),
            ("ppo.sentences_per_review", self.ppo.sentences_per_review),
        ]

    def _batches(self) -> list[tuple[str, int]]:
        return [
            ("pretrain.training.batch", self.pretrain.training.batch),
            ("finetune.policy.training.batch", self.finetune.policy.training.batch),
            ("finetune.classifier.training.batch", self.finetune.classifier.training.batch),
            ("distill.training.batch", self.distill.training.batch),
            ("reward.training.batch", self.reward.training.batch),
            ("ppo.minibatch", self.ppo.minibatch),
        ]


def load(path: Path | str = "params.yaml") -> Params:
    """The checked parameters. Raises InputError, one line naming file and key, if anything is wrong."""
    return checked(read(Path(path)), str(path))


def load_family(
    path: Path | str = "params.yaml", chain: Path | str = "../params.yaml", profile: Path | None = None
) -> FamilyParams:
    """Return the checked parameters of the comparison, which are computed as the chain's file says.

    A key of a section that stands in the `profile` takes the place of the whole key. Raises InputError as `load` does,
    for any of the files.
    """
    compute, tree, name = load(chain).compute, read(Path(path)), str(path)
    if profile is not None:
        changes, name = read(profile), f"{path} with {profile}"
        tree = {**tree, **{section: {**tree.get(section, {}), **keys} for section, keys in changes.items()}}
    if "compute" in tree:
        raise InputError(f"{name}: compute is in {chain} alone: remove it here")
    return _checked(FamilyParams, {**with_defaults(tree), "compute": compute}, name, tree)


def checked(tree: dict[str, Any], name: str) -> Params:
    """The parameters in a tree that was read. Raises InputError, one line with `name` and the key, as `load` does."""
    return _checked(Params, tree, name, tree)


def _checked(model: type[Whole], tree: dict[str, Any], name: str, written: dict[str, Any]) -> Whole:
    """What `tree` holds; faults are told of the file as it was `written`."""
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        # a misspelt key is both unknown and missing: the unknown one is what the user typed
        fault = min(
            error.errors(include_url=False),
            key=lambda fault: fault["type"] not in ("extra_forbidden", "invalid_key"),
        )
        raise InputError(f"{name}: {shown(_explain(fault, model, tree, written), LINE)}") from error


def _explain(fault: ErrorDetails, model: type[Section], tree: Any, written: Any) -> str:
    """One line for one of pydantic's complaints: the key, what was found, what is allowed."""
    kind, of_key = fault["type"], fault["loc"][-1:] == ("[key]",)
    place = fault["loc"][:-1] if of_key else fault["loc"]
    keys, models = _place(place, model, tree, absent=of_key or kind in ("missing", "invalid_key"))
    key = ".".join(map(shown, keys)) or "the file"
    if from_defaults(keys, written):
        key += " (of family.defaults)"
    if kind == "invalid_key" or (of_key and kind == "string_type"):
        return f"{'.'.join(map(shown, keys[:-1])) or 'the file'} has the key {found_as(fault['input'])}: keys are words"
    if kind == "extra_forbidden" and key in MOVED and model is Params:
        return f"{key} is now in {MOVED[key]}: move it there"
    if kind == "extra_forbidden" and ".".join(keys) in RENAMED:
        return f"{key} is not a known key: it is {RENAMED['.'.join(keys)]} now"
    unknown_name = of_key and kind == "literal_error"  # in a mapping whose keys are names that we give
    if kind == "extra_forbidden" or unknown_name:
        known = (
            QUOTED.findall(fault["msg"])
            if unknown_name
            else [name for each in models for name in each.model_fields]
        )
        return f"{key} is not a known key: {_nearest(keys[-1], known) or 'remove it'}"
    if kind == "missing":
        return f"{key} is missing: add it"
    message = fault["msg"].removeprefix("Value error, ")
    if kind == "value_error":
        return f"{key}: {message}" if keys else message
    if kind.startswith("union_tag"):
        context = fault.get("ctx", {})
        which = f"{key}.{context['discriminator'].strip(QUOTE)}"
        if kind == "union_tag_not_found":
            return f"{which} is missing: add it"
        known, found = context["expected_tags"], context["tag"]
        near = _nearest(found, QUOTED.findall(known))
        return f"{which} is {shown(found)}: {near or f'it must be one of {known}'}"
    message = PLAIN.get(kind, f"{message[0].lower()}{message[1:]}")
    return f"{key} is {found_as(fault['input'])}: {message}"


def _place(
    loc: tuple[str | int, ...], model: type[Section], tree: Any, *, absent: bool
) -> tuple[list[str], list[type[Section]]]:
    """The keys of the file that lead to a place, and the models that the last of them may be a field of.

    Between the keys pydantic puts the tags of unions, which tell the models apart. The last key is `absent` where the
    fault is that it's not in the tree, or not as pydantic writes it.
    """
    keys, models, node = [], [model], tree
    for part in loc:
        there, inner = _within(node, part)
        if there or (absent and part is loc[-1]):
            keys.append(str(part))
            node = inner
            fields = [model.model_fields[part] for model in models if part in model.model_fields]
            models = [found for field in fields for found in _models_in(field.annotation)] or models
        else:
            models = [model for model in models if part in _tags(model)] or models
    return keys, models


def _within(node: Any, part: str | int) -> tuple[bool, Any]:
    """Whether a mapping or a list holds such a part, and that part."""
    if isinstance(node, dict) and part in node:
        return True, node[part]
    if isinstance(node, list) and isinstance(part, int):
        return True, node[part]
    return False, None


def _nearest(found: Any, known: list[str]) -> str | None:
    near = difflib.get_close_matches(str(found), known, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else None


def _tags(model: type[Section]) -> list[Any]:
    return [tag for field in model.model_fields.values() for tag in get_args(field.annotation)]


def _models_in(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [model for inner in getattr(annotation, "__args__", ()) for model in _models_in(inner)]
