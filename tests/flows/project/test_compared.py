"""`jokbo diff` and `jokbo tree` over a small real project in which a stage ran with one seed, then with another."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from flows import seeds
from flows.project import diff, tree
from jokbo.runtime import tracking
from jokbo.runtime.errors import InputError
from jokbo.team.comparing import lineage
from jokbo.team.comparing.differences import compare
from jokbo.team.comparing.facts import WHOLE
from tests.conftest import Project, as_a_user

GIT = ("git", "-c", "user.name=t", "-c", "user.email=t@localhost")


@pytest.fixture(scope="module")
def _two_seeds(all_ended: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The project, committed after all its stages; then `finetune` ran with seed 2, and nothing after it."""
    folder = tmp_path_factory.mktemp("seeds") / "project"
    shutil.copytree(all_ended, folder, symlinks=True)
    project = Project(folder)
    with pytest.MonkeyPatch.context() as monkeypatch:
        as_a_user(monkeypatch)
        monkeypatch.chdir(folder)
        subprocess.run([*GIT, "add", "-A"], check=True)
        subprocess.run([*GIT, "commit", "-q", "-m", "ran"], check=True)
        shutil.copytree("models", "kept")
        project.edit("params.yaml", "finetune:\n  seed: 1", "finetune:\n  seed: 2")
        status, output = project.run("dvc", "repro", "--single-item", "finetune")
        assert status == 0, output
        yield project


