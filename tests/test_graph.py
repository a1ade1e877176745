"""dvc.yaml against the code: what each stage depends on, who may import whom, and what an edit makes stale."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from flows import graph
from jokbo.params import Params
from tasks import paths
from tests import closure

ROOT = Path(__file__).parent.parent
STAGES = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
FLOORS = ("flows", "tasks", "jokbo")  # each may import itself and those after it


@pytest.fixture(scope="module")
def imports():
    return closure.graph()


def test_deps_are_exactly_what_each_stage_imports() -> None:
    text = (ROOT / "dvc.yaml").read_text()
    assert text == closure.rewritten(text), "run `python -m tests.closure`"


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_a_task_a_section_and_a_command_of_one_name(stage: str, imports) -> None:
    assert STAGES[stage]["cmd"] == f"python -m tasks.{stage}"
    assert f"tasks.{stage}" in imports.modules
    assert STAGES[stage].get("params", []) == ([stage] if stage in Params.model_fields else [])


def test_every_path_in_the_graph_is_a_constant_of_the_tasks() -> None:
    known = {str(value) for value in vars(paths).values() if isinstance(value, Path)}
    for name, stage in STAGES.items():
        own = {f"metrics/{name}.json", f"plots/{name}.csv"}
        outs = [
            *stage["outs"],
            *stage.get("metrics", []),
            *(next(iter(plot)) for plot in stage.get("plots", [])),
        ]
        assert set(outs) <= known | own, name


def test_only_evaluation_reads_the_judges_texts() -> None:
    assert [name for name, stage in STAGES.items() if str(paths.JUDGE_TEXTS) in stage["deps"]] == ["evaluate"]


def test_imports_only_point_down(imports) -> None:
    for above, floor in enumerate(FLOORS):
        below = [f"{upper} -> {lower}" for upper, lower in _edges(imports, floor) if lower in FLOORS[:above]]
        assert not below, below


def test_a_stage_imports_no_other_stage(imports) -> None:
    for stage in STAGES:
        others = {f"tasks.{other}" for other in STAGES} & imports.find_upstream_modules(f"tasks.{stage}")
        assert not others - {f"tasks.{stage}"}, stage


def test_the_closure_sees_imports_in_functions_and_not_those_for_type_checkers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in closure.PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "jokbo/__init__.py").write_text("import os\n")
    (tmp_path / "tasks/one.py").write_text(
        "from typing import TYPE_CHECKING\nfrom jokbo import params\nif TYPE_CHECKING:\n    import jokbo.typed\n"
        "def late():\n    from jokbo.late import name\n"
    )
    for name in ("params", "typed", "late", "deep", "unused"):
        (tmp_path / f"jokbo/{name}.py").write_text("import jokbo.deep\n" if name == "late" else "name = 1\n")
    (tmp_path / "jokbo/deep.html.j2").write_text("a template")
    script = "from tests import closure; print(*closure.closure('tasks.one', closure.graph()))"
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    output = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    expected = ["jokbo/__init__.py", "jokbo/deep.html.j2", "jokbo/deep.py", "jokbo/late.py", "tasks/one.py"]
    assert output.split() == expected


@pytest.mark.parametrize(
    ("edited", "stale"),
    [
        ("fetch", set(STAGES)),
        ("distill", {"distill", "evaluate", "report"}),
        ("ppo", {"ppo", "evaluate", "report"}),
        ("reward", {"reward", "ppo", "evaluate", "report"}),
        ("finetune", {"finetune", "distill", "preferences", "reward", "ppo", "evaluate", "report"}),
        ("evaluate", {"evaluate", "report"}),
    ],
)
@pytest.mark.parametrize("what", ["code", "params"])
def test_an_edit_makes_its_stage_and_what_follows_stale_and_nothing_else(
    finished: Path, edited: str, what: str, stale: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished)
    file = finished / ("params.yaml" if what == "params" else f"tasks/{edited}.py")
    before = file.read_text()
    assert graph.read()[1] == set()
    try:
        after = (
            before.replace(f"\n{edited}: 1\n", f"\n{edited}: 2\n")
            if what == "params"
            else before + "# edited\n"
        )
        assert after != before
        file.write_text(after)
        _, found = graph.read()
        assert found == stale
    finally:
        file.write_text(before)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The graph of dvc.yaml with commands that take no time, run to its end in a folder of its own.

    Every file of ours is there with a text of its own, the outputs are the names of what made them.
    """
    folder = tmp_path_factory.mktemp("finished")
    (folder / "params.yaml").write_text("\n" + "".join(f"{stage}: 1\n" for stage in STAGES) + "compute: 1\n")
    stages = {}
    for name, stage in STAGES.items():
        plots = [next(iter(plot)) for plot in stage.get("plots", [])]
        outs = [*stage["outs"], *stage.get("metrics", []), *plots]
        command = " && ".join(f"mkdir -p {Path(out).parent} && cat tasks/{name}.py > {out}" for out in outs)
        stages[name] = {**stage, "cmd": command}
        for path in stage["deps"]:
            if closure.is_code(path) or path in ("data/local", "profiles"):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_text(f"# {path}\n")
    YAML().dump({"stages": stages}, folder / "dvc.yaml")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=folder, check=True)
    (folder / ".dvc/config").write_text((ROOT / ".dvc/config").read_text())
    with Repo(str(folder)) as repo:
        here = os.getcwd()
        os.chdir(folder)
        repo.reproduce()
        os.chdir(here)
    return folder


def _edges(imports, floor: str) -> list[tuple[str, str]]:
    """Who on a floor imports from which floor."""
    modules = [module for module in imports.modules if module.split(".")[0] == floor]
    return [
        (module, imported.split(".")[0])
        for module in modules
        for imported in imports.find_modules_directly_imported_by(module)
    ]
