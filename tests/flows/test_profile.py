"""A profile trains the base model of another corpus in a project of its own."""

from __future__ import annotations

import json
import runpy
import shutil
import zipfile
from pathlib import Path

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from flows import profile
from flows.flow import Busy, alone
from jokbo.runtime.errors import InputError
from tests.support import miniature


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = miniature.build(tmp_path / "project")
    monkeypatch.chdir(made)
    return made


def test_what_a_profile_names_takes_the_place_of_the_whole_key(folder: Path) -> None:
    (folder / "profiles/other.yaml").write_text("tokenize:\n  mix: {by: epochs, sources: {letters: 2.0}}\n")
    tree = profile.merged(Path("params.yaml"), Path("profiles/other.yaml"))
    own = miniature.params()
    assert tree["tokenize"].pop("mix") == {"by": "epochs", "sources": {"letters": 2.0}}
    own["tokenize"].pop("mix")
    assert tree == own


def test_another_kind_of_answer_takes_the_place_of_the_whole_section(folder: Path) -> None:
    (folder / "profiles/other.yaml").write_text("distill: {kind: none}\nalign: {kl_target: 3.0}\n")
    tree = profile.merged(Path("params.yaml"), Path("profiles/other.yaml"))
    assert tree["distill"] == {"kind": "none"}
    assert tree["align"] == {**miniature.params()["align"], "kl_target": 3.0}


def test_the_shipped_profiles_are_valid(folder: Path) -> None:
    for path in sorted(Path("profiles").glob("*.yaml")):
        made = profile.project(path.stem)
        assert YAML(typ="safe").load(made / "params.yaml") != miniature.params()


def test_remotes_and_cache_of_the_project_are_the_profiles_too(folder: Path) -> None:
    config = folder / ".dvc/config"
    with config.open("a") as file:  # as `dvc remote add -d store ../../store` leaves it
        file.write("    remote = store\n['remote \"store\"']\n    url = ../../store\n")
    (folder / ".dvc/config.local").write_text("['remote \"store\"']\n    jobs = 3\n")
    with Repo(profile.project("korean")) as repo:
        assert repo.config["core"]["remote"] == "store"
        assert repo.config["core"]["no_scm"]
        assert Path(repo.config["remote"]["store"]["url"]).resolve() == folder.parent / "store"
        assert repo.config["remote"]["store"]["jobs"] == 3
        assert Path(repo.cache.local.path).is_relative_to(folder / ".dvc/cache")
    config.write_text("[core\n")
    with pytest.raises(InputError, match=r"^\.dvc/config: [^\n]+$"):
        profile.project("korean")


def test_the_users_texts_are_in_the_project_of_a_profile(folder: Path) -> None:
    """Links lead to what they led to, and keys that only the user may read stay so."""
    (folder.parent / "shared").mkdir()
    (folder.parent / "shared/c.jsonl").write_text("{}\n")
    (folder / "data/local/c.jsonl").symlink_to("../../../shared/c.jsonl")
    (folder / ".dvc/config.local").write_text("['remote \"store\"']\n    url = /nowhere\n")
    (folder / ".dvc/config.local").chmod(0o600)
    made = profile.project("korean")
    assert (made / "data/local/c.jsonl").read_text() == "{}\n"
    assert (made / ".dvc/config.local").stat().st_mode & 0o777 == 0o600
    shutil.rmtree(folder / "data/local")
    assert [*(profile.project("korean") / "data/local").iterdir()] == []


def test_a_profile_that_runs_keeps_its_code(folder: Path) -> None:
    made = profile.project("korean")
    with alone(made / ".jokbo"), pytest.raises(Busy):
        profile.project("korean")


