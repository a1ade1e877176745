"""All pairs of a prompt as one element, against the same pairs read one by one."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
import torch

from jokbo.alignment import elements, labels, reward
from jokbo.params import HARD, HardLabels, SoftLabels
from tests.alignment.test_dpo import tokenizer
from tests.support.networks import network

CONTEXT = 12


def row(prompt: str, first: str, second: str, choice: int | None = 0) -> dict[str, Any]:
    return {"prompt": prompt, "responses": [first, second], "choice": choice, "agreement": 0.9}


def ranking(prompt: str, *best_first: str) -> list[dict[str, Any]]:
    return [row(prompt, *pair) for pair in combinations(best_first, 2)]


ROWS = [
    *ranking("w2 w3 ", "w5", "w6 w7 w8", "w9 w10", "w11"),  # 4 choose 2 pairs
    row("w4 ", "w12 w13", "w14", 1),
    row("w4 ", "w12 w13", "w14", 0),  # of another person
    row("", "w20 w21", "w22"),
    row("", "w20 w21", "w23", None),
    *ranking("w30 ", "w31", "w32 w33 w34 w35", "w36"),
]
WEIGHTS = [1 / 6] * 6 + [1 / 2] * 2 + [1, 1] + [1 / 3] * 3  # of the pairs, by their prompts
PROMPTS = 5


def whole(settings: Any = HARD, rows: list[dict[str, Any]] = ROWS) -> elements.Elements:
    sides = reward.encode(tokenizer(), rows, CONTEXT)
    return elements.of_pairs(rows, sides, labels.labels_of(rows, settings), network())


@pytest.mark.parametrize(
    "settings",
    [
        HARD,
        HardLabels(kind="hard", smoothing=0.1, margin=0.5),
        SoftLabels(kind="soft", smoothing=0.0),
    ],
)
def test_loss_and_gradients_are_those_of_pair_by_pair_with_the_papers_weights(settings: Any) -> None:
    net = reward.on_policy(network(), seed=0).eval()
    batch = whole(settings).batch(torch.arange(PROMPTS))
    loss, metrics = elements.CompareAll(net)(**batch)
    loss.backward()
    found = {name: each.grad.clone() for name, each in net.named_parameters() if each.grad is not None}
    net.zero_grad()
    total, right = 0.0, 0.0
    made = labels.labels_of(ROWS, settings)
    for number, each in enumerate(ROWS):
        sides = reward.encode(tokenizer(), [each], CONTEXT)
        one = slice(number, number + 1)
        part, of_pair = reward.Compare(net)(*sides, made.probability_N[one], made.margin_N[one])
        (part * WEIGHTS[number] / PROMPTS).backward()
        total += part.item() * WEIGHTS[number] / PROMPTS
        right += of_pair["accuracy"].item() * WEIGHTS[number] / PROMPTS
    assert loss.item() == pytest.approx(total, rel=1e-5)
    assert metrics["accuracy"].item() == pytest.approx(right, rel=1e-5)
    for name, each in net.named_parameters():
        if name in found:
            torch.testing.assert_close(found[name], each.grad, rtol=1e-3, atol=1e-5)
    assert "score.weight" in found


def test_each_response_is_read_once() -> None:
    net, read = reward.on_policy(network(), seed=0), []
    net.base_model.register_forward_pre_hook(
        lambda module, args, given: read.append(given["input_ids"]), with_kwargs=True
    )
    elements.CompareAll(net)(**whole().batch(torch.arange(PROMPTS)))
    (tokens,) = read
    assert len(tokens) == 4 + 2 + 2 + 2 + 3
    alone = [row for row in ROWS if row["prompt"]]
    elements.CompareAll(net)(**whole(rows=alone).batch(torch.tensor([2, 0, 1])))
    assert len(read[1]) == len(read[1].unique(dim=0)) == 9


def test_a_batch_is_a_function_of_its_step_and_every_prompt_is_in_an_epoch_once() -> None:
    rows = [*ROWS, *ranking("w50 ", "w51", "w52", "w53")]
    at, again = (elements.batches(whole(rows=rows), 2, 1) for _ in range(2))
    assert all(torch.equal(each, again(2)[key]) for key, each in at(2).items())
    sizes = [size for step in range(24) for size in at(step)["responses_B"].tolist()]  # eight epochs
    assert sorted(sizes) == sorted([4, 2, 2, 2, 3, 3] * 8)


def test_the_parts_of_a_batch_have_its_loss_as_their_mean() -> None:
    """As micro-batches and ranks see it."""
    net = reward.on_policy(network(), seed=0).eval()
    batch = whole(rows=ROWS[:-3]).batch(torch.arange(4))
    loss = elements.CompareAll(net)
    parts = [
        loss(**{key: value[half] for key, value in batch.items()})[0] for half in (slice(2), slice(2, 4))
    ]
    assert loss(**batch)[0].item() == pytest.approx(sum(part.item() for part in parts) / 2, rel=1e-5)
