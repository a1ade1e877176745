"""An installed wheel has every file of the library, and no other name that could clash with another package's."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from setuptools import Distribution, find_packages

ROOT = Path(__file__).parent.parent


def files(folder: Path) -> set[str]:
    found = (path for path in (folder / "jokbo").rglob("*") if path.is_file())
    return {str(path.relative_to(folder)) for path in found if "__pycache__" not in path.parts}


def test_a_build_holds_all_files_of_the_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Built by setuptools from what pyproject.toml says of packages and their data."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    data = {"" if package == "*" else package: kept for package, kept in settings["package-data"].items()}
    monkeypatch.chdir(ROOT)
    packages = find_packages(**settings["packages"]["find"])
    made = Distribution({"packages": packages, "package_data": data, "script_name": "setup.py"})
    build = made.get_command_obj("build_py")
    build.build_lib = str(tmp_path)
    build.ensure_finalized()
    build.run()
    assert [path.name for path in tmp_path.iterdir()] == ["jokbo"]
    assert files(tmp_path) == files(ROOT)
