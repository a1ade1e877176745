"""What README and the other pages tell to type exists, and what README says of the repository is so."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from jokbo import params
from jokbo.cli import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = README + "".join(
    path.read_text() for path in (ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md"))
)
CODE = "\n".join(re.findall(r"```(?:sh|yaml)?\n(.*?)```", PAGES, re.S) + re.findall(r"`([^`\n]+)`", PAGES))


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z-]+)", CODE))))
def test_make_targets_exist(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M)


@pytest.mark.parametrize("module", sorted(set(re.findall(r"python -m ([\w.]+)", CODE))))
def test_modules_exist(module: str) -> None:
    assert importlib.util.find_spec(module)


@pytest.mark.parametrize("command", sorted(set(re.findall(r"\bjokbo (tree|chat|report|run)\b", CODE))))
def test_commands_exist(command: str) -> None:
    assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


def test_the_parameter_to_change_is_there_as_written() -> None:
    ((before, after),) = re.findall(r"sed -i 's/(.*?)/(.*?)/' params.yaml", README)
    text = (ROOT / "params.yaml").read_text()
    assert text.count(before) == 1
    assert after not in text


def test_the_sources_to_add_are_valid(tmp_path: Path) -> None:
    (example,) = [block for block in re.findall(r"```yaml\n(.*?)```", README, re.S) if "fetch" in block]
    tree = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
    more = YAML(typ="safe").load(example.replace("<40 hex digits>", "a" * 40))
    tree["fetch"]["sources"] |= more["fetch"]["sources"]
    path = tmp_path / "params.yaml"
    with open(path, "w") as file:
        YAML().dump(tree, file)
    params.load(path)


@pytest.mark.parametrize("name", re.findall(r"^  ?(\w+[./]\w*)  ", README, re.M))
def test_the_layout_is_there(name: str) -> None:
    assert (ROOT / "jokbo" / name).exists() or (ROOT / name).exists()
