"""The files of deploy/ can be read, and name what is there. Schemas of those who read them are no part of this."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
FILES = {path.name: path for path in sorted((ROOT / "deploy").iterdir())}
SHELLS = {".sh": "sh", ".sbatch": "bash"}


def is_there(name: str) -> bool:
    return (ROOT / name).exists() or (ROOT / f"{name.replace('.', '/')}.py").exists()


@pytest.mark.parametrize("name", FILES)
def test_what_a_file_names_is_there(name: str) -> None:
    text = FILES[name].read_text()
    named = {*re.findall(r"\b(?:deploy|docs)/[\w.-]*\w", text), *re.findall(r"-m (flows\.\w+)", text)}
    named |= {f"tasks.{stage}" for stage in re.findall(r"STAGE(?:=|: |, value: )([a-z]+)", text)}
    assert [each for each in named if not is_there(each)] == []


@pytest.mark.parametrize("name", [name for name, path in FILES.items() if path.suffix in SHELLS])
def test_scripts_are_whole(name: str) -> None:
    shell = SHELLS[FILES[name].suffix]
    assert subprocess.run([shell, "-n", FILES[name]], capture_output=True, text=True).stderr == ""


@pytest.mark.parametrize("name", [name for name, path in FILES.items() if path.suffix == ".yaml"])
def test_the_commands_in_yaml_are_whole(name: str) -> None:
    tree = YAML(typ="safe").load(FILES[name])
    scripts = [tree["run"], tree["setup"]] if "run" in tree else tree["spec"]["trainer"]["args"]
    for script in scripts:
        assert subprocess.run(["sh", "-n"], input=script, capture_output=True, text=True).stderr == ""


def test_the_pool_asks_for_no_value_that_it_has_none_of() -> None:
    template = json.loads((ROOT / "deploy/kubernetes-pool.json").read_text())
    asked = set(re.findall(r"{{ (\w+) }}", json.dumps(template["job_configuration"])))
    assert asked <= set(template["variables"]["properties"])
    assert template["variables"]["properties"]["command"]["default"] == "python -m prefect.engine"
