"""Each dvc.yaml against the code: what each stage depends on, who may import whom, and what an edit makes stale."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from benchmarks import picture
from flows import graph
from jokbo.params import Alignment, AlignmentParams, Family, FamilyParams, Params
from jokbo.runtime import ancestry
from tasks import report
from tasks.frame import paths, projects
from tests.support import closure

ROOT = Path(__file__).parent.parent
CHAIN, FAMILY, ALIGNMENT = (
    YAML(typ="safe").load(ROOT / folder / "dvc.yaml")["stages"] for folder in closure.FOLDERS
)
STAGES = {**CHAIN, **FAMILY, **ALIGNMENT}
MANY = ("family", "alignment")  # that stand for a stage a system, a stage a baseline
SYSTEMS = FAMILY["family"]["foreach"]  # each with the paths that it alone depends on
FLOORS = ("flows", "tasks", "jokbo")  # each may import itself and those after it


@pytest.fixture(scope="module")
def imports():
    return closure.graph()


@pytest.mark.parametrize("folder", closure.FOLDERS, ids=str)
def test_deps_are_exactly_what_each_stage_imports(folder: Path) -> None:
    text, params = ((ROOT / folder / name).read_text() for name in ("dvc.yaml", "params.yaml"))
    expected = closure.rewritten(text, params, closure.FOLDERS[folder])
    assert text == expected, "run `python -m tests.support.closure`"


def test_every_project_is_written_and_no_two_have_a_stage_of_one_name() -> None:
    """The name of a stage is that of its lock, its checkpoints and its timing, which all projects share."""
    assert {folder.name for folder in closure.FOLDERS} - {""} == {*projects.OPTIONAL}
    assert {path.parent.parent.name for path in ROOT.glob("*/.dvc/config")} == {*projects.OPTIONAL}
    assert len(STAGES) == len(CHAIN) + len(FAMILY) + len(ALIGNMENT)


@pytest.mark.parametrize("stage", [name for name in STAGES if name not in MANY])
def test_a_stage_is_a_task_a_section_and_a_command_of_one_name(stage: str, imports) -> None:
    base, schema = ("", Params) if stage in CHAIN else (closure.UP, FamilyParams)
    if stage in ALIGNMENT:
        schema = AlignmentParams
    assert STAGES[stage]["cmd"] == f"sh {base}tasks/python -m tasks.{stage}"
    assert f"tasks.{stage}" in imports.modules
    shared = {
        "fetch": ["fetch", "pretrain.start"],  # it brings the model that pretrain adopts
        "prompts": [
            "prompts",
            "prepare.near_duplicates",
            "prepare.decontaminate",
        ],  # of own prompts, as of documents
        "family_table": ["family.systems", "family.finetune"],
        "alignment_table": ["alignment.baselines", {"../params.yaml": ["evaluate"]}],
        "tasks": ["finetune.seed", "finetune.tasks"],
        "finetune": ["finetune.seed", "finetune.policy"],
    }
    own = shared.get(stage, [stage] if stage in schema.model_fields else [])
    assert STAGES[stage].get("params", []) == own


def test_a_system_depends_on_what_all_share_and_on_its_own_section(imports) -> None:
    every = STAGES["family"]["do"]
    assert every["cmd"] == "sh ../tasks/python -m tasks.family ${key}"
    assert "tasks.family" in imports.modules
    assert set(every["params"]) == {
        f"family.{key}" if key != "systems" else "family.systems.${key}" for key in Family.model_fields
    }
    assert set(SYSTEMS) == set(projects.load(ROOT / "family").family.systems)


def test_a_baseline_depends_on_what_all_share_and_on_the_file_of_its_kind() -> None:
    whole, every = ALIGNMENT["alignment"], ALIGNMENT["alignment"]["do"]
    assert every["cmd"] == "sh ../tasks/python -m tasks.alignment ${key}"
    own = projects.load(ROOT / "alignment")
    assert isinstance(own, AlignmentParams)
    assert whole["foreach"] == {name: {"kind": each.kind} for name, each in own.alignment.baselines.items()}
    read = [key for key in every["params"] if isinstance(key, str)]
    of_file = {name for name in Alignment.model_fields if name not in ("ppo", "evaluate")}  # of the chain's
    assert {key.split(".")[1] for key in read} == of_file
    files = [path for path in every["deps"] if "/baselines/" in path]
    shared = {f"../jokbo/alignment/baselines/{name}.py" for name in ("common", "actor_critic")}
    assert set(files) == {*shared, "../jokbo/alignment/baselines/${item.kind}.py"}
    for each in own.alignment.baselines.values():
        assert (ROOT / f"jokbo/alignment/baselines/{each.kind}.py").is_file()


def test_the_paths_of_a_system_are_its_paper_that_which_it_imports_and_its_teacher() -> None:
    own = {name: list(dict.fromkeys(paths)) for name, paths in SYSTEMS.items()}
    assert own["bert"] == ["../jokbo/systems/bert.py"]
    assert own["gpt2"] == ["../jokbo/systems/gpt2.py", "../jokbo/systems/gpt1.py"]
    assert own["distilbert"] == [
        "../jokbo/systems/distilbert.py",
        "../jokbo/systems/roberta.py",
        "models/bert_deep",
    ]
    assert own["mass"][-1] == "right/transformer.json"
    shared = {path for path in STAGES["family"]["do"]["deps"] if path.startswith("../jokbo/systems/")}
    assert shared == {f"../jokbo/systems/{name}.py" for name in ("common", "masking", "noise", "protocol")}


def test_the_picture_shows_every_stage_and_no_arrow_that_the_graph_has_not() -> None:
    assert set(picture.PLACES) == set(CHAIN)
    for start, end in (*picture.ROW_ARROWS, *picture.DOWN_ARROWS):
        assert set(_outs(CHAIN[start])) & set(CHAIN[end]["deps"]), (start, end)


def test_the_report_tells_of_every_other_stage_of_the_chain() -> None:
    assert [*report.inputs(paths.METRICS), "report"] == list(CHAIN)


@pytest.mark.parametrize("stage", STAGES)
def test_every_model_has_its_record_beside_it(stage: str) -> None:
    outs = _outs(STAGES[stage])
    models = [out for out in outs if out.startswith("models/") and not out.endswith(ancestry.SUFFIX)]
    assert {f"{model}{ancestry.SUFFIX}" for model in models} <= set(outs)


def test_every_path_in_the_graph_is_a_constant_of_the_tasks() -> None:
    known = {str(value) for value in vars(paths).values() if isinstance(value, Path)}
    known |= {str(path.with_suffix(".html")) for path in (paths.FAMILY_TABLE, paths.BASELINE_TABLE)}
    known |= {f"{paths.FAMILY_MODELS}/${{key}}", f"{paths.BASELINE_RESPONSES}/${{key}}.jsonl"}
    known |= {f"{path}{ancestry.SUFFIX}" for path in known if path.startswith("models/")}
    known |= {f"{paths.FAMILY_RIGHT}/{name}.json" for name in ("${key}", "baselines")}
    for name, stage in STAGES.items():
        each = f"{name}/${{key}}" if "foreach" in stage else name
        assert set(_outs(stage)) <= known | {f"metrics/{each}.json", f"plots/{each}.csv"}, name


def test_only_evaluation_reads_the_judges_texts() -> None:
    judge = {str(paths.JUDGE_TEXTS), str(paths.ABOVE / paths.JUDGE_TEXTS)}
    reading = [name for name, stage in STAGES.items() if judge & {*_body(stage)["deps"]}]
    assert reading == ["evaluate", "alignment_table"]


def test_no_stage_of_the_chain_reads_what_an_optional_graph_makes() -> None:
    for name, stage in CHAIN.items():
        assert not [path for path in stage["deps"] if Path(path).parts[0] in projects.OPTIONAL], name


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
    (tmp_path / "jokbo/__init__.py").write_text("import os\n")  # of closure.ROOTS
    (tmp_path / "jokbo/inner").mkdir()
    (tmp_path / "jokbo/inner/__init__.py").write_text("import os\n")
    (tmp_path / "tasks/one.py").write_text(
        "from typing import TYPE_CHECKING\nfrom jokbo import params\nif TYPE_CHECKING:\n    import jokbo.typed\n"
        "def late():\n    from jokbo.inner.late import name\n"
    )
    for name in ("params", "typed", "inner/late", "deep", "inner/unused"):
        (tmp_path / f"jokbo/{name}.py").write_text("import jokbo.deep\n" if "late" in name else "name = 1\n")
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
    inner = ["jokbo/inner/__init__.py", "jokbo/inner/late.py"]
    assert output.split() == ["jokbo/deep.html.j2", "jokbo/deep.py", *inner, "tasks/one.py"]


TRAINED = {"pretrain", "tasks", "finetune", "distill", "reward", "align"}


@pytest.mark.parametrize(
    ("file", "ran"),
    [
        ("jokbo/runtime/tracking.py", set()),
        ("jokbo/runtime/progress.py", set()),
        ("jokbo/params/chain.py", set()),
        ("jokbo/training/loop.py", TRAINED),
        ("tasks/frame/records.py", set(CHAIN)),
        ("jokbo/alignment/calibration.py", {"reward", "align"}),
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
        ("fetch", set(CHAIN)),
        ("prompts", set(CHAIN) - {"fetch", "prepare", "tokenize", "pretrain", "tasks"}),
        ("tasks", {"tasks", "report"}),
        ("distill", {"distill", "evaluate", "report"}),
        ("align", {"align", "evaluate", "report"}),
        ("reward", {"reward", "align", "evaluate", "report"}),
        ("finetune", {"finetune", "distill", "preferences", "reward", "align", "evaluate", "report"}),
        ("evaluate", {"evaluate", "report"}),
    ],
)
@pytest.mark.parametrize("what", ["code", "params"])
def test_an_edit_makes_its_stage_and_what_follows_stale_and_nothing_else(
    finished: Path, edited: str, what: str, stale: set[str]
) -> None:
    key = {"finetune": "  policy", "tasks": "  tasks"}.get(edited, edited)
    change = (
        (f"tasks/{edited}.py", "#", "##") if what == "code" else ("params.yaml", f"\n{key}: 1", f"\n{key}: 2")
    )
    assert _stale_after(finished, *change) == stale


@pytest.mark.parametrize(
    ("file", "old", "new", "stale"),
    [
        ("family/params.yaml", "\nfamily_text: 1", "\nfamily_text: 2", OF_FAMILY),
        ("tasks/prepare.py", "#", "##", OF_FAMILY | {"prepare"}),
        ("tasks/family.py", "#", "##", OF_FAMILY - {"family_text", "family_baselines"}),
        ("jokbo/systems/noise.py", "#", "##", OF_FAMILY - {"family_text", "family_baselines"}),
        ("family/params.yaml", "  seed: 1", "  seed: 2", OF_FAMILY - {"family_text", "family_baselines"}),
        (
            "family/params.yaml",
            "  defaults: 1",
            "  defaults: 2",
            OF_FAMILY - {"family_text", "family_baselines"},
        ),
        ("family/params.yaml", "    elmo: 1", "    elmo: 2", {"family@elmo", "family_table"}),
        ("family/params.yaml", "    bert_deep: 1", "    bert_deep: 2", TEACHER),
        ("jokbo/systems/elmo.py", "#", "##", {"family@elmo", "family_table"}),
        (
            "jokbo/systems/roberta.py",
            "#",
            "##",
            {"family@roberta", "family@deberta", "family@distilbert", "family_table"},
        ),
        ("tasks/family_baselines.py", "#", "##", {"family_baselines", "family_table"}),
        ("tasks/align.py", "#", "##", set()),
    ],
)
def test_one_changed_system_runs_alone(
    finished: Path, file: str, old: str, new: str, stale: set[str]
) -> None:
    assert _stale_after(finished, file, old, new, Path("family")) == stale


def _stale_after(folder: Path, file: str, old: str, new: str, project: Path = Path()) -> set[str]:
    """What of a project has to run after an edit, which is undone again."""
    path = folder / file
    before = path.read_text()
    assert graph.read(folder=project).stale == set()
    assert old in before
    try:
        path.write_text(before.replace(old, new, 1))
        return graph.read(folder=project).stale
    finally:
        path.write_text(before)


def test_each_project_has_its_stages_and_the_family_what_it_needs_of_the_chain(finished: Path) -> None:
    assert set(graph.read().needs) == set(CHAIN)
    family = graph.read(folder=Path("family"))
    assert set(family.needs) == OF_FAMILY | {"fetch", "prepare"}
    assert family.needs["family_text"] == {"prepare"}
    assert {name for name, folder in family.folders.items() if folder == Path()} == {"fetch", "prepare"}
    assert set(graph.read("family@elmo", Path("family")).needs) == {
        *("fetch", "prepare", "family_text", "family@elmo")
    }


@pytest.fixture(scope="module")
def _finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The graphs of both projects with commands that take no time, run to their end in a folder of their own.

    Every file of ours is there with a text of its own, the outputs are the names of what made them.
    """
    folder = tmp_path_factory.mktemp("finished")
    few = {name: SYSTEMS[name] for name in FEW}
    own = [f"  {key}: 1\n" for key in Family.model_fields if key != "systems"]
    systems = [f"    {name}: 1\n" for name in FEW]
    family = ["\n", *(f"{stage}: 1\n" for stage in FAMILY if stage != "family")]
    _lay_out(
        folder / "family", FAMILY, closure.UP, "".join([*family, "family:\n", *own, "  systems:\n", *systems])
    )
    whole = [f"{stage}: 1\n" for stage in CHAIN if stage not in ("prepare", "pretrain", "tasks", "finetune")]
    parts = "pretrain:\n  start: 1\nfinetune:\n  seed: 1\n  policy: 1\n  tasks: 1\n"
    parts += "prepare:\n  near_duplicates: 1\n  decontaminate: 1\n"
    _lay_out(folder, CHAIN, "", "".join(["\n", *whole, parts, "compute: 1\n"]))
    for path in (path for item in few.values() for path in item if closure.is_code(path)):
        (folder / "family" / path).write_text(f"# {path}\n")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    for each in (folder, folder / "family"):
        (each / ".dvc").mkdir()
        (each / ".dvc/config").write_text((ROOT / each.relative_to(folder) / ".dvc/config").read_text())
        subprocess.run([sys.executable, "-m", "dvc", "repro", "-q"], cwd=each, check=True)
    return folder


