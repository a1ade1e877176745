"""`jokbo export`, as a user types it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from jokbo.cli import app


def _export(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["export", *arguments])


def test_it_says_where_the_model_went(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = _export(str(models / "reward"), "--to", "folder")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "exports/reward-folder\n", "")
    card = Path("exports/reward-folder/README.md").read_text()
    assert "AutoModelForSequenceClassification.from_pretrained" in card
    assert "by pretrain  commit unknown" in card


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        ("none", ["--to", "onnx"], "none: no config.json there"),
        (
            "reward",
            ["--to", "gguf"],
            "takes models that write, and this has a head (LlamaForSequenceClassification)",
        ),
        ("llama", ["--to", "folder", "--precision", "bf16"], "--precision bf16: only --to gguf takes it"),
        ("llama", ["--to", "folder", "--out", "."], ".: there already"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, options: list[str], said: str
) -> None:
    pytest.importorskip("gguf")
    pytest.importorskip("onnxscript")
    monkeypatch.chdir(tmp_path)
    result = _export(str(models / model), *options)
    assert result.exit_code == 2
    assert result.stderr.startswith("jokbo: ")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.rglob("*"))[1:]  # the empty exports/ at most


@pytest.mark.parametrize(("kind", "package"), [("gguf", "gguf"), ("onnx", "onnxscript")])
def test_a_package_that_is_missing_is_named(
    models: Path, monkeypatch: pytest.MonkeyPatch, kind: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    result = _export(str(models / "llama"), "--to", kind)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"jokbo: --to {kind} needs packages: pip install ")
    assert result.stderr.rstrip().endswith(package)
