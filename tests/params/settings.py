"""Parameters of the miniature and of the comparison with a few changes, and what `prepare` counts by them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from jokbo import params
from jokbo.data.counts import Counts
from jokbo.data.prepare import preparation
from jokbo.params import FamilyParams, Params
from tasks.frame.paths import COUNTS
from tests.conftest import ROOT
from tests.support import miniature

STAGES = list(YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"])


def counted(raw: Path, work: Path, chain: Params) -> Counts:
    """Return what `prepare` counts, saved and loaded again."""
    _, found = preparation.prepare({"reviews": raw / "reviews"}, chain.prepare, work)
    found.save(work / COUNTS)
    return Counts.load(work / COUNTS)


def settings(**changes: Any) -> Params:
    """Return the miniature's parameters, with values at keys such as prompts__sources."""
    return Params.model_validate(changed(miniature.params(), changes))


def of_family(**changes: Any) -> FamilyParams:
    """Return the comparison's parameters, with values at keys such as family_text__mix."""
    tree = params.family.with_defaults(params.read(ROOT / "family/params.yaml"))
    return FamilyParams.model_validate({**changed(tree, changes), "compute": settings().compute})


def changed(tree: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    made = copy.deepcopy(tree)
    for keys, value in changes.items():
        *path, last = keys.split("__")
        node = made
        for key in path:
            node = node[key]
        node[last] = value
    return made


def given(changes: dict[str, Any]) -> Params | FamilyParams:
    """Return the parameters in which these keys are."""
    return (of_family if next(iter(changes)).startswith("family") else settings)(**changes)
