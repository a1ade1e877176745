"""A language model that writes by rule: what it says is a function of the whole text before, as a real one's is.

Each character is a token. What it has read it keeps in the cache, as keys.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import AutoConfig, DynamicCache, LlamaForCausalLM, PreTrainedTokenizerFast

from jokbo.instructions import asking, seeds
from jokbo.instructions.instructor import Instructor, Settings
from jokbo.instructions.writing import Writer

MERGES = [("Ġ", "Y"), ("ĠY", "e"), ("ĠYe", "s"), ("Ġ", "N"), ("ĠN", "o")]
TOKENS = [
    "</s>",
    "<pad>",
    *sorted(pre_tokenizers.ByteLevel.alphabet()),
    *("".join(pair) for pair in MERGES),
]
TEXTS = ["", "", *(token.replace("Ġ", " ").replace("Ċ", "\n") for token in TOKENS[2:])]
END, PADDING = 0, 1
VERBS, NOUNS = ("Name", "Sort", "Count", "Describe", "Compare"), [f"thing{i}" for i in range(12)]
UNFIT = ("Draw a picture of it", "Go on", "- begin with a dash please", "")
AFTER = {  # what is written of tasks, by the verb; Sort is classification
    "Name": "Output: one and two\n\nTask: ",
    "Count": "Input: a\nOutput: 1\nInput: a\nOutput: 2\n\nTask: ",
    "Describe": "Input: left\nOutput: right\nInput: up\nOutput: down\nInput: a\nOutput: some of them\nInput: cut\n"
    "Output:" + " on" * 60,
    "Compare": "What do you mean?\n\nTask: ",
    "Sort": " Big, Small\nLabel: Big\nInput: whale\nLabel: Tiny\nInput: flea\nLabel: Small\nInput: ant\n\nTask: ",
}
SEEDS = [
    *(("Sort", True, f"Sort {noun} into big or small things") for noun in ("whales", "ants", "trees", "seeds")),
    *(("Name", False, f"Name {what} that are found at {what}{what}") for what in "abcdef"),
]  # fmt: skip


def tokenizer(merges: Sequence[tuple[str, str]] = MERGES) -> PreTrainedTokenizerFast:
    """Return a tokenizer of characters, but for the words Yes and No after a space."""
    made = Tokenizer(models.BPE({token: i for i, token in enumerate(TOKENS)}, list(merges)))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="</s>", pad_token="<pad>", clean_up_tokenization_spaces=False
    )


class Scripted(LlamaForCausalLM):
    """It goes on with a text by a rule: what it is asked, and what it was shown last, to all that it then writes."""

    def __init__(self, rule: Callable[[str, str], str], context: int = 4000) -> None:
        sizes = {"num_hidden_layers": 1, "hidden_size": 4, "intermediate_size": 4, "num_attention_heads": 1}
        more = {"vocab_size": len(TOKENS), "max_position_embeddings": context}
        super().__init__(
            AutoConfig.for_model("llama", **sizes, **more, eos_token_id=END, pad_token_id=PADDING)
        )
        self.rule = rule
        for weight in self.parameters():
            weight.data.zero_()  # by which two of them are the same model

    def forward(self, input_ids: Tensor, past_key_values: DynamicCache, **_: Any) -> Any:
        keys_B1T1 = input_ids[:, None, :, None].float()
        read_B1T1, _ = past_key_values.update(keys_B1T1, keys_B1T1, 0)
        logits_B1V = torch.full((len(input_ids), 1, len(TOKENS)), -50.0)
        for row, tokens in enumerate(read_B1T1[:, 0, :, 0].long().tolist()):
            text = "".join(TEXTS[token] for token in tokens)
            if text.startswith(asking.KIND):
                sorts = text.rsplit("Task: ", 1)[1].startswith("Sort")
                logits_B1V[row, 0, TOKENS.index("ĠYes")] = 5.0 if sorts else 0.0
                logits_B1V[row, 0, TOKENS.index("ĠNo")] = 10.0  # which is always the likelier word
                continue
            logits_B1V[row, 0, self._following(text)] = 50.0
        return SimpleNamespace(logits=logits_B1V)

    def _following(self, text: str) -> int:
        for asked, begins in (
            (asking.MORE, "\n9."),
            (asking.INPUT_FIRST, "\nTask: "),
            (asking.OUTPUT_FIRST, "\nTask: "),
        ):
            if text.startswith(asked) and begins in text:
                shown, so_far = text.split("\n9.", 1) if asked == asking.MORE else _last_task(text, asked)
                said = self.rule(asked, shown)
                return TEXTS.index(said[len(so_far)]) if len(so_far) < len(said) else END
        return END


def _last_task(text: str, asked: str) -> tuple[str, str]:
    """Return the instruction that is asked about, and what is written of it so far."""
    begins = "\nLabels:" if asked == asking.OUTPUT_FIRST else "\n"
    instruction, _, so_far = text.rpartition("\nTask: ")[2].partition(begins)
    return instruction, so_far


def writes(asked: str, shown: str) -> str:
    """Return a list of instructions that depends on those that were shown, or what AFTER says of a task."""
    if asked != asking.MORE:
        return AFTER[shown.split()[0]]
    rng = random.Random(shown)
    lines = []
    for _ in range(rng.randint(1, 5)):
        words = f"{rng.choice(NOUNS)} before {rng.choice(NOUNS)} and {rng.choice(NOUNS)}"
        lines.append(rng.choice(UNFIT) if rng.random() < 0.2 else f"{rng.choice(VERBS)} {words}")
    return "".join(f" {line}\n{10 + i}." for i, line in enumerate(lines)) + "\n\n"


def nothing(asked: str, shown: str) -> str:
    return ""


def write_seeds(file: Path) -> Path:
    """Write ten seed tasks, four of them classification."""
    instances = {
        "Sort": [{"input": "elephant", "output": "Big"}, {"input": "mouse", "output": "Small"}],
        "Name": [{"input": "", "output": "some of them"}],
    }
    rows = [
        {"instruction": instruction, "is_classification": kind, "instances": instances[verb]}
        for verb, kind, instruction in SEEDS
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def instructor(
    folder: Path, rule: Callable[[str, str], str] = writes, context: int = 4000, **changes: Any
) -> Instructor:
    """Return one whose model writes by rule, with ten seeds."""
    read = seeds.read(write_seeds(folder / "seeds.jsonl"))
    settings: dict[str, Any] = {"seed": 1, "temperature": 1.0, "top_p": 0.9, "tokens": 120}
    return Instructor(Writer(Scripted(rule, context), tokenizer()), read, Settings(**settings | changes))
