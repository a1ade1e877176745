"""Critique and revision: a model answers, finds fault with its answer by a principle, and writes it again.

This is the supervised half of Constitutional AI (Bai et al. 2022, section 3): a model is then fine-tuned on the last
revisions. Theirs is shown examples of critiques first; ours is asked in the turns of its chat template alone. Of later
rounds each begins with the question and the last revision.

Questions are answered in batches of BATCH, in their order. What a batch gives is a function of the seed and its number,
and is kept on disk, so that a command that was stopped goes on with the next one.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jokbo.chat import ends
from jokbo.data.conversations.chat import PLAIN, Chat, LeftOut
from jokbo.data.conversations.turns import ASSISTANT, USER, Turn, Turns, text_of
from jokbo.data.keys import digest
from jokbo.feedback.constitution import drawn
from jokbo.feedback.judge import left_padded
from jokbo.instructions.writing import check_fitted
from jokbo.models import access
from jokbo.params import Revision
from jokbo.preferences.weights import hash_of
from jokbo.runtime.errors import InputError
from jokbo.runtime.files import atomic_write_file, read_if_there, write_text
from jokbo.runtime.progress import progress
from jokbo.sampling import sample

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BATCH = 16  # questions
EMPTY, LONG = "it writes nothing", "it has no room in the model's context"


@dataclass(frozen=True)
class Settings:
    """How answers are revised."""

    rounds: int
    tokens: int  # most of an answer, a critique or a revision
    temperature: float
    seed: int


@dataclass(frozen=True)
class Reviser:
    """A model that revises its own answers."""

    network: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    principles: Sequence[Revision]
    settings: Settings

    def __post_init__(self) -> None:
        """Raise InputError, one line, for a model that no stage has fitted for sampling."""
        check_fitted(self.network, self.tokenizer)

    @cached_property
    def weights(self) -> str:
        """The hash of the network's weights."""
        return hash_of(self.network).hexdigest()

    def key(self, questions: Sequence[Turns]) -> str:
        """Return the hash of all that decides what is written: weights, template, principles, questions, settings."""
        principles = [each.model_dump() for each in self.principles]
        template = Chat.of(self.tokenizer).template
        decides = (self.weights, template, principles, questions, asdict(self.settings), BATCH)
        return hashlib.sha256(repr(decides).encode()).hexdigest()

    def batch(self, questions: Sequence[Turns], number: int) -> list[dict[str, Any]]:
        """Return a row for each question of the batch of this number: what was said, or why it is left out."""
        writer = _Writer(self, Chat.of(self.tokenizer), number)
        asked = questions[number * BATCH : (number + 1) * BATCH]
        rows: list[dict[str, Any]] = [{"rounds": []} for _ in asked]
        for row, answer in zip(rows, writer.after(asked, rows), strict=True):
            row["answer"] = row["last"] = answer
        for round in range(self.settings.rounds):
            drawn_ = [
                drawn(self.principles, self.settings.seed, f"{round}\0{text_of(each)}") for each in asked
            ]
            talks = [
                (*turns, Turn(ASSISTANT, row["last"]), Turn(USER, own.critique))
                for turns, row, own in zip(asked, rows, drawn_, strict=True)
            ]
            critiques = writer.after(talks, rows)
            talks = [
                (*talk, Turn(ASSISTANT, critique), Turn(USER, own.revision))
                for talk, critique, own in zip(talks, critiques, drawn_, strict=True)
            ]
            revisions = writer.after(talks, rows)
            for row, own, critique, revision in zip(rows, drawn_, critiques, revisions, strict=True):
                said = {"principle": own.model_dump(), "critique": critique, "revision": revision}
                row["rounds"].append(said)
                row["last"] = revision
        return [_row(*each) for each in zip(asked, rows, strict=True)]


