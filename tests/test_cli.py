"""The `jokbo` command, as a user types it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast, set_seed

from tests.conftest import Project


def _jokbo(*arguments: str, folder: Path, typed: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jokbo.cli", *arguments]
    environment = {**os.environ, "COLUMNS": "120"}
    return subprocess.run(command, cwd=folder, env=environment, input=typed, capture_output=True, text=True)


@pytest.fixture(scope="module")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of nothing, with a context of 16 tokens, as stages save theirs."""
    folder = tmp_path_factory.mktemp("speaker") / "models" / "tiny"
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = {token: number for number, token in enumerate(["<|endoftext|>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(tokens, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    end = "<|endoftext|>"
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=end, bos_token=end).save_pretrained(folder)
    set_seed(1)
    shape = {"n_layer": 1, "n_head": 1, "n_embd": 8, "n_positions": 16, "vocab_size": len(tokens)}
    GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=0, eos_token_id=0)).save_pretrained(folder)
    return folder


def test_chat_continues_every_line_it_is_piped(speaker: Path) -> None:
    result = _jokbo("chat", str(speaker), "--tokens", "3", folder=speaker, typed="a film\n\nnaïve\n")
    assert result.returncode == 0, result.stderr
    first, rest = result.stdout.split("a film", 1)
    assert first == ""
    assert "naïve" in rest
    assert result.stderr == ""


def test_chat_says_the_same_with_the_same_seed(speaker: Path) -> None:
    said = [
        _jokbo("chat", str(speaker), "--seed", seed, folder=speaker, typed="a\n").stdout
        for seed in ("1", "1", "2")
    ]
    assert said[0] == said[1] != said[2]


def test_chat_with_a_prompt_longer_than_the_context_goes_on_with_the_next(speaker: Path) -> None:
    result = _jokbo("chat", str(speaker), folder=speaker, typed="a very long prompt indeed\nb\n")
    assert result.returncode == 0
    assert result.stderr == "jokbo: the prompt has 25 tokens, no room to add any\n"
    assert result.stdout.startswith("b")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["chat", "models/none"], "models/none: no config.json there"),
        (["tree", "models/none"], "models/none: no ancestry.json there"),
        (["report"], "reports/report.html: not there yet"),
    ],
)
def test_what_is_not_there_is_one_line(tmp_path: Path, arguments: list[str], named: str) -> None:
    result = _jokbo(*arguments, folder=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith(f"jokbo: {named}")
    assert result.stderr.count("\n") == 1


def test_tree_names_parents_parameters_and_the_commit_of_each(project: Project) -> None:
    project.run("dvc", "repro", "finetune")
    result = _jokbo("tree", "models/finetune", folder=project.folder)
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert result.returncode == 0, result.stderr
    assert result.stdout.count(commit) == 2
    assert "models/pretrain  made by pretrain" in result.stdout
    assert "finetune.seed: 1" in result.stdout


def test_report_prints_where_it_is(tmp_path: Path) -> None:
    report = tmp_path / "reports" / "report.html"
    report.parent.mkdir()
    report.touch()
    assert _jokbo("report", folder=tmp_path).stdout == f"{report}\n"


def test_run_is_the_flow_and_ends_as_it_does(project: Project) -> None:
    project.edit("params.yaml", "pretrain:\n  seed: 1", "pretrain:\n  sed: 1")
    result = _jokbo("run", "--workers", "1", folder=project.folder)
    assert result.returncode == 2
    assert "pretrain.sed" in result.stderr
