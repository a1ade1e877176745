"""The record of a model's family: the same bytes for the same inputs, and parents that travel along."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from jokbo.runtime import ancestry, environment
from jokbo.runtime.errors import InputError


def _model(folder: Path, weights: bytes = b"w") -> Path:
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def _write(model: Path, **changes) -> str:
    record = {"stage": "pretrain", "key": "k", "params": {"seed": 1}, "deps": {"data/tokens": "t.dir"}}
    return ancestry.write(model, **(record | changes))


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    one, two = _model(tmp_path / "one"), _model(tmp_path / "two")
    assert _write(one, deps={"a": "1", "b": "2"}) == _write(two, deps={"b": "2", "a": "1"})
    assert (one / ancestry.FILE).read_bytes() == (two / ancestry.FILE).read_bytes()


def test_other_weights_are_told_apart(tmp_path: Path) -> None:
    assert _write(_model(tmp_path / "one")) != _write(_model(tmp_path / "two", weights=b"v"))


def test_parents_are_embedded_with_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _write(_model(Path("models/base")), key="base-key")
    _write(
        _model(Path("models/policy")), deps={"models/base": "b.dir", "tasks/x.py": "c", "data/documents": "d"}
    )
    _write(_model(Path("models/aligned")), deps={"models/policy": "p.dir"})
    aligned = ancestry.read(Path("models/aligned"))
    policy = aligned["parents"]["models/policy"]
    assert policy["data"] == {"data/documents": "d"}
    assert policy["code"] == {"tasks/x.py": "c"}
    assert policy["parents"]["models/base"]["key"] == "base-key"


def test_the_tree_shows_data_code_parameters_and_parents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _write(_model(Path("models/base")), key="base-key", params={"model": {"width": 8, "betas": [0.9]}})
    _write(_model(Path("models/policy")), deps={"models/base": "b.dir", "data/documents": "d5"})
    weights = ancestry.read(Path("models/base"))["weights"]
    environment.write(Path("models/base"), weights, [environment.collect(zero_stage=1)])
    console = Console(file=io.StringIO(), width=100)
    tree = ancestry.tree("policy", ancestry.read(Path("models/policy")), {"base-key": "c0ffee"}.get)
    console.print(tree)
    text = console.file.getvalue()
    for part in (
        "data/documents  md5 d5",
        "models/base",
        "c0ffee",
        "model.width: 8",
        "model.betas: [0.9]",
        "made on",
        "ZeRO 1",
    ):
        assert part in text
    assert "commit unknown" in text  # that of the policy itself


@pytest.mark.parametrize("content", [None, "not json"])
def test_a_folder_without_a_readable_record_is_bad_input(tmp_path: Path, content: str | None) -> None:
    if content:
        (tmp_path / ancestry.FILE).write_text(content)
    with pytest.raises(InputError, match=str(tmp_path)):
        ancestry.read(tmp_path)
