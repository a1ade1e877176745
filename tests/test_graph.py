"""dvc.yaml against the code: what each stage depends on, who may import whom, and what an edit makes stale."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from flows import graph
from jokbo.params import Family, Params, load
from jokbo.runtime import ancestry
from tasks.frame import paths
from tests.support import closure

ROOT = Path(__file__).parent.parent
STAGES = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
FAMILY = [name for name in STAGES if name.startswith("family")]
PIPELINE = [name for name in STAGES if name not in FAMILY]
SYSTEMS = STAGES["family"]["foreach"]  # each with the paths that it alone depends on
FLOORS = ("flows", "tasks", "jokbo")  # each may import itself and those after it


@pytest.fixture(scope="module")
def imports():
    return closure.graph()


def test_deps_are_exactly_what_each_stage_imports() -> None:
    text = (ROOT / "dvc.yaml").read_text()
    params = (ROOT / "params.yaml").read_text()
    assert text == closure.rewritten(text, params), "run `python -m tests.support.closure`"


@pytest.mark.parametrize("stage", [name for name in STAGES if name != "family"])
def test_a_stage_is_a_task_a_section_and_a_command_of_one_name(stage: str, imports) -> None:
    assert STAGES[stage]["cmd"] == f"sh tasks/python -m tasks.{stage}"
    assert f"tasks.{stage}" in imports.modules
    own = {"family_table": ["family.systems"]}.get(stage, [stage] if stage in Params.model_fields else [])
    assert STAGES[stage].get("params", []) == own


def test_a_system_depends_on_what_all_share_and_on_its_own_section(imports) -> None:
    every = STAGES["family"]["do"]
    assert every["cmd"] == "sh tasks/python -m tasks.family ${key}"
    assert "tasks.family" in imports.modules
    assert set(every["params"]) == {
        f"family.{key}" if key != "systems" else "family.systems.${key}" for key in Family.model_fields
    }
    assert set(SYSTEMS) == set(load(ROOT / "params.yaml").family.systems)


def test_the_paths_of_a_system_are_its_paper_that_which_it_imports_and_its_teacher() -> None:
    own = {name: list(dict.fromkeys(paths)) for name, paths in SYSTEMS.items()}
    assert own["bert"] == ["jokbo/systems/bert.py"]
    assert own["pythia"] == ["jokbo/systems/gpt2.py", "jokbo/systems/gpt1.py"]
    assert own["distilbert"] == [
        "jokbo/systems/distilbert.py",
        "jokbo/systems/roberta.py",
        "models/family/bert_deep",
    ]
    shared = {path for path in STAGES["family"]["do"]["deps"] if path.startswith("jokbo/systems/")}
    assert shared == {f"jokbo/systems/{name}.py" for name in ("common", "masking", "noise")}


def test_every_path_in_the_graph_is_a_constant_of_the_tasks() -> None:
    known = {str(value) for value in vars(paths).values() if isinstance(value, Path)}
    known |= {str(paths.FAMILY_TABLE.with_suffix(".html")), f"{paths.FAMILY_MODELS}/${{key}}"}
    known |= {f"{path}{ancestry.SUFFIX}" for path in known if path.startswith("models/")}
    for name, stage in STAGES.items():
        each = f"{name}/${{key}}" if "foreach" in stage else name
        assert set(_outs(stage)) <= known | {f"metrics/{each}.json", f"plots/{each}.csv"}, name


def test_only_evaluation_reads_the_judges_texts() -> None:
    reading = [name for name, stage in STAGES.items() if str(paths.JUDGE_TEXTS) in _body(stage)["deps"]]
    assert reading == ["evaluate"]


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
    script = "from tests.support import closure; print(*closure.closure('tasks.one', closure.graph()))"
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


TRAINED = {"pretrain", "finetune", "distill", "reward", "ppo"}


@pytest.mark.parametrize(
    ("file", "ran"),
    [
        ("jokbo/runtime/tracking.py", set()),
        ("jokbo/runtime/progress.py", set()),
        ("jokbo/params/chain.py", set()),
        ("jokbo/training/loop.py", TRAINED),
        ("tasks/frame/records.py", set(PIPELINE)),
        ("jokbo/evaluation/calibration.py", {"reward"}),
    ],
)
def test_a_comment_reruns_what_imports_its_file_and_nothing_after_outputs_that_stay(
    finished: Path, file: str, ran: set[str]
) -> None:
    path = finished / file
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_text() if path.exists() else ""
    path.write_text(f"{before}# a comment\n")
    with Repo() as repo:
        again = {stage.addressing for stage in repo.reproduce(targets=["report"])}
        path.write_text(before)
        repo.reproduce()
    assert again == ran


# systems of the project that is run
FEW = ("bahdanau", "bert_deep", "deberta", "distilbert", "elmo", "roberta")
OF_FAMILY = {"family_text", "family_baselines", "family_table", *(f"family@{name}" for name in FEW)}
TEACHER = {"family@bert_deep", "family@distilbert", "family_table"}


@pytest.mark.parametrize(
    ("edited", "stale"),
    [
        ("fetch", set(PIPELINE)),
        ("prompts", set(PIPELINE) - {"fetch", "prepare", "tokenize", "pretrain"}),
        ("distill", {"distill", "evaluate", "report"}),
        ("ppo", {"ppo", "evaluate", "report"}),
        ("reward", {"reward", "ppo", "evaluate", "report"}),
        ("finetune", {"finetune", "distill", "preferences", "reward", "ppo", "evaluate", "report"}),
        ("evaluate", {"evaluate", "report"}),
        ("family_text", set()),
    ],
)
@pytest.mark.parametrize("what", ["code", "params"])
def test_an_edit_makes_its_stage_and_what_follows_stale_and_nothing_else(
    finished: Path, edited: str, what: str, stale: set[str]
) -> None:
    change = (
        (f"tasks/{edited}.py", "#", "##")
        if what == "code"
        else ("params.yaml", f"\n{edited}: 1", f"\n{edited}: 2")
    )
    assert _stale_after(finished, *change) == stale


@pytest.mark.parametrize(
    ("file", "old", "new", "stale"),
    [
        ("params.yaml", "\nfamily_text: 1", "\nfamily_text: 2", OF_FAMILY),
        ("tasks/prepare.py", "#", "##", OF_FAMILY | {"prepare"}),
        ("tasks/family.py", "#", "##", OF_FAMILY - {"family_text", "family_baselines"}),
        ("jokbo/systems/noise.py", "#", "##", OF_FAMILY - {"family_text", "family_baselines"}),
        ("params.yaml", "  seed: 1", "  seed: 2", OF_FAMILY - {"family_text", "family_baselines"}),
        ("params.yaml", "    elmo: 1", "    elmo: 2", {"family@elmo", "family_table"}),
        ("params.yaml", "    bert_deep: 1", "    bert_deep: 2", TEACHER),
        ("jokbo/systems/elmo.py", "#", "##", {"family@elmo", "family_table"}),
        (
            "jokbo/systems/roberta.py",
            "#",
            "##",
            {"family@roberta", "family@deberta", "family@distilbert", "family_table"},
        ),
        ("tasks/family_baselines.py", "#", "##", {"family_baselines", "family_table"}),
        ("tasks/ppo.py", "#", "##", set()),
    ],
)
def test_one_changed_system_runs_alone(
    finished: Path, file: str, old: str, new: str, stale: set[str]
) -> None:
    assert _stale_after(finished, file, old, new, until="family_table") == stale


def _stale_after(folder: Path, file: str, old: str, new: str, until: str | None = None) -> set[str]:
    """What has to run after an edit, which is undone again."""
    path = folder / file
    before = path.read_text()
    assert graph.read(until)[1] == set()
    assert old in before
    try:
        path.write_text(before.replace(old, new, 1))
        return graph.read(until)[1]
    finally:
        path.write_text(before)


def test_the_pipeline_leaves_the_family_out(finished: Path) -> None:
    assert set(graph.read()[0]) == set(PIPELINE)
    assert set(graph.read("family_table")[0]) == OF_FAMILY | {"fetch", "prepare"}


@pytest.fixture(scope="module")
def _finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The graph of dvc.yaml with commands that take no time, run to its end in a folder of its own.

    Every file of ours is there with a text of its own, the outputs are the names of what made them.
    """
    folder = tmp_path_factory.mktemp("finished")
    sections = [f"{stage}: 1\n" for stage in STAGES if stage != "family"]
    own = [f"  {key}: 1\n" for key in Family.model_fields if key != "systems"]
    systems = [f"    {name}: 1\n" for name in FEW]
    (folder / "params.yaml").write_text(
        "".join(["\n", *sections, "compute: 1\n", "family:\n", *own, "  systems:\n", *systems])
    )
    stages, few = {}, {name: SYSTEMS[name] for name in FEW}
    for name, stage in STAGES.items():
        made = [f"mkdir -p {Path(out).parent} && cat tasks/{name}.py > {out}" for out in _outs(stage)]
        body = {**_body(stage), "cmd": " && ".join(made)}
        stages[name] = {"foreach": few, "do": body} if name == "family" else body
        for path in (*body["deps"], *(own for item in few.values() for own in item)):
            if closure.is_code(path) or path in ("data/local", "profiles", "family"):
                inside = sorted((ROOT / path).rglob("*.py")) if closure.is_code(path) else []
                for file in [each.relative_to(ROOT).as_posix() for each in inside] or [path]:
                    (folder / file).parent.mkdir(parents=True, exist_ok=True)
                    (folder / file).write_text(f"# {file}\n")
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


@pytest.fixture
def finished(_finished: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That folder, which is also the current one."""
    monkeypatch.chdir(_finished)
    return _finished


def _body(stage: dict[str, Any]) -> dict[str, Any]:
    return stage.get("do", stage)


def _outs(stage: dict[str, Any]) -> list[str]:
    body = _body(stage)
    plots = [next(iter(plot)) for plot in body.get("plots", [])]
    return [*body.get("outs", []), *body.get("metrics", []), *plots]


def _edges(imports, floor: str) -> list[tuple[str, str]]:
    """Who on a floor imports from which floor."""
    modules = [module for module in imports.modules if module.split(".")[0] == floor]
    return [
        (module, imported.split(".")[0])
        for module in modules
        for imported in imports.find_modules_directly_imported_by(module)
    ]
