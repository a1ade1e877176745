"""What README and the other pages name is there: commands, files, functions, links, parameters, the layout."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.main import get_command

from flows import profile
from jokbo import params
from jokbo.cli import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text()
    for path in (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")))
    if path.name != "CHANGELOG.md"  # which tells of what is gone, too
}
BLOCK = re.compile(r"^ *```.*?^ *```$", re.S | re.M)
QUOTED = re.compile(r"`([^`\n]+)`")
CODE = "\n".join(
    text
    for page in PAGES.values()
    for text in re.findall(r"```(?:sh|yaml)?\n(.*?)```", page, re.S) + QUOTED.findall(BLOCK.sub("", page))
)
PROJECTS = ("", "family/", "alignment/")  # folders with a dvc.yaml and a params.yaml

# `tasks/ppo.py`, `docs/`, `models/NAME.ancestry.json`, `jokbo/alignment/ppo.py::iterate`; NAME stands for any name
PATH = re.compile(r"([\w.-]+(?:/[\w.@*-]+)*/?)(?:::(\w+))?")
SUFFIXES = (".py", ".yaml", ".md", ".json", ".jsonl", ".csv", ".html", ".svg", ".lock", ".toml")
PLACEHOLDER = re.compile(r"(?<![A-Za-z])(?:NAME|STAGE|KEY|SPLIT|SOURCE|MODEL|TRAINING|X)(?![A-Za-z])")
YOURS = ("data/local/", ".jokbo/", "exports/")  # where a user's files are, and what runs and commands leave


@cache
def _files() -> dict[str, list[Path]]:
    """Every file of ours by its name."""
    found: dict[str, list[Path]] = {}
    for top in ("jokbo", "tasks", "flows", "tests", "benchmarks", "docs", "profiles", "family", "alignment"):
        for path in (ROOT / top).rglob("*"):
            found.setdefault(path.name, []).append(path)
    return found


@cache
def _graphs() -> list[dict[str, Any]]:
    files = [ROOT / folder / "dvc.yaml" for folder in PROJECTS]
    return [YAML(typ="safe").load(file)["stages"] for file in files if file.exists()]


@cache
def _parameters() -> list[dict[str, Any]]:
    files = [ROOT / folder / "params.yaml" for folder in PROJECTS]
    return [YAML(typ="safe").load(file) for file in files if file.exists()]


@cache
def _outputs() -> set[str]:
    """What stages write, from the root; `*` where a name of a system is."""
    found = set()
    for folder, stages in zip(PROJECTS, _graphs(), strict=False):
        for stage in stages.values():
            body = stage.get("do", stage)
            plots = [next(iter(plot)) for plot in body.get("plots", [])]
            for out in (*body.get("outs", []), *body.get("metrics", []), *plots):
                found.add(folder + out.replace("${key}", "*"))
    return found


def _is_output(pattern: str) -> bool:
    """Whether a path is an output of a stage, or lies above or in one; `*` stands for any name."""
    return any(
        Path(out).match(pattern)
        or out.startswith(f"{pattern}/")
        or pattern.startswith(f"{out}/")
        or out == pattern
        for out in _outputs()
    )


def _headings(path: Path) -> set[str]:
    """The anchors of a page, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", BLOCK.sub("", path.read_text()), re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_pages_are_found() -> None:
    assert {"README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/metrics.md"} <= PAGES.keys()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z-]+)", CODE))))
def test_make_targets_exist(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M)


@pytest.mark.parametrize("module", sorted(set(re.findall(r"python -m ([a-z][a-z_.]*[a-z])(?![\w.])", CODE))))
def test_modules_exist(module: str) -> None:
    assert importlib.util.find_spec(module)


@pytest.mark.parametrize("command", sorted(set(re.findall(r"\bjokbo ([a-z]+(?: at-step)?)\b", CODE))))
def test_commands_exist(command: str) -> None:
    found: Any = get_command(app)
    for name in command.split():
        found = found.commands[name]


@pytest.mark.parametrize("stage", sorted(set(re.findall(r"\bdvc (?:repro|status) ([a-z][\w@]*)", CODE))))
def test_stages_exist(stage: str) -> None:
    name, _, system = stage.partition("@")
    found = [stages[name] for stages in _graphs() if name in stages]
    assert found
    assert not system or system in found[0]["foreach"]


