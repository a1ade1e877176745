"""What is edited while a stage runs: DVC would record the new state of it for what the old one made."""

from __future__ import annotations

import pytest

from tasks.frame.identity import committed
from tests.conftest import Project

LAST = 'model = Path("models") / NAME'
FIRST = "NAME = sys.argv[1]"


@pytest.fixture
def editing(project: Project) -> Project:
    """Its stages run a command of the shell while they start (AT_START), and when their work is done (AT_END)."""
    project.edit("standin.py", LAST, f'os.system(os.environ.get("AT_END", ""))\n    {LAST}')
    project.edit("standin.py", FIRST, f'os.system(os.environ.get("AT_START", ""))\n{FIRST}')
    return project


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        ("echo '# a comment' >> standin.py", "standin.py"),
        ("sed -i '/^pretrain:/,/seed/s/seed: 1/seed: 2/' params.yaml", "params.yaml: pretrain.seed"),
    ],
)
def test_a_stage_says_what_was_edited_while_it_ran_and_is_not_recorded(
    editing: Project, edit: str, named: str
) -> None:
    status, output = editing.run("dvc", "repro", "pretrain", AT_END=edit)
    assert status != 0
    (line,) = [line for line in output.splitlines() if line.startswith("jokbo: ")]
    assert line.startswith(f"jokbo: {named} was edited while pretrain ran: ")
    assert committed() == {}
    assert [run.info.status for run in editing.runs("pretrain")] == ["FAILED"]
    status, output = editing.run("dvc", "repro", "pretrain")
    assert status == 0, output
    assert "pretrain starts at 0" in output  # the new code's, or parameters', own training
    assert "pretrain" in committed()


def test_an_edit_that_was_undone_again_is_none(editing: Project) -> None:
    back = "cp standin.py old; echo '# a comment' >> standin.py; cp old standin.py"
    status, output = editing.run("dvc", "repro", "pretrain", AT_END=back)
    assert status == 0, output


def test_an_undone_edit_lets_the_stage_go_on_where_it_was(editing: Project) -> None:
    status, _ = editing.run(
        "standin", "pretrain", AT_END="cp standin.py old; echo '# a comment' >> standin.py"
    )
    assert status == 2
    (editing.folder / "old").rename(editing.folder / "standin.py")
    status, output = editing.run("standin", "pretrain")
    assert status == 0, output
    assert "pretrain starts at 3" in output


def test_an_input_that_goes_or_changes_is_named(editing: Project) -> None:
    editing.run("dvc", "repro", "pretrain")
    change = "echo more > models/pretrain/more"
    status, output = editing.run("standin", "finetune", AT_END=change)
    assert status == 2
    assert output.splitlines()[-1].startswith("jokbo: models/pretrain was edited while finetune ran: ")
    status, output = editing.run("standin", "finetune", AT_END="rm -r models/pretrain")
    assert status == 2
    assert output.splitlines()[-1].startswith("jokbo: finetune needs models/pretrain, which is not there")


@pytest.mark.parametrize("path", ["standin.py", "params.yaml"])
def test_what_is_edited_while_a_stage_starts_may_have_been_read_before(editing: Project, path: str) -> None:
    status, output = editing.run("standin", "pretrain", AT_START=f"echo '# a comment' >> {path}")
    assert status == 2
    assert output == f"jokbo: {path} was edited while the stage started: run it again\n"
    status, output = editing.run("standin", "pretrain")
    assert status == 0, output


def test_what_runs_write_makes_no_checkout_dirty(project: Project) -> None:
    for path in ("family/table.json", "alignment/table.json", "profiles/other.json"):
        (project.folder / path).parent.mkdir()
        (project.folder / path).write_text("{}\n")
    status, output = project.run("dvc", "repro", "finetune")
    assert status == 0, output
    assert [run.data.tags["git.dirty"] for run in project.runs("finetune")] == ["False"]
    (project.folder / "note.txt").write_text("mine\n")
    project.run("dvc", "repro", "distill")
    assert [run.data.tags["git.dirty"] for run in project.runs("distill")] == ["True"]


def test_half_a_record_of_the_last_run_is_none(begun: Project) -> None:
    (begun.folder / ".jokbo/timings/pretrain.json").write_text('{"key": "')
    status, output = begun.run("standin", "pretrain")
    assert status == 0, output
