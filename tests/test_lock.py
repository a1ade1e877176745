"""requirements.lock lacks nothing on any Python that we support: pip does not look at what its packages need."""

from __future__ import annotations

import re
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
# torch comes first, with what it needs; the others are of the environment
BESIDE_IT = {"torch", "pip", "setuptools"}


@pytest.mark.parametrize("python", ["3.11.7", "3.12.0"])
def test_what_the_packages_need_is_locked(python: str) -> None:
    version = {"python_full_version": python, "python_version": python.rpartition(".")[0], "extra": ""}
    locked = re.findall(r"^([\w.-]+)==", (ROOT / "requirements.lock").read_text(), re.M)
    missing = {
        f"{name}: {needed}"
        for name in locked
        for needed in map(Requirement, requires(name) or [])
        if not needed.marker or needed.marker.evaluate(version)
        if canonicalize_name(needed.name) not in BESIDE_IT.union(locked)
    }
    assert not missing
