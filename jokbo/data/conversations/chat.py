"""Conversations as tokens, by a chat template, with a mask of what the assistant says.

A template is Jinja: the user's, the tokenizer's own, or chat.jinja beside this file. It writes a conversation as text.
Which part of the text is an answer is found by writing less of the conversation: all before the answer with the
generation prompt, and all up to its end. Each must be the beginning of the whole. So the mask does not depend on
`{% generation %}`, which few templates have.

An answer is tokenized after what comes before it, and no token crosses from one to the other: a model is asked with the
very tokens after which it learned to answer. Its end of turn is learned with it. The last answer ends with the end of
text, by which responses end everywhere in the chain; where the template writes none, it is put there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from jokbo.data.conversations.turns import ASSISTANT, SYSTEM, USER, Turn, Turns, without_system
from jokbo.models import access
from jokbo.runtime.errors import InputError, line_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PLAIN = Path(__file__).with_suffix(".jinja")

# why a conversation cannot be read whole, or at all
LONG_ANSWER = "its last answer is longer than prompts.response_tokens"
LONG_PROMPT = "its last question is longer than prompts.prompt_tokens"
SPECIAL = "it spells a special token"


class LeftOut(Exception):
    """A conversation that the policy cannot read. Its one argument says why."""


@dataclass(frozen=True)
class Rendered:
    """A conversation as tokens."""

    tokens: list[int]
    learned: list[bool]  # whether a token is the assistant's, its ends of turn among them
    prompt_tokens: int  # before the last answer
    turns_left_out: int = 0  # the oldest ones, for which there was no room


@dataclass(frozen=True)
class Chat:
    """A chat template with the tokenizer that reads what it writes."""

    tokenizer: PreTrainedTokenizerBase
    template: str
    name: str  # what errors call it

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase, file: Path | None = None) -> Chat:
        """Return the chat with the template in a file; without one with the tokenizer's own, or the plain one.

        Raises InputError if the file cannot be read or the template writes the date.
        """
        if file is not None:
            try:
                template, name = file.read_text("utf-8"), str(file)
            except (OSError, UnicodeDecodeError) as error:
                raise InputError(
                    f"prompts.template: {file} cannot be read ({error}): put it there"
                ) from error
        elif tokenizer.chat_template:
            template, name = tokenizer.get_chat_template(), "the tokenizer's chat template"
        else:
            template, name = PLAIN.read_text("utf-8"), PLAIN.name
        if "strftime_now" in template:
            raise InputError(
                f"{name} writes the date, so that no run could be repeated: give prompts.template"
            )
        return cls(tokenizer, template, name)

    @cached_property
    def _special(self) -> list[str]:
        return special_tokens(self.tokenizer)

    def text(self, turns: Turns, *, ask: bool) -> str:
        """Return what the template writes; with `ask`, up to where the assistant is to go on.

        Raises InputError if it does not compile or refuses the turns.
        """
        messages = [turn._asdict() for turn in turns]
        try:
            return cast(
                str,
                self.tokenizer.apply_chat_template(
                    messages, chat_template=self.template, add_generation_prompt=ask, tokenize=False
                ),
            )
        except Exception as error:  # whatever the template's own code raises
            why = f"{self.name} fails ({line_of(error)})"
            raise InputError(f"{why}: correct it, or give prompts.template") from error

    def parts(self, turns: Turns) -> Iterator[tuple[str, bool]]:
        """Yield the text of a conversation in parts, and of each whether the assistant says it.

        Raises InputError if the template leaves out a turn, or writes one differently for what comes after it.
        """
        whole, written, asked = self.text(turns, ask=False), 0, 0
        for number, turn in enumerate(turns):
            if turn.role == ASSISTANT:
                before, after = self.text(turns[:number], ask=True), self.text(turns[: number + 1], ask=False)
                if not (whole.startswith(after) and after.startswith(before) and len(before) >= written):
                    why = f"writes the beginning of a conversation otherwise once turn {number + 1} follows"
                    raise InputError(f"{self.name} {why}: give prompts.template one that does not")
                question, answer = whole[written : len(before)], after[len(before) :]
                self._check(turns[asked:number], question)
                self._check_answer(turn, answer)
                yield question, False
                yield answer, True
                written, asked = len(after), number + 1
        if len(turns) > asked:
            rest = self.text(turns, ask=True)
            if not rest.startswith(whole[:written]):
                why = "writes the beginning of a conversation otherwise where it asks for an answer"
                raise InputError(f"{self.name} {why}: give prompts.template one that does not")
            self._check(turns[asked:], rest[written:])
            yield rest[written:], False

    def exchange(self, asked: Turns, answer: str) -> tuple[str, str]:
        """Return what the template writes before an answer, and the answer as it follows, but for the end of its turn.

        So stand the prompt and the response in a table of preferences. Raises as `rendered` does.
        """
        said = answer.strip()
        turns = (*asked, Turn(ASSISTANT, said))
        self._check_spelling(turns)
        *before, last = (text for text, _ in self.parts(turns))
        return "".join(before), last[: last.index(said) + len(said)]

    def wrote(self, text: str) -> bool:
        """Return whether a text ends as the template ends a question that is to be answered."""
        end = self._after_question.strip()
        return bool(end) and text.rstrip().endswith(end)

    @cached_property
    def _after_question(self) -> str:
        question = "What is it?"
        return self.text((Turn(USER, question),), ask=True).rpartition(question)[2]

    def _check_spelling(self, turns: Turns) -> None:
        """Raise LeftOut if a turn spells a special token."""
        if any(token in turn.content for turn in turns for token in self._special):
            raise LeftOut(SPECIAL)

    def _check(self, turns: Turns, text: str) -> None:
        """Raise InputError if one of the turns is not in the text, after those before it."""
        begin = 0
        for turn in turns:
            found = text.find(turn.content.strip(), begin)
            if found < 0:
                raise InputError(
                    f"{self.name} leaves out a {turn.role} turn: give prompts.template one that does not"
                )
            begin = found + len(turn.content.strip())

    def _check_answer(self, turn: Turn, text: str) -> None:
        """Raise InputError if the text does not begin with the answer."""
        if turn.content.strip() not in text:
            raise InputError(
                f"{self.name} leaves out an {ASSISTANT} turn: give prompts.template one that does not"
            )
        if not text.lstrip().startswith(turn.content.strip()):
            why = "does not write before a question's end what it writes before an answer (add_generation_prompt)"
            raise InputError(f"{self.name} {why}: give prompts.template one that does")

    def rendered(self, turns: Turns) -> Rendered:
        """Return a conversation that ends with an answer, or with a question, as tokens.

        Raises LeftOut if a turn spells a special token, and InputError as `parts` does.
        """
        self._check_spelling(turns)
        end = access.end_of_text(self.tokenizer)
        text, tokens, learned, prompt_tokens = "", [], [], 0
        for part, said in self.parts(turns):
            own = self._after(text, tokens, part)
            ends = own.index(end) + 1 if said and end in own else len(own)
            if said:
                prompt_tokens = len(tokens)
            text += part
            tokens += own
            learned += [said] * ends + [False] * (len(own) - ends)
        if turns[-1].role != ASSISTANT:
            return Rendered(tokens, learned, len(tokens))
        last = max(i for i, said in enumerate(learned) if said)  # a template may write a new line after it
        tokens, learned = tokens[: last + 1], learned[: last + 1]
        if tokens[-1] != end:
            tokens, learned = [*tokens, end], [*learned, True]
        return Rendered(tokens, learned, prompt_tokens)

    def _after(self, text: str, tokens: list[int], part: str) -> list[int]:
        """Return the tokens of a part that stands after a text of these tokens."""
        longer = self._encoded(text + part)
        return longer[len(tokens) :] if longer[: len(tokens)] == tokens else self._encoded(part)

    def _encoded(self, text: str) -> list[int]:
        return cast(Any, self.tokenizer(text, add_special_tokens=False))["input_ids"]

    def fitted(self, turns: Turns, prompt_tokens: int, response_tokens: int) -> Rendered:
        """Return a conversation without its oldest turns, so many that what is before the last answer fits.

        The system prompt, the last question and the last answer stay. Raises LeftOut if these are too long, and as
        `rendered` does.
        """
        system = turns[:1] if turns[0].role == SYSTEM else ()
        spoken = without_system(turns)
        least = 2 if turns[-1].role == ASSISTANT else 1
        for left_out in range(0, len(spoken), 2):
            found = self.rendered((*system, *spoken[left_out:]))
            if len(found.tokens) - found.prompt_tokens > response_tokens:
                raise LeftOut(LONG_ANSWER)
            if found.prompt_tokens <= prompt_tokens:
                return replace(found, turns_left_out=left_out)
            if len(spoken) - left_out <= least:
                break
        raise LeftOut(LONG_PROMPT)


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Return what a tokenizer reads as special tokens, wherever they stand in a text."""
    tokens = cast(Any, tokenizer).added_tokens_decoder.values()
    return [token.content for token in tokens if token.special]
