"""The records of models: the same bytes for the same inputs, and parents that are found by their weights."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from jokbo.runtime import ancestry, environment
from jokbo.runtime.ancestry import Record
from jokbo.runtime.errors import InputError
from jokbo.team.comparing import lineage


def _model(folder: Path, weights: bytes = b"w") -> Path:
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def _write(model: Path, **changes) -> Record:
    given = {"stage": "pretrain", "key": "k", "params": {"seed": 1}, "deps": {"data/tokens": "t.dir"}}
    record = ancestry.made(model, **(given | changes))
    record.save(model)
    return record


def _file(model: Path) -> Path:
    return Path(f"{model}{ancestry.SUFFIX}")


def test_the_same_inputs_give_the_same_bytes_and_come_back(tmp_path: Path) -> None:
    one, two = _model(tmp_path / "one"), _model(tmp_path / "two")
    record = _write(one, deps={"a": "1", "b": "2"})
    _write(two, deps={"b": "2", "a": "1"})
    assert _file(one).read_bytes() == _file(two).read_bytes()
    assert Record.load(one) == record
    assert [path.name for path in one.iterdir()] == ["model.safetensors"]


def test_a_folder_of_models_has_one_record_for_all(tmp_path: Path) -> None:
    one, two = _model(tmp_path / "tasks/one"), _model(tmp_path / "tasks/two", weights=b"v")
    record = _write(tmp_path / "tasks")
    assert Record.load(one) == Record.load(two) == Record.load(tmp_path / "tasks") == record
    (two / "model.safetensors").write_bytes(b"x")
    with pytest.raises(InputError, match=r"of other weights than those in .*tasks"):
        Record.load(two)


def test_other_weights_are_told_apart(tmp_path: Path) -> None:
    one, two = _model(tmp_path / "one"), _model(tmp_path / "two", weights=b"v")
    assert _write(one).weights != _write(two).weights
    shutil.copy(_file(one), _file(two))
    with pytest.raises(InputError, match=r"of other weights than those in .*two"):
        Record.load(two)


def test_inputs_are_parents_by_their_weights_code_or_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    base = _write(_model(Path("models/base"), b"base"))
    inputs = {"models/base": "b.dir", "tasks/x.py": "c", "jokbo/training": "t.dir", "data/documents": "d"}
    policy = _write(_model(Path("models/policy")), deps=inputs)
    assert policy.parents == {"models/base": base.weights}
    assert policy.code == {"tasks/x.py": "c", "jokbo/training": "t.dir"}
    assert policy.data == {"data/documents": "d"}


def test_the_tree_joins_the_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    base = Path("models/base")
    record = _write(_model(base, b"base"), key="base-key", params={"model": {"width": 8, "betas": [0.9]}})
    replace(record, environments=[environment.collect(zero_stage=1)]).save(base)
    policy = _write(_model(Path("models/policy")), deps={"models/base": "b.dir", "data/documents": "d5"})

    def shown(everything: bool = True, commit: str = "c0ffee") -> str:
        console = Console(file=io.StringIO(), width=100)
        known = ancestry.records_in(Path("models"))
        node = lineage.of_model("policy", policy, known, {"base-key": commit}.get)
        console.print(lineage.tree(node, everything=everything))
        return console.file.getvalue()

    text = shown()
    parts = (
        "data/documents: d5",
        "models/base",
        "c0ffee",
        "model.width: 8",
        "model.betas: [0.9]",
        "ZeRO 1",
    )
    for part in (*parts, "made on", "commit unknown"):  # the last is the policy's
        assert part in text
    assert [line.split("  by")[0].strip(" └─") for line in shown(everything=False).splitlines()] == [
        "policy",
        "models/base",
        "data/tokens",
    ]
    unknown = "unknown (this project is in no commit)"
    assert unknown in shown(commit=unknown)
    assert "by pretrain  commit unknown  weights" in shown(everything=False, commit=unknown)
    _file(base).unlink()
    assert f"models/base  weights {record.weights[:12]}, of which no record is there" in shown()


@pytest.mark.parametrize("content", [None, "not json", "[]", "3", '{"stage": "x"}'])
def test_a_folder_without_a_readable_record_is_bad_input(tmp_path: Path, content: str | None) -> None:
    if content:
        _file(tmp_path / "model").write_text(content)
    with pytest.raises(InputError, match=str(_file(tmp_path / "model"))):
        Record.load(tmp_path / "model")
