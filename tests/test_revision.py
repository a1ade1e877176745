"""Critique and revision: what the model is asked in each turn, what is written, and that a stopped command goes on."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LlamaForCausalLM
from typer.testing import CliRunner

from jokbo.cli import app
from jokbo.data.conversations import turns
from jokbo.data.conversations.turns import USER, Turn, Turns
from jokbo.data.fetch.sources import read_source
from jokbo.params import FilesSource, Revision
from jokbo.revision import BATCH, Reviser, Settings, revise
from jokbo.runtime.errors import InputError
from tests.support import adopted, words
from tests.support.words import END, PADDING

WORDS = [*words.SPECIAL, "User", "Assistant", ":", "fault", "again", *(f"w{i}" for i in range(40))]
USERS = 3
PRINCIPLES = [Revision(critique=f"fault w{i}", revision=f"again w{i}") for i in (20, 30)]


class Counting(LlamaForCausalLM):
    """It answers with one word that says how many turns of a user it has read: w1, w2, w3; nothing to `mute`."""

    def __init__(self, context: int = 200, mute: str = "w39") -> None:
        super().__init__(words.configuration(WORDS, context))
        self.mute, self.read = WORDS.index(mute), []

    def forward(self, input_ids: Tensor, **_: Any) -> Any:
        logits_B1V = torch.full((len(input_ids), 1, len(WORDS)), -50.0)
        for row, tokens in enumerate(input_ids.tolist()):
            said = END
            if len(tokens) > 1:
                self.read.append([WORDS[token] for token in tokens if token != PADDING])
                said = END if self.mute in tokens else WORDS.index(f"w{tokens.count(USERS)}")
            logits_B1V[row, 0, said] = 50.0
        return SimpleNamespace(logits=logits_B1V)


def questions(count: int, word: int = 10) -> list[Turns]:
    return [(Turn(USER, f"w{word} w{10 + i % 10}"),) for i in range(count)]


def reviser(network: Any = None, reads: Any = None, **changes: Any) -> Reviser:
    own = {"rounds": 1, "tokens": 4, "temperature": 1.0, "seed": 1}
    return Reviser(
        network or Counting(), reads or words.tokenizer(WORDS), PRINCIPLES, Settings(**own | changes)
    )


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_question_answer_critique_and_revision_are_turns_of_one_conversation(tmp_path: Path) -> None:
    asked = reviser()
    revise(asked, questions(1), tmp_path / "out.jsonl", tmp_path / "kept")
    (row,) = rows(tmp_path / "out.jsonl")
    (said,) = row["rounds"]
    number = said["principle"]["critique"].split()[1]
    before = f"User : w10 w10 Assistant : w1 </s> User : fault {number} Assistant : w2 </s>"
    assert " ".join(asked.network.read[-1]) == f"{before} User : again {number} Assistant :"
    assert (row["answer"], said["critique"], said["revision"]) == ("w1", "w2", "w3")
    assert row["messages"] == [
        {"role": "user", "content": "w10 w10"},
        {"role": "assistant", "content": "w3"},
    ]


def test_a_later_round_begins_with_the_last_revision_and_draws_a_principle_of_its_own(tmp_path: Path) -> None:
    asked = reviser(rounds=3)
    revise(asked, questions(40), tmp_path / "out.jsonl", tmp_path / "kept")
    found = rows(tmp_path / "out.jsonl")
    assert "User : w10 w10 Assistant : w3 </s> User : fault" in " ".join(
        asked.network.read[6 * BATCH - BATCH]
    )
    drawn = [tuple(said["principle"]["critique"] for said in row["rounds"]) for row in found[:10]]
    assert len({len(set(own)) for own in drawn}) == 2  # some draw both in three rounds, some one alone
    assert drawn == [tuple(said["principle"]["critique"] for said in row["rounds"]) for row in found[10:20]]


def test_what_is_written_is_a_source_of_conversations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    revise(reviser(), questions(3), Path("data/local/revised.jsonl"), tmp_path / "kept")
    source = FilesSource.model_validate(
        {
            "licence": "made up",
            "language": "en",
            "kind": "files",
            "paths": "revised.jsonl",
            "format": "jsonl",
            "columns": {"messages": "messages"},
        }
    )
    read = list(read_source("revised", source, tmp_path, 10_000))
    assert [turns.turns_of(row["turns"])[-1].content for row in read] == ["w3"] * 3


def small(folder: Path) -> Path:
    roles = {"unk_token": "<unk>", "pad_token": "<unk>", "eos_token": "</s>"}
    reads = adopted.tokenizer("<unk>", "</s>", **roles)
    return adopted.save(folder / "small", reads, max_position_embeddings=2000)


def run(*words: str) -> Any:
    return CliRunner().invoke(app, ["revise", *words, "--tokens", "8"])


def test_a_stopped_command_goes_on_to_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small(tmp_path)
    Path("questions.txt").write_text("".join(f"What of number {i}?\n" for i in range(2 * BATCH + 3)))
    done = run("small", "questions.txt", "--out", "whole.jsonl")
    assert done.exit_code == 0, done.output
    assert Path("whole.jsonl").read_text() != ""

    written, batch = [], Reviser.batch

    def stops(own: Reviser, asked: Any, number: int) -> Any:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(number)
        return batch(own, asked, number)

    monkeypatch.setattr(Reviser, "batch", stops)
    assert run("small", "questions.txt", "--out", "again.jsonl").exit_code == 130
    assert not Path("again.jsonl").exists()
    written.clear()
    assert run("small", "questions.txt", "--out", "again.jsonl").exit_code == 0
    assert written == [2]
    assert Path("again.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()
    record = json.loads(Path("again.made.json").read_text())
    assert (record["model"], record["seed"], record["questions"]) == ("small", 1, 2 * BATCH + 3)

    monkeypatch.setattr(Reviser, "batch", batch)
    assert run("small", "questions.txt", "--out", "other.jsonl", "--seed", "2").exit_code == 0
    assert Path("other.jsonl").read_bytes() != Path("whole.jsonl").read_bytes()


def test_what_cannot_be_revised_is_counted_and_all_of_it_refused(tmp_path: Path) -> None:
    spelt, long = (Turn(USER, "w1 </s>"),), (Turn(USER, "w1 " * 190),)
    asked = [*questions(1), (Turn(USER, "w39"),), spelt, long]
    left_out = revise(reviser(), asked, tmp_path / "out.jsonl", tmp_path / "kept")
    assert left_out == {
        "it writes nothing": 1,
        "it spells a special token": 1,
        "it has no room in the model's context": 1,
    }
    assert len(rows(tmp_path / "out.jsonl")) == 1
    with pytest.raises(
        InputError, match="of 1 questions none is left: 1 because it writes nothing: give others"
    ):
        revise(reviser(), asked[1:2], tmp_path / "none.jsonl", tmp_path / "kept")
    assert not (tmp_path / "none.jsonl").exists()
    with pytest.raises(InputError, match="there is no question: give a file with one a line"):
        revise(reviser(), [], tmp_path / "none.jsonl", tmp_path / "kept")


def test_a_model_that_no_stage_has_fitted_is_refused() -> None:
    network = Counting()
    network.config.eos_token_id = [0, 1]
    reads = words.tokenizer(WORDS)
    reads.pad_token = None
    for given in ((network, None), (None, reads)):
        with pytest.raises(InputError, match=r"not one end of text: adopt it by pretrain\.start"):
            reviser(*given)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere", "questions.txt"], "jokbo: nowhere: no config.json there"),
        (["small", "nowhere.txt"], "jokbo: nowhere.txt: no such file: put the questions there"),
        (["small", "bad.jsonl"], "jokbo: bad.jsonl:1 has none of prompt, messages and conversations"),
        (["small", "questions.txt", "--out", "questions.txt"], "jokbo: questions.txt: it is there already"),
        (
            ["small", "questions.txt", "--constitution", "half.yaml"],
            "jokbo: half.yaml: revision is missing: add principles",
        ),
    ],
)
def test_what_is_wrong_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    small(tmp_path)
    Path("questions.txt").write_text("Why?\n")
    Path("bad.jsonl").write_text('{"text": "Why?"}\n')
    Path("half.yaml").write_text("comparison:\n- Which is better?\n")
    done = run(*words)
    assert (done.exit_code, done.output.count("\n")) == (2, 1), done.output
    assert done.output.startswith(said)
