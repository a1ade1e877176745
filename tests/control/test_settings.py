"""control/params.yaml: the shipped file, and what is wrong with one in a line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from jokbo.control import runs, settings
from jokbo.runtime.errors import InputError

SHIPPED = Path(__file__).parent.parent.parent / settings.FILE


def test_the_shipped_file_has_table_1_on_two_tasks_and_five_seeds(tmp_path: Path) -> None:
    params = settings.load(SHIPPED)
    runs.check(params, SHIPPED)
    assert len(params.seeds) == 5
    names = [setting.name for setting in params.settings()]
    assert sum(name.startswith("ppo: ") for name in names) == 11
    every = runs.all_runs(params, tmp_path)
    assert len(every) == len(names) * len(params.tasks) * 5
    assert len({run.key for run in every}) == len(every)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("last_episodes:", "last_episode:", "last_episode is not a known key: did you mean last_episodes?"),
        (
            "CartPole-v1",
            "CartPol-v1",
            "tasks.cartpole.environment: CartPol-v1: gymnasium makes no such environment",
        ),
        ("CartPole-v1", "Pendulum-v1", "tasks.cartpole.environment: Pendulum-v1: its actions are Box"),
        ("kind: a2c", "kind: a4c", "algorithms.a2c.kind is a4c"),
        ("epsilon: 0.2", "epsilon: 2", "epsilon"),
        ("[1, 2, 3, 4, 5]", "[1, 2, 1]", "seeds has a seed twice: name it once"),
        ("minibatch: 256", "minibatch: 100", "must divide environments * horizon"),
        (
            "{kind: clip, epsilon: 0.1}",
            "{kind: clip, epsilon: 0.2}",
            "algorithms has ppo: clipping, ε = 0.2 twice",
        ),
    ],
)
def test_what_is_wrong_is_one_line(old: str, new: str, said: str, tmp_path: Path) -> None:
    text = SHIPPED.read_text()
    assert old in text
    path = tmp_path / "params.yaml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError) as refused:
        runs.check(settings.load(path), path)
    assert str(refused.value).startswith(f"{path}: ")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_run_hangs_on_its_own_code_and_not_on_what_is_said_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = settings.load(SHIPPED)
    room = Path(runs.__file__).parent

    def keys(name: str, old: str, new: str) -> dict[str, str]:
        """The runs of the first seed and task, after an edit."""
        folder = tmp_path / new.replace(" ", "")
        shutil.copytree(room, folder, ignore=shutil.ignore_patterns("__pycache__"))
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))
        monkeypatch.setattr(runs, "__file__", str(folder / "runs.py"))
        return {run.job.setting.name: run.key for run in runs.all_runs(params, tmp_path)[:18]}

    before = keys("ppo.py", '"""PPO:', '"""PPO, it is said:')
    assert keys("a2c.py", "Return what came of A2C", "Give what came of A2C") == before
    after = keys("a2c.py", "max(0.0, 1 -", "max(0.1, 1 -")
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {"a2c", "a3c", "a3c_alone"}  # A3C has the rule from A2C