def _lay_out(folder: Path, stages: dict[str, Any], base: str, params: str) -> None:
    """A project of these stages, with a text of its own in every file of ours that they depend on."""
    folder.mkdir(exist_ok=True)
    (folder / "params.yaml").write_text(params)
    made = {}
    for name, stage in stages.items():
        code = f"{base}tasks/{name}.py"
        made_by = [f"mkdir -p {Path(out).parent} && cat {code} > {out}" for out in _outs(stage)]
        body = {**_body(stage), "cmd": " && ".join(made_by)}
        made[name] = (
            {"foreach": {key: SYSTEMS[key] for key in FEW}, "do": body} if "foreach" in stage else body
        )
        for path in body["deps"]:
            if closure.is_code(path) or path in ("data/local", "profiles"):
                home = ROOT / "family" if base else ROOT
                inside = sorted((home / path).rglob("*.py")) if (home / path).is_dir() else []
                for file in [each.relative_to(home).as_posix() for each in inside] or [path]:
                    (folder / file).parent.mkdir(parents=True, exist_ok=True)
                    (folder / file).write_text(f"# {file}\n")
    YAML().dump({"stages": made}, folder / "dvc.yaml")


@pytest.fixture
def finished(_finished: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That folder, which is also the current one."""
    monkeypatch.chdir(_finished)
    return _finished


def _body(stage: dict[str, Any]) -> dict[str, Any]:
    return stage.get("do", stage)


def _outs(stage: dict[str, Any]) -> list[str]:
    body = _body(stage)
    plots = [plot if isinstance(plot, str) else next(iter(plot)) for plot in body.get("plots", [])]
    return [*body.get("outs", []), *body.get("metrics", []), *plots]


def _edges(imports, floor: str) -> list[tuple[str, str]]:
    """Who on a floor imports from which floor."""
    modules = [module for module in imports.modules if module.split(".")[0] == floor]
    return [
        (module, imported.split(".")[0])
        for module in modules
        for imported in imports.find_modules_directly_imported_by(module)
    ]