def paths() -> Iterator[tuple[str, str, str | None]]:
    """Page, path and, after `::`, name of each path in backticks."""
    top = {path.name for path in ROOT.iterdir()} | {out.split("/")[0] for out in _outputs()}
    for page, text in PAGES.items():
        for quoted in QUOTED.findall(BLOCK.sub("", text)):
            if not (found := PATH.fullmatch(quoted)):
                continue
            path, name = found.groups()
            first = path.split("/")[0]
            a_file = path.endswith(SUFFIXES) and not path.startswith(".")
            # what begins with no folder of ours and has a placeholder is a metric: left_out/NAME
            a_folder = "/" in path and (
                first in top or not (PLACEHOLDER.search(path) or page.endswith("metrics.md"))
            )
            if (a_file or a_folder) and not path.startswith(YOURS):
                yield page, path, name


def test_there_are_paths_to_check() -> None:
    assert len(list(paths())) > 100


@pytest.mark.parametrize(("page", "path", "name"), sorted(set(paths()), key=str))
def test_paths_in_backticks_exist(page: str, path: str, name: str | None) -> None:
    pattern = PLACEHOLDER.sub("*", path.rstrip("/"))
    found = list(ROOT.glob(pattern)) or (list(_files().get(path, [])) if "/" not in path else [])
    assert found or _is_output(pattern), f"{page}: {path}: neither here nor an output of a stage"
    if name:
        assert re.search(rf"^\s*(?:def|class) {name}\b|^{name}\b.* = ", found[0].read_text(), re.M), (
            f"{page}: {name}"
        )


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_resolve(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", BLOCK.sub("", PAGES[page])):
        if re.match(r"\w+:", target):
            continue
        file, _, heading = target.partition("#")
        path = ((ROOT / page).parent / file).resolve() if file else ROOT / page
        assert path.exists(), f"{page}: {target}"
        if heading:
            assert heading in _headings(path), f"{page}: {target}"


def keys() -> Iterator[str]:
    """Every `section.key` of params.yaml in backticks; metrics.md has metrics of such names."""
    sections = {section for tree in _parameters() for section in tree}
    for page, text in PAGES.items():
        for quoted in QUOTED.findall(BLOCK.sub("", text)) if page != "docs/metrics.md" else ():
            if "not a known key" in quoted:
                continue
            for key in re.findall(r"(?<![\w./-])([a-z_]+(?:\.[a-z_0-9]+)+)", quoted):
                if key.split(".")[0] in sections and not key.endswith(SUFFIXES):
                    yield key


@pytest.mark.parametrize("key", sorted(set(keys())))
def test_parameters_exist(key: str) -> None:
    section, *rest = key.split(".")
    (node,) = [tree[section] for tree in _parameters() if section in tree]
    for part in rest:
        assert part in node
        node = node[part]


def test_the_parameter_to_change_is_there_as_written() -> None:
    ((before, after),) = re.findall(r"sed -i 's/(.*?)/(.*?)/' params.yaml", README)
    text = (ROOT / "params.yaml").read_text()
    assert text.count(before) == 1
    assert after not in text


@pytest.mark.parametrize(
    "example", [block for page in PAGES.values() for block in re.findall(r"```yaml\n(.*?)```", page, re.S)]
)
def test_the_parameters_to_add_are_valid(example: str, tmp_path: Path) -> None:
    """In params.yaml, or in a profile; a source beside those that are there."""
    more = YAML(typ="safe").load(example)
    sources = more.pop("fetch", {}).get("sources", {})
    path = tmp_path / "profile.yaml"
    with open(path, "w") as file:
        YAML().dump(more, file)
    tree = profile.merged(ROOT / "params.yaml", path)
    tree["fetch"]["sources"] |= sources
    params.checked(tree, str(path))


def layout() -> Iterator[str]:
    """The paths of README's tree: a line is one or more names and, two spaces on, what is there; it is indented under
    its folder."""
    (tree,) = re.findall(r"^## Layout$.*?^```\n(.*?)^```$", README, re.S | re.M)
    above: list[str] = []
    for line in tree.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        names = re.split(r" {2,}", line.strip())[0].split()
        above = above[:depth]
        yield from ("/".join([*above, name]) for name in names)
        above.append(names[-1].rstrip("/"))


@pytest.mark.parametrize("path", list(layout()))
def test_the_layout_is_there(path: str) -> None:
    assert (ROOT / path).exists()


def test_the_layout_has_every_folder() -> None:
    folders = {path.parent for path in (ROOT / "jokbo").glob("*/__init__.py")}
    assert {path.relative_to(ROOT).as_posix() for path in folders} <= {path.rstrip("/") for path in layout()}
