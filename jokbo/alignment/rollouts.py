"""Rollouts as records: what PPO's policy said, and what every network said of it, a row a response.

They are an output of the stage `ppo`, to be read, filtered and labelled. A run records each iteration in a folder
beside its checkpoints. An iteration that is done again after a stop is recorded again, with the same bytes.
Shapes: B responses, R tokens of a response at most.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from torch import Tensor

from jokbo.data.tables import assemble, shard_files, write_shards
from jokbo.models.access import end_of_text
from jokbo.sampling import Rollout

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_TOKENS, _NATS = pa.list_(pa.int32()), pa.list_(pa.float32())
SCHEMA = pa.schema(
    [
        ("iteration", pa.int64()),  # the first is 1
        ("prompt", pa.string()),
        ("response", pa.string()),
        ("ended", pa.bool_()),  # by itself, not by the limit of tokens
        ("reward", pa.float32()),  # the reward model's, less what a response without an end pays
        ("kl", pa.float32()),  # nats, of the whole response: the log ratio of policy and reference
        ("tokens", _TOKENS),  # of the response, its end of text among them; the lists below are as long
        ("log_probs", _NATS),  # of the policy that said it
        ("reference_log_probs", _NATS),
        ("values", _NATS),  # what was still to come, by the value network, before each token
    ]
)


@dataclass(frozen=True)
class Experience:
    """A rollout and what the networks say of it, on the CPU."""

    rollout: Rollout
    scores_B: Tensor  # the reward model's, less what a response without an end pays
    old_BR: Tensor  # log-probabilities of the tokens
    kl_BR: Tensor  # their log ratios to the reference; 0 off the responses
    entropy_BR: Tensor  # of what the tokens were drawn from, nats
    values_BR: Tensor

    def forward(self) -> dict[str, Tensor]:
        """Return what the networks gave, by name: what a rerun is compared by."""
        given = {"scores": self.scores_B, "log_probs": self.old_BR, "values": self.values_BR}
        return {"tokens": self.rollout.tokens_BS, **given}


def records(iteration: int, seen: Experience, tokenizer: PreTrainedTokenizerBase) -> Iterator[dict[str, Any]]:
    """Yield a row of SCHEMA for each response."""
    rollout = seen.rollout
    texts = zip(rollout.prompts(tokenizer), rollout.texts(tokenizer), strict=True)
    ended = rollout.ended_B(end_of_text(tokenizer)).tolist()
    for row, ((prompt, response), length) in enumerate(zip(texts, rollout.lengths_B.tolist(), strict=True)):
        old_R, kl_R = seen.old_BR[row, :length], seen.kl_BR[row, :length]
        start = rollout.prompt_tokens
        yield {
            "iteration": iteration,
            "prompt": prompt,
            "response": response,
            "ended": ended[row],
            "reward": seen.scores_B[row].item(),
            "kl": kl_R.sum().item(),
            "tokens": rollout.tokens_BS[row, start : start + length].tolist(),
            "log_probs": old_R.tolist(),
            "reference_log_probs": (old_R - kl_R).tolist(),
            "values": seen.values_BR[row, :length].tolist(),
        }


def keep(iteration: int, rows: Iterator[dict[str, Any]], folder: Path) -> None:
    """Write the rows of an iteration into a folder of its own."""
    own = folder / f"{iteration:05d}"
    shutil.rmtree(own, ignore_errors=True)
    write_shards(rows, own, SCHEMA)


def gather(folder: Path, iterations: list[int], path: Path) -> None:
    """Make one table, which `load_from_disk` opens, of those iterations that were kept in `folder`."""
    files = [file for each in iterations for file in shard_files(folder / f"{each:05d}")]
    assemble(files, path, SCHEMA)


def shown(seen: Experience, tokenizer: PreTrainedTokenizerBase, count: int = 8) -> str:
    """Return the first responses of a rollout to be read by people: reward, prompt | response."""
    prompts, responses = seen.rollout.prompts(tokenizer), seen.rollout.texts(tokenizer)
    rows = zip(seen.scores_B.tolist(), prompts, responses, strict=True)
    return "\n".join(f"{score:+.2f}  {prompt} |{text}" for score, prompt, text in list(rows)[:count]) + "\n"
