"""What is wrong in a file of parameters, in one line: the key as the file has it, what was found, what is allowed."""

from __future__ import annotations

import difflib
import re
from typing import Any, get_args

from pydantic_core import ErrorDetails

from jokbo.params.base import Section
from jokbo.params.family import FamilyParams, from_defaults
from jokbo.params.reading import found_as, preview
from jokbo.params.renamed import MOVED, new_name

QUOTED = re.compile(r"'([^']*)'")
QUOTE = "'"
PLAIN = {  # our words for kinds of faults for which pydantic's words name Python's types
    "model_type": "it must hold keys, each on its own line below it",
    "dict_type": "it must hold keys, each on its own line below it",
    "bool_type": "it must be true or false",
    "none_required": "a system of this kind has none: remove it",
}


def explain(fault: ErrorDetails, model: type[Section], tree: Any, written: Any) -> str:
    """Return one line for an error of pydantic: the key, what was found, what is allowed."""
    kind, of_key = fault["type"], fault["loc"][-1:] == ("[key]",)
    location = fault["loc"][:-1] if of_key else fault["loc"]
    keys, models = _keys_and_models(
        location, model, tree, absent=of_key or kind in ("missing", "invalid_key")
    )
    key = ".".join(map(preview, keys)) or "the file"
    if from_defaults(keys, written):
        key += " (of family.defaults)"
    if kind == "invalid_key" or (of_key and kind == "string_type"):
        section = ".".join(map(preview, keys[:-1])) or "the file"
        return f"{section} has the key {found_as(fault['input'])}: a key must be a word"
    if kind == "extra_forbidden" and key in MOVED and model is not FamilyParams:
        return f"{key} is now in {MOVED[key]}: move it there"
    if kind == "extra_forbidden" and (renamed := new_name(keys)):
        return f"{key} is not a known key: it is {renamed} now"
    unknown_name = of_key and kind == "literal_error"  # in a mapping whose keys are names from a list of ours
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
        return f"{which} is {preview(found)}: {near or f'it must be one of {known}'}"
    message = PLAIN.get(kind, f"{message[0].lower()}{message[1:]}")
    return f"{key} is {found_as(fault['input'])}: {message}"


def _keys_and_models(
    location: tuple[str | int, ...], model: type[Section], tree: Any, *, absent: bool
) -> tuple[list[str], list[type[Section]]]:
    """Return the keys of the file that lead to a location, and the models that the last key may be a field of.

    Between the keys pydantic puts the tags of unions, which tell the models apart. absent: whether the last key is not
    in the tree, or not as pydantic writes it.
    """
    keys, models, node = [], [model], tree
    for part in location:
        there, inner = _within(node, part)
        if there or (absent and part is location[-1]):
            keys.append(str(part))
            node = inner
            fields = [model.model_fields[part] for model in models if part in model.model_fields]
            models = [found for field in fields for found in _models_in(field.annotation)] or models
        else:
            models = [model for model in models if part in _tags(model)] or models
    return keys, models


def _within(node: Any, part: str | int) -> tuple[bool, Any]:
    """Return whether a mapping or a list holds such a part, and that part."""
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
