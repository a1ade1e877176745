"""The chain and an optional graph beside it: who sees what, and whose parameters are read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from jokbo.params import FamilyParams, Params
from jokbo.runtime.errors import InputError
from tasks.frame import projects
from tests.conftest import ROOT, Project
from tests.support import comparison

CHAIN = ("pretrain", "finetune", "distill")


@pytest.fixture
def family(project: Project) -> Project:
    """The optional graph beside the chain; both have run to their end, and a remote has what they made."""
    made = comparison.add_to(project)
    for each in (project, made):
        each.run("dvc", "remote", "add", "-d", "there", str(project.folder.parent / "remote"))
        for command in ("repro", "push"):
            status, output = each.run("dvc", command)
            assert status == 0, output
    return made


def _models(project: Project) -> set[str]:
    return {path.name for path in (project.folder / "models").glob("*") if path.is_dir()}


def test_dvc_sees_the_graph_of_the_folder_in_which_it_is_typed_and_nothing_else(
    project: Project, family: Project
) -> None:
    assert family.run("dvc", "status") == (0, "Data and pipelines are up to date.\n")
    for each in (project, family):
        shutil.rmtree(each.folder / "models")
    assert family.run("dvc", "checkout")[0] == 0
    assert (_models(family), _models(project)) == ({"bert", "distilbert", "elmo"}, set())

    shutil.rmtree(family.folder / "models")
    family.edit("params.yaml", "family:\n  seed: 1", "family:\n  seed: 2")
    written = (family.folder / "dvc.lock").read_text()
    for command in ("checkout", "pull", "repro", "status", "stage list", "exp run"):
        status, output = project.run("dvc", *command.split())
        assert status == 0, output
        assert "family" not in output, output
        assert _models(project) == set(CHAIN)
    shutil.rmtree(project.folder / ".dvc/cache")
    shutil.rmtree(project.folder / "models")
    assert project.run("dvc", "pull")[0] == 0
    status, output = project.run("dvc", "status", "--cloud")
    assert (status, output) == (0, "Cache and remote 'there' are in sync.\n")
    assert _models(project) == set(CHAIN)
    assert _models(family) == set()
    assert (family.folder / "dvc.lock").read_text() == written


def test_the_parameters_are_those_of_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    chain, family = projects.load(), projects.load(Path("family"))
    assert (type(chain), type(family)) == (Params, FamilyParams)
    monkeypatch.chdir("family")
    assert projects.load() == family
    assert family.compute == chain.compute
    assert projects.root() == Path("..")


def test_a_clone_that_is_called_as_an_optional_graph_is_a_root(tmp_path: Path) -> None:
    (tmp_path / "family/.dvc").mkdir(parents=True)
    assert projects.root(tmp_path / "family") == tmp_path / "family"
    with pytest.raises(InputError, match=r"params\.yaml: no such file"):
        projects.load(tmp_path / "family")
