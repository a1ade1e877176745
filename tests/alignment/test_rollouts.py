"""Rollouts as records: what was said and what every network said of it, one row a response."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from datasets import load_from_disk

from jokbo.alignment import rollouts
from jokbo.alignment.rollouts import Experience
from jokbo.sampling import response_log_probs, sample
from tests.support.networks import END, PADDING, network, tokens

PROMPT, ANSWER = 3, 6


class Tokenizer:
    eos_token_id, pad_token_id = END, PADDING

    def batch_decode(self, rows: torch.Tensor | list[list[int]], **_: object) -> list[str]:
        return [" ".join(str(int(token)) for token in row) for row in rows]


def seen(seed: int = 1) -> Experience:
    policy, reference = network(seed=3), network(seed=4)
    rollout = sample(policy, tokens(3, PROMPT), response_tokens=ANSWER, temperature=1.0, seed=seed)
    with torch.no_grad():
        old_BR, theirs_BR = (
            response_log_probs(each.eval(), rollout.tokens_BS, PROMPT, 1.0) for each in (policy, reference)
        )
    kl_BR = (old_BR - theirs_BR) * rollout.mask_BR
    values_BR = torch.arange(3.0 * ANSWER).view(3, ANSWER)
    return Experience(rollout, torch.tensor([0.5, -1.0, 2.0]), old_BR, kl_BR, old_BR, values_BR)


def test_a_row_holds_its_response_and_what_each_network_said_of_its_tokens() -> None:
    made = seen()
    rows = list(rollouts.records(5, made, Tokenizer()))
    for row, length, tokens_S in zip(
        rows, made.rollout.lengths_B.tolist(), made.rollout.tokens_BS, strict=True
    ):
        assert row["iteration"] == 5
        assert row["tokens"] == tokens_S[PROMPT : PROMPT + length].tolist()
        assert row["ended"] == (row["tokens"][-1] == END)
        assert {len(row[name]) for name in ("log_probs", "reference_log_probs", "values")} == {length}
        ratio = sum(row["log_probs"]) - sum(row["reference_log_probs"])
        assert row["kl"] == pytest.approx(ratio, abs=1e-4)
    assert [row["reward"] for row in rows] == [0.5, -1.0, 2.0]


def test_iterations_become_one_table_and_one_done_again_stands_there_once(tmp_path: Path) -> None:
    for iteration, seed in ((2, 1), (4, 1), (4, 2), (5, 1)):
        rollouts.keep(iteration, rollouts.records(iteration, seen(seed), Tokenizer()), tmp_path / "kept")
    rollouts.gather(tmp_path / "kept", [2, 4], tmp_path / "all")
    table = load_from_disk(str(tmp_path / "all"))
    assert table["iteration"] == [2, 2, 2, 4, 4, 4]
    assert table["response"][3:] == [row["response"] for row in rollouts.records(4, seen(2), Tokenizer())]


def test_samples_are_shown_with_reward_prompt_and_response() -> None:
    lines = rollouts.shown(seen(), Tokenizer(), count=2).splitlines()
    assert len(lines) == 2
    assert re.match(r"^\+0\.50  [\d ]+ \|", lines[0])


def test_the_text_of_a_prompt_is_without_the_padding_before_it() -> None:
    prompts = tokens(2, PROMPT)
    prompts[1, :2] = PADDING
    rollout = sample(network(), prompts, response_tokens=ANSWER, temperature=1.0, seed=1)
    assert rollout.prompts(Tokenizer()) == [" ".join(map(str, prompts[0].tolist())), str(int(prompts[1, 2]))]
