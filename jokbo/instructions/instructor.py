"""A round of Self-Instruct (Wang et al. 2022): a model writes tasks by the example of seed tasks and of its own.

The model goes on with BATCH lists of instructions, each of 6 seeds and 2 that it wrote in earlier rounds. New ones that
pass the filters are kept. Of each it is asked whether it is classification, and to write instances of it: the input
first, or, of classification, the labels first.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property

from jokbo.data.keys import digest
from jokbo.instructions import asking, filters
from jokbo.instructions.kinds import Kinds
from jokbo.instructions.seeds import Task
from jokbo.instructions.writing import Beginning, Drawing, Writer, Written
from jokbo.models import access
from jokbo.preferences.weights import hash_of
from jokbo.runtime.errors import InputError

BATCH = 16  # lists that the model goes on with in a round
OWN = 2  # of the instructions in a list that the model wrote itself
IN_LIST = 120  # tokens that it adds to a list at most
EXAMPLES = 4  # tasks whose instances are shown
FEWEST_TOKENS = 10  # of an instruction for which there must be room
NO_ROOM = "it has no room in the model's context"


@dataclass(frozen=True)
class Settings:
    """How tasks are written."""

    seed: int
    temperature: float  # of instructions; instances are the likeliest text
    top_p: float
    tokens: int  # most of the instances of a task


@dataclass
class Candidate:
    """An instruction that a model wrote, and what became of it."""

    instruction: str
    left_out: str | None = None  # why it is not kept
    nearest_seed: float | None = None  # ROUGE-L
    classification: bool | None = None
    instances: list[dict[str, str]] = field(default_factory=list)
    instances_left_out: dict[str, int] = field(default_factory=dict)


Round = list[Candidate]  # in their order


@dataclass(frozen=True)
class Instructor:
    """A model that writes tasks, with the seeds that it is shown."""

    writer: Writer
    seeds: Sequence[Task]
    settings: Settings

    @cached_property
    def weights(self) -> str:
        """The hash of the network's weights."""
        return hash_of(self.writer.network).hexdigest()

    @cached_property
    def key(self) -> str:
        """The hash of all that decides what is written."""
        words = (asking.MORE, asking.KIND, asking.INPUT_FIRST, asking.OUTPUT_FIRST)
        sizes = (BATCH, OWN, IN_LIST, EXAMPLES, filters.MOST_ALIKE, filters.MOST_EXAMPLES)
        seeds = [task.model_dump() for task in self.seeds]
        decides = (self.weights, seeds, asdict(self.settings), words, sizes)
        return hashlib.sha256(repr(decides).encode()).hexdigest()

    @cached_property
    def room(self) -> int:
        """The most tokens of an instruction. InputError if the model's context leaves none."""
        context = access.context(self.writer.network)
        longest = sorted(
            (len(self.writer.encoded(f"10. {task.line}\n")) for task in self.seeds), reverse=True
        )
        shown = self._list.tokens + sum(longest[: asking.SHOWN]) + IN_LIST + FEWEST_TOKENS
        told = max(self._input_first.tokens, self._output_first.tokens) + self.settings.tokens + FEWEST_TOKENS
        room = min(
            (context - shown) // OWN, context - told, context - self.kinds.begun.tokens - FEWEST_TOKENS
        )
        if room < FEWEST_TOKENS:
            raise InputError(
                f"the seeds leave no room in the model's context of {context:,} tokens: shorten them, lower --tokens, "
                "or name another model"
            )
        return room

    def round(self, number: int, kept: Sequence[str]) -> Round:
        """Return what is written in the round of this number, given the instructions that are kept already."""
        rng = self._rng(f"round {number}")
        lists = [self._shown(rng, kept) for _ in range(BATCH)]
        drawing = Drawing(IN_LIST, self.settings.temperature, self.settings.top_p)
        written = self.writer.after(self._list, lists, asking.MORE_STOPS, drawing, rng.getrandbits(32))
        found = self._filtered(written, kept)
        new = [each for each in found if not each.left_out]
        if new:
            said = self.kinds.said([each.instruction for each in new])
            for each, classification in zip(new, said, strict=True):
                each.classification = classification
            for classification in (False, True):
                self._add_instances([each for each in new if each.classification is classification])
        return found

    def _shown(self, rng: random.Random, kept: Sequence[str]) -> str:
        own = rng.sample(kept, min(OWN, len(kept)))
        lines = own + [task.line for task in rng.sample(self.seeds, asking.SHOWN - len(own))]
        rng.shuffle(lines)
        return asking.more(lines)

    def _filtered(self, lists: Sequence[Written], kept: Sequence[str]) -> Round:
        """Return the instructions in the lists, each with the reason if it is left out."""
        seeds, pool, found = [task.line for task in self.seeds], list(kept), []
        ascii_only = all(seed[0].isascii() for seed in seeds)
        for written in lists:
            instructions, cut = asking.listed(written)
            found += [Candidate("", filters.CUT) for _ in range(cut)]
            for instruction in instructions:
                why = filters.unfit(instruction, ascii_only=ascii_only)
                if not why and len(self.writer.encoded(instruction)) > self.room:
                    why = NO_ROOM
                each = Candidate(instruction, why)
                found.append(each)
                if why:
                    continue
                each.nearest_seed = filters.nearest(instruction, seeds).rouge
                others = (filters.rouge(other, instruction) for other in pool)
                if each.nearest_seed >= filters.MOST_ALIKE or any(o >= filters.MOST_ALIKE for o in others):
                    each.left_out = filters.ALIKE
                else:
                    pool.append(instruction)
        return found

    def _add_instances(self, some: Round) -> None:
        """Have the model write instances of tasks that are all classification, or all not."""
        if not some:
            return
        labelled = bool(some[0].classification)
        ask = asking.asked_output_first if labelled else asking.asked_input_first
        begun = self._output_first if labelled else self._input_first
        likeliest = Drawing(self.settings.tokens)
        prompts = [ask(each.instruction) for each in some]
        written = self.writer.after(begun, prompts, asking.TASK_STOPS, likeliest, seed=0)
        for each, text in zip(some, written, strict=True):
            labels, found, cut = asking.with_labels(text) if labelled else (None, *asking.with_inputs(text))
            kept, left_out = filters.fit(found, labels, self._told)
            left_out += Counter({filters.CUT: cut, filters.UNREADABLE: int(not found and not cut)})
            each.instances, each.instances_left_out = [example._asdict() for example in kept], dict(left_out)

    @cached_property
    def kinds(self) -> Kinds:
        """By what the model says whether a task is classification."""
        return Kinds.of(self.writer, self.seeds, self._rng("kinds"))

    @cached_property
    def _told(self) -> set[str]:
        """Outputs of seeds of three words or more; a shorter one may well be right for another task."""
        outputs = (each.output for task in self.seeds for each in task.instances)
        return {output for output in outputs if len(output.split()) > 2}

    @cached_property
    def _list(self) -> Beginning:
        return self.writer.begun(asking.MORE)

    @cached_property
    def _input_first(self) -> Beginning:
        others = [task for task in self.seeds if not task.is_classification]
        both = (
            [task for task in others if bool(task.instances[0].input) is given] for given in (True, False)
        )
        rng = self._rng("input first")
        shown = [task for some in both for task in rng.sample(some, min(len(some), EXAMPLES // 2))]
        rng.shuffle(shown)
        return self.writer.begun(asking.INPUT_FIRST + "".join(map(asking.input_first, shown)))

    @cached_property
    def _output_first(self) -> Beginning:
        labelled = [task for task in self.seeds if task.is_classification]
        shown = self._rng("output first").sample(labelled, min(len(labelled), EXAMPLES))
        return self.writer.begun(asking.OUTPUT_FIRST + "".join(map(asking.output_first, shown)))

    def _rng(self, what: str) -> random.Random:
        return random.Random(digest(what, self.settings.seed))