@pytest.fixture
def two_seeds(_two_seeds: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    as_a_user(monkeypatch)
    monkeypatch.chdir(_two_seeds.folder)
    return _two_seeds


def _run(project: Project, stage: str, seed: str) -> str:
    """The id of the run of a stage that had this seed."""
    return next(run.info.run_id for run in project.runs(stage) if run.data.params[f"{stage}.seed"] == seed)


def _found(left: str, right: str) -> dict[tuple[str, str], tuple[str, str]]:
    comparison = compare(diff.find(left), diff.find(right))
    return {(each.aspect, each.name): (str(each.left), str(each.right)) for each in comparison.found}


SEED = {("parameters", "finetune.seed"): ("1", "2")}


def test_two_runs_two_models_a_run_and_a_model_a_revision_and_all_else_differ_in_the_seed(
    two_seeds: Project,
) -> None:
    one, two = _run(two_seeds, "finetune", "1"), _run(two_seeds, "finetune", "2")
    client = MlflowClient(f"sqlite:///{two_seeds.folder}/.jokbo/mlflow.db")
    client.create_registered_model("policy")
    for id in (one, two):
        client.create_model_version("policy", str(two_seeds.folder / "models/finetune"), run_id=id)
    client.set_registered_model_alias("policy", "champion", "2")
    for left, right in (
        (one, two),
        (one[:12], two[:12]),
        ("policy/1", "policy@champion"),
        ("kept/finetune", "models/finetune"),
        ("kept/finetune.ancestry.json", "models/finetune"),
        (one, "models/finetune"),
        ("HEAD", "models/finetune"),
        ("HEAD", two),
        ("HEAD", "."),
    ):
        assert _found(left, right) == SEED, (left, right)
    for left, right in ((one, one), (one, "kept/finetune"), ("HEAD", "HEAD"), (two, "."), ("HEAD", one)):
        assert _found(left, right) == {}, (left, right)


def test_a_revision_is_compared_by_its_parameters_also_where_nothing_ran_with_them(
    two_seeds: Project,
) -> None:
    first = subprocess.run(["git", "rev-parse", "HEAD~1"], capture_output=True, text=True).stdout.strip()
    with pytest.raises(InputError, match=r"has no dvc\.lock: name a revision at which the chain had run"):
        diff.find(first)
    two_seeds.edit("params.yaml", "  processes: 1 ", "  processes: 2 ")
    try:
        comparison = compare(diff.find("HEAD"), diff.find("."))
    finally:
        two_seeds.edit("params.yaml", "  processes: 2 ", "  processes: 1 ")
    assert {each.name: each.stages for each in comparison.found} == {
        "compute.processes": (WHOLE,),
        "finetune.seed": (WHOLE, "finetune"),
    }


@pytest.fixture
def seeded(two_seeds: Project) -> Iterator[Path]:
    """Projects of seeds beside that one: of both its seeds, and one whose `pretrain` had other parameters."""
    folder = two_seeds.folder / seeds.FOLDER
    before = subprocess.run(
        ["git", "show", "HEAD:dvc.lock"], capture_output=True, text=True, check=True
    ).stdout
    now = Path("dvc.lock").read_text()
    for seed, lock in {
        "1": before,
        "2": now,
        "10": now.replace("seed: 1", "seed: 10").replace("md5: ", "md5: 0", 1),
    }.items():
        (folder / seed).mkdir(parents=True)
        (folder / seed / "dvc.lock").write_text(lock)
        shutil.copytree("metrics", folder / seed / "metrics")
    yield folder
    shutil.rmtree(folder)


def test_runs_are_of_the_same_but_for_their_seed(seeded: Path) -> None:
    assert seeds.alike("finetune") == [1, 2]
    shutil.rmtree(seeded / "10")
    assert _found(".jokbo/seeds", ".jokbo/seeds") == {}
    found = compare(diff.find(".jokbo/seeds"), diff.find("."))
    assert found.left == ".jokbo/seeds (2 seeds)"
    assert {
        each.name: (each.left, each.right, each.stages)
        for each in found.found
        if each.name == "finetune.seed"
    } == {"finetune.seed": ("1, 2", 2, ("finetune",))}


def test_a_run_of_several_seeds_has_the_figures_of_each(two_seeds: Project, tmp_path: Path) -> None:
    of = tracking.Subject("seeds", "s", {"finetune": {"seed": "1, 2"}}, {"stage": "seeds"})
    uri = f"sqlite:///{two_seeds.folder}/.jokbo/mlflow.db"
    with tracking.open_run(of, tracking_uri=uri, state=tmp_path) as run:
        run.table(seeds.rows({1: {"finetune/steps": 4}, 2: {"finetune/steps": 5}}), "seeds.json")
    assert run.id is not None
    comparison = compare(diff.find(run.id), diff.find("."))
    assert comparison.left == f"seeds {run.id[:8]} (2 seeds)"
    ((figure, verdict),) = [
        ((each.left, each.right), (each.beyond, each.seeds))
        for each in comparison.found
        if each.name == "steps"
    ]
    assert (figure, verdict) == ((4.5, 3), (None, (2, 1)))


def test_it_ends_as_diff_does(two_seeds: Project) -> None:
    status, output = two_seeds.run("jokbo.cli", "diff", "kept/finetune", "models/finetune", "--json")
    assert status == 1
    assert json.loads(output)["found"][0]["name"] == "finetune.seed"
    status, output = two_seeds.run("flows.project.diff", "kept/finetune", "kept/finetune")
    assert (status, output) == (0, "kept/finetune and kept/finetune: nothing differs\n")
    status, output = two_seeds.run("flows.project.diff", "kept/finetune", "nosuch")
    assert (status, output.count("\n")) == (2, 1)
    assert output.startswith(
        "jokbo: nosuch: no run of MLflow, registered model, folder of a model or git revision"
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("kept", "kept.ancestry.json: not there"),
        ("none.ancestry.json", "none.ancestry.json: not there"),
        ("--output=x", "no run of MLflow"),
        ("policy@$(id)", "no run of MLflow"),
        ("0123456789abcdef0123456789abcdef", "no run of MLflow"),
    ],
)
def test_what_is_not_there_is_one_line(two_seeds: Project, name: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        diff.find(name)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not Path("x").exists()


def test_a_run_that_was_deleted_is_named(two_seeds: Project) -> None:
    client = MlflowClient(f"sqlite:///{two_seeds.folder}/.jokbo/mlflow.db")
    id = _run(two_seeds, "distill", "1")
    client.delete_run(id)
    try:
        for name in (id, id[:12]):
            with pytest.raises(InputError, match=f"MLflow's run {id} was deleted: `mlflow runs restore"):
                diff.find(name)
    finally:
        client.restore_run(id)


def _parents(node: lineage.Node) -> dict[str, list[str]]:
    return {each.name: [parent.name for parent in each.parents] for each in lineage.every(node)}


def test_the_tree_of_a_run_and_of_a_file_goes_down_to_what_no_stage_made(two_seeds: Project) -> None:
    """Also of a run whose outputs others have replaced."""
    for seed in ("1", "2"):
        id = _run(two_seeds, "finetune", seed)
        node = tree.find(id)
        name = f"finetune {id[:8]}"
        assert _parents(node) == {name: ["models/pretrain"], "models/pretrain": []}
        assert node.params["finetune.seed"] == seed
        assert list(node.code) == ["standin.py"]
    node = tree.find("metrics/finetune.json")
    assert _parents(node) == {"metrics/finetune.json": ["models/pretrain"], "models/pretrain": []}
    (parent,) = node.parents
    (run,) = two_seeds.runs("pretrain")
    assert (parent.stage, parent.commit) == ("pretrain", run.data.tags["git.commit"])


def test_a_file_that_is_not_as_its_stage_left_it_has_no_tree(two_seeds: Project) -> None:
    file = Path("metrics/distill.json")
    before = file.read_text()
    file.unlink()
    file.write_text("{}")
    try:
        with pytest.raises(
            InputError, match=r"metrics/distill\.json is not as its stage left it: `dvc checkout"
        ):
            tree.find(str(file))
    finally:
        file.write_text(before)
    with pytest.raises(InputError, match=r"params\.yaml: no stage wrote it"):
        tree.find("params.yaml")


def test_the_command_draws_and_prints(two_seeds: Project) -> None:
    status, output = two_seeds.run(
        "jokbo.cli", "tree", "metrics/finetune.json", "--picture", "made.svg", "--json"
    )
    assert status == 0, output
    assert [each["name"] for each in json.loads(output)["nodes"]] == [
        "metrics/finetune.json",
        "models/pretrain",
    ]
    assert "<svg" in Path("made.svg").read_text()
