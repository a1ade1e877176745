"""The parameters in files, read and checked: any fault is one line that names the file and the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from jokbo.params.alignment import Ppo
from jokbo.params.base import Section
from jokbo.params.baselines import AlignmentParams
from jokbo.params.constitution import Constitution
from jokbo.params.family import FamilyParams, with_defaults
from jokbo.params.faults import explain
from jokbo.params.reading import preview, read
from jokbo.params.scaling import ScalingParams
from jokbo.params.whole import Params
from jokbo.runtime.errors import InputError

LINE = 600  # most characters of a message
Whole = TypeVar("Whole", bound=Section)
AnyParams = Params | FamilyParams | AlignmentParams  # of a DVC project: the chain's or an optional graph's


def load(path: Path | str = "params.yaml") -> Params:
    """Return the checked parameters. Raises InputError, one line with file and key, if anything is wrong."""
    return checked(read(Path(path)), str(path))


def load_family(
    path: Path | str = "params.yaml", chain: Path | str = "../params.yaml", profile: Path | None = None
) -> FamilyParams:
    """Return the checked parameters of the comparison; how it is computed is read from the chain's file.

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


def load_alignment(path: Path | str = "params.yaml", chain: Path | str = "../params.yaml") -> AlignmentParams:
    """Return the checked parameters of PPO's baselines; what they share with PPO is read from the chain's file.

    Raises InputError as `load` does, for both files, and where the chain aligns by something else.
    """
    above, tree, name = load(chain), read(Path(path)), str(path)
    if not isinstance(above.align, Ppo):
        raise InputError(
            f"{chain}: align.kind is {above.align.kind}, but the baselines in {name} are compared with PPO: set it to "
            "ppo"
        )
    own = tree.get("alignment")
    shared = {"ppo": above.align, "evaluate": above.evaluate}
    written = {"compute": tree, **dict.fromkeys(shared, own if isinstance(own, dict) else {})}
    for key, section in written.items():
        if key in section:
            raise InputError(f"{name}: {key} is in {chain} alone: remove it here")
    whole = {**own, **shared} if isinstance(own, dict) else own
    return _checked(AlignmentParams, {**tree, "alignment": whole, "compute": above.compute}, name, tree)


def load_scaling(path: Path | str = ScalingParams.FILE, chain: Path | str = "params.yaml") -> ScalingParams:
    """Return the checked parameters of the sweep of scaling laws; how it is computed is read from the chain's file.

    Raises InputError as `load` does, for both files.
    """
    compute, tree = load(chain).compute, read(Path(path))
    if "compute" in tree:
        raise InputError(f"{path}: compute is in {chain} alone: remove it here")
    return _checked(ScalingParams, {**tree, "compute": compute}, str(path), tree)


def load_constitution(path: Path) -> Constitution:
    """Return the principles in a file. Raises InputError, one line with file and key, if anything is wrong."""
    if not path.is_file():
        raise InputError(f"{path}: no such file: put the principles there")
    tree = read(path, "it must hold principles, as jokbo/feedback/constitution.yaml does")
    return _checked(Constitution, tree, str(path), tree)


def checked(tree: dict[str, Any], name: str) -> Params:
    """Return the parameters in a tree that was read. Raises InputError, one line with `name` and the key."""
    return _checked(Params, tree, name, tree)


def _checked(model: type[Whole], tree: dict[str, Any], name: str, written: dict[str, Any]) -> Whole:
    """Return what `tree` holds, as the model. Errors name the keys of the file as it was `written`."""
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        # a misspelt key is both unknown and missing: the unknown one is what the user typed
        fault = min(
            error.errors(include_url=False),
            key=lambda fault: fault["type"] not in ("extra_forbidden", "invalid_key"),
        )
        raise InputError(f"{name}: {preview(explain(fault, model, tree, written), LINE)}") from error