def revise(reviser: Reviser, questions: Sequence[Turns], out: Path, kept: Path) -> Counter[str]:
    """Write a jsonl file, a conversation a line that ends with the last revision; return how many questions are left
    out, by reason.

    kept: a folder for what is done so far. InputError if no question is left.
    """
    if not questions:
        raise InputError("there is no question: give a file with one a line")
    folder = kept / reviser.key(questions)
    rows: list[dict[str, Any]] = []
    for number in progress(range(-(-len(questions) // BATCH)), "answers are revised"):
        file = folder / f"{number}.json"
        if (done := read_if_there(file)) is None:
            done = reviser.batch(questions, number)
            write_text(file, json.dumps(done, ensure_ascii=False) + "\n")
        rows += done
    left_out = Counter(row["left_out"] for row in rows if "left_out" in row)
    written = [row for row in rows if "left_out" not in row]
    if not written:
        why = ", ".join(f"{count:,} because {reason}" for reason, count in left_out.most_common())
        raise InputError(
            f"of {len(questions):,} questions none is left: {why}: give others, or another model"
        )
    with atomic_write_file(out) as opened:
        opened.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in written)
    shutil.rmtree(folder)
    return left_out


def _row(turns: Turns, row: dict[str, Any]) -> dict[str, Any]:
    if "left_out" in row:
        return {"left_out": row["left_out"]}
    messages = [turn._asdict() for turn in (*turns, Turn(ASSISTANT, row["last"]))]
    return {"messages": messages, "answer": row["answer"], "rounds": row["rounds"]}


class _Writer:
    """What writes for a batch, each time from random numbers of its own."""

    def __init__(self, reviser: Reviser, chat: Chat, batch: int) -> None:
        self.reviser, self.chat, self.batch, self.times = reviser, chat, batch, 0
        self.ends = {*ends(chat), access.end_of_text(reviser.tokenizer)}

    def after(self, talks: Sequence[Turns], rows: Sequence[dict[str, Any]]) -> list[str]:
        """Return what the model says next in each conversation; nothing for a row that is left out, or is from now
        on."""
        own, settings = self.reviser, self.reviser.settings
        prompts: dict[int, list[int]] = {}
        for i, (talk, row) in enumerate(zip(talks, rows, strict=True)):
            if "left_out" not in row:
                try:
                    prompts[i] = self._prompt(talk)
                except LeftOut as why:
                    row["left_out"] = str(why)
        said = [""] * len(talks)
        self.times += 1
        if prompts:
            rollout = sample(
                own.network,
                left_padded(list(prompts.values()), access.padding(own.tokenizer)),
                response_tokens=settings.tokens,
                temperature=settings.temperature,
                seed=_seed(settings.seed, self.batch, self.times),
            )
            for i, tokens in zip(
                prompts, rollout.tokens_BS[:, rollout.prompt_tokens :].tolist(), strict=True
            ):
                said[i] = self._text(tokens)
                if not said[i]:
                    rows[i]["left_out"] = EMPTY
        return said

    def _prompt(self, talk: Turns) -> list[int]:
        """Return the tokens of a conversation up to where the model is to go on. LeftOut if they leave no room."""
        tokens = self.chat.rendered(talk).tokens
        if len(tokens) + self.reviser.settings.tokens > access.context(self.reviser.network):
            raise LeftOut(LONG)
        return tokens

    def _text(self, tokens: list[int]) -> str:
        """Return what is said up to the end of the turn."""
        end = next((i for i, token in enumerate(tokens) if token in self.ends), len(tokens))
        text = str(self.reviser.tokenizer.decode(tokens[:end], skip_special_tokens=True))
        if self.chat.name == PLAIN.name:  # which a model that has not learned it goes on with by itself
            text = text.partition("\n\nUser:")[0]
        return text.strip()


def _seed(seed: int, batch: int, time: int) -> int:
    return int.from_bytes(digest(f"{batch} {time}", seed)[:4], "big")


def made(reviser: Reviser, questions: Sequence[Turns], model: Path, left_out: Counter[str]) -> dict[str, Any]:
    """Return what a file of revisions was made from."""
    return {
        "key": reviser.key(questions),
        "model": str(model),
        "weights": reviser.weights,
        "questions": len(questions),
        "left_out": dict(left_out),
        "principles": [each.model_dump() for each in reviser.principles],
        **asdict(reviser.settings),
    }