def test_a_profile_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(
        InputError, match=r"profiles/corean.yaml: no such profile: there is chat, korean, smollm"
    ):
        profile.project("corean")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            "tokenize:\n  mix: 3\n  mix: 4\n",
            "profiles/other.yaml: line 3: the key 'mix' stands a second time",
        ),
        ("tokenize:\n", "params.yaml with profiles/other.yaml: tokenize is nothing: it must hold keys"),
        ("- tokenize\n", "profiles/other.yaml: it holds ['tokenize']: it must hold sections"),
        ("pretrain: {sed: 1}\n", "params.yaml with profiles/other.yaml: pretrain.sed is not a known key"),
    ],
)
def test_a_profile_that_is_wrong_is_named_and_makes_nothing(folder: Path, content: str, said: str) -> None:
    (folder / "profiles/other.yaml").write_text(content)
    with pytest.raises(InputError) as raised:
        profile.project("other")
    assert str(raised.value).startswith(said)
    assert not (folder / ".jokbo").exists()


def test_a_profile_makes_files_below_its_own_data_alone(folder: Path) -> None:
    (folder / "profiles/other.yaml").write_text("pretrain: {seed: 2}\n")
    (folder / "profiles/other.py").write_text(
        "def make(local):\n    (local / 'made.txt').write_text('made')\n"
    )
    before = sorted(Path("data/local").iterdir())
    made = profile.project("other")
    profile.make_files("other", made / "data/local")
    assert (made / "data/local/made.txt").read_text() == "made"
    assert sorted(Path("data/local").iterdir()) == before


def test_the_conversations_of_chat_have_each_question_once(tmp_path: Path) -> None:
    """Further answers are read in comparisons alone; a dialogue ends with the assistant."""
    chat = runpy.run_path(str(miniature.ROOT / "profiles/chat.py"))
    said = {
        "facts.yml": [["What is it?", "A bird."], ["what is it", "A plane."], ["Who?", "He."]],
        "conversations.yml": [["Hello", "Hi", "Well?"]],
    }
    with zipfile.ZipFile(tmp_path / "package.whl", "w") as archive:
        for name, exchanges in said.items():
            archive.writestr(f"{chat['LANGUAGE']}{name}", json.dumps({"conversations": exchanges}))
    conversations, comparisons = chat["made_of"](tmp_path / "package.whl")
    turns = [[(turn["role"], turn["content"]) for turn in each["messages"]] for each in conversations]
    assert turns == [
        [("user", "What is it?"), ("assistant", "A bird.")],
        [("user", "Who?"), ("assistant", "He.")],
        [("user", "Hello"), ("assistant", "Hi")],
    ]
    assert comparisons == [
        {"prompt": "What is it?", "chosen": "A plane.", "rejected": "He."},
        {"prompt": "Who?", "chosen": "He.", "rejected": "A bird."},
    ]


def _within(path: str, folder: str) -> bool:
    return path.startswith(f"{folder}/")


def test_its_project_has_all_that_the_stages_read_and_none_makes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "profiles/other.yaml").write_text("pretrain: {seed: 2}\n")
    monkeypatch.chdir(profile.project("other"))
    with Repo() as repo:
        stages = list(repo.index.stages)
        made = {str(out) for stage in stages for out in stage.outs}
        read = {str(dep) for stage in stages for dep in stage.deps if not str(dep).startswith("params.yaml")}
    missing = [path for path in read - made if not Path(path).exists()]
    # a part of an output comes with it, and a folder of outputs with them
    whole = [path for path in missing if not any(_within(path, out) or _within(out, path) for out in made)]
    assert whole == []


def test_it_trains_beside_the_project_and_leaves_what_it_measured(folder: Path, api: str) -> None:
    (folder / "profiles/other.yaml").write_text("pretrain:\n  seed: 2\nprepare:\n  seed: 2\n")
    other = folder / ".jokbo/profiles/other"
    done = miniature.run(folder, "flows.profile", "other", "--until", "pretrain", PREFECT_API_URL=api)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((folder / "profiles/other.json").read_text())
    assert set(found.pop("measured")) == {"date", "machine"}
    assert found == {
        stage: json.loads((other / f"metrics/{stage}.json").read_text())
        for stage in ("prepare", "tokenize", "pretrain")
    }
    assert f"{found['pretrain']['validation']['bits_per_byte']:.3f} bits a byte" in done.stdout
    assert not (folder / "models").exists()
    assert (folder / ".jokbo/mlflow.db").is_file()
    assert not (other / ".jokbo/mlflow.db").exists()
