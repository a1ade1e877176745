"""DPO's loss against equation 7 written out, and what it reads."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from jokbo.alignment import dpo, labels
from jokbo.params import HARD, HardLabels, SoftLabels
from jokbo.runtime import tracking
from jokbo.training import engine
from jokbo.training.job import Job
from tests.support.networks import END, PADDING, VOCABULARY, compute, network, training

WORDS = {"end": END, "padding": PADDING} | {f"w{number}": number for number in range(2, VOCABULARY)}


def tokenizer() -> PreTrainedTokenizerFast:
    made = Tokenizer(WordLevel(WORDS, unk_token="end"))
    made.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="end", pad_token="padding")


def row(prompt: str, *responses: str, choice: int = 0) -> dict[str, Any]:
    return {"prompt": prompt, "responses": list(responses), "choice": choice, "agreement": 1.0}


ROWS = [
    row("w2 w3 w4", "w5 w6", "w7", choice=1),
    row("w2", "w8 w9 w10 w11", "w12 w13"),
    row("w20 w21", "w22", "w23 w24 w25 w26 w27"),
    row("w30 w31 w32", "w33 w34", "w35 w36", choice=1),
]


def encoded(rows: list[dict[str, Any]] = ROWS, context: int = 12) -> dpo.Sides:
    return dpo.encode(tokenizer(), rows, context)[0]


def slow_log_prob(net: PreTrainedModel, prompt: str, response: str) -> float:
    """The sum over the tokens of a response, its end among them, of the log of their softmax: token by token."""
    sequence = [WORDS[word] for word in prompt.split()]
    total = 0.0
    for token in [*(WORDS[word] for word in response.split()), END]:
        with torch.no_grad():
            logits = net(input_ids=torch.tensor([sequence])).logits[0, -1].double().tolist()
        total += logits[token] - math.log(sum(math.exp(logit) for logit in logits))
        sequence.append(token)
    return total


def slow_loss(policy: PreTrainedModel, reference: PreTrainedModel, beta: float) -> float:
    """Equation 7 of Rafailov et al. 2023, a pair after the other."""
    losses = []
    for each in ROWS:
        winner, loser = each["responses"][each["choice"]], each["responses"][1 - each["choice"]]
        ratio = {
            response: slow_log_prob(policy, each["prompt"], response)
            - slow_log_prob(reference, each["prompt"], response)
            for response in (winner, loser)
        }
        inside = beta * ratio[winner] - beta * ratio[loser]
        losses.append(-math.log(1 / (1 + math.exp(-inside))))
    return sum(losses) / len(losses)


def batch(sides: dpo.Sides, reference_N2: Tensor) -> dict[str, Tensor]:
    return {"tokens_B2S": sides.tokens_N2S, "response_B2T": sides.response_N2T, "reference_B2": reference_N2}


@pytest.mark.parametrize("beta", [0.1, 0.7])
def test_the_loss_is_equation_7(beta: float) -> None:
    policy, reference, sides = network(seed=1).eval(), network(seed=2).eval(), encoded()
    loss, metrics = dpo.DpoLoss(policy, beta)(
        **batch(sides, dpo.reference_log_probs(reference, sides, "fp32"))
    )
    assert loss.item() == pytest.approx(slow_loss(policy, reference, beta), rel=1e-4)
    assert 0 <= metrics["accuracy"].item() <= 1


@pytest.mark.parametrize(
    ("settings", "probability", "offset"),
    [
        (HardLabels(kind="hard", smoothing=0.1, margin=0.5), 0.9, 0.5),
        (SoftLabels(kind="soft", smoothing=0.0), 0.7, 0.0),
    ],
)
def test_labels_make_it_a_cross_entropy_with_an_offset(
    settings: Any, probability: float, offset: float
) -> None:
    policy, rows = network(seed=1).eval(), [row("w2 w3", "w5 w6", "w7")] * 4
    rows = [each | {"probability": 0.7} for each in rows] if settings.kind == "soft" else rows
    sides = encoded(rows)
    reference_N2 = dpo.reference_log_probs(network(seed=2), sides, "fp32")
    at = dpo.batches(sides, labels.labels_of(rows, settings), reference_N2, 4, 1)
    loss, _ = dpo.DpoLoss(policy, 0.5)(**at(0))
    margin = dpo.margins(dpo.log_probs_of_all(policy, sides, "fp32"), reference_N2, 0.5)[0].item()
    won = 1 / (1 + math.exp(offset - margin))
    expected = -probability * math.log(won) - (1 - probability) * math.log(1 - won)
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_the_loss_of_a_policy_at_its_reference_is_log_2_whatever_its_dropout() -> None:
    policy, sides = network(), encoded()
    policy.config.attention_dropout = 0.5
    objective = dpo.DpoLoss(policy, 0.3).train()
    loss, metrics = objective(**batch(sides, dpo.reference_log_probs(policy, sides, "fp32")))
    assert loss.item() == pytest.approx(math.log(2), abs=1e-5)
    assert metrics["margin"].item() == pytest.approx(0, abs=1e-4)
    assert not policy.training


def test_the_gradient_is_the_closed_form() -> None:
    """Section 4: -beta sigmoid(-margin) (grad log p(preferred) - grad log p(other))."""
    policy, sides, beta = network(seed=1), encoded(), 0.4
    reference_N2 = dpo.reference_log_probs(network(seed=2), sides, "fp32")
    dpo.DpoLoss(policy, beta)(**batch(sides, reference_N2))[0].backward()
    found = {name: each.grad.clone() for name, each in policy.named_parameters()}
    policy.zero_grad()
    log_probs_N2 = dpo.log_probs(policy, sides.tokens_N2S, sides.response_N2T)
    weight_N = beta * torch.sigmoid(-dpo.margins(log_probs_N2.detach(), reference_N2, beta))
    (-(weight_N * (log_probs_N2[:, 0] - log_probs_N2[:, 1])).mean()).backward()
    for name, each in policy.named_parameters():
        torch.testing.assert_close(each.grad, found[name], rtol=1e-4, atol=1e-6)


def test_the_preferred_side_comes_first_and_the_prompt_is_no_target() -> None:
    sides = encoded(ROWS[:1])
    assert sides.tokens_N2S[0].tolist() == [[2, 3, 4, 7, END, PADDING], [2, 3, 4, 5, 6, END]]
    assert sides.response_N2T[0].int().tolist() == [[0, 0, 1, 1, 0], [0, 0, 1, 1, 1]]
    assert sides.lengths_N.tolist() == [6]


def test_the_first_response_of_a_tie_stands_first() -> None:
    tie = row("w2", "w3", "w4") | {"choice": None}
    assert encoded([tie]).tokens_N2S[0, :, 1].tolist() == [3, 4]


def test_what_does_not_fit_the_context_is_left_out_whole() -> None:
    sides, kept, left_out = dpo.encode(tokenizer(), ROWS, 7)
    assert (len(sides), left_out) == (3, 1)
    assert kept == [ROWS[0], ROWS[1], ROWS[3]]
    assert len(dpo.encode(tokenizer(), ROWS, 2)[0]) == 0


def test_the_references_log_probabilities_are_computed_once(tmp_path: Path) -> None:
    sides, kept = encoded(), tmp_path / "reference"
    first = dpo.reference_log_probs(network(seed=1), sides, "fp32", kept)
    again = dpo.reference_log_probs(network(seed=2), sides, "fp32", kept)
    assert torch.equal(first, again)
    assert not torch.equal(dpo.reference_log_probs(network(seed=2), sides, "fp32"), first)


class Stopped(Exception):
    pass


def trained(
    folder: Path, steps: int, stop: int | None = None
) -> tuple[PreTrainedModel, list[dict[str, float]]]:
    """Train for so many steps; with `stop`, that one ends in Stopped before its checkpoint is written."""

    def after(step: int) -> None:
        if step == stop:
            raise Stopped

    policy, sides = network(seed=1), encoded()
    reference_N2 = dpo.reference_log_probs(policy, sides, "fp32", folder / "reference")
    batch_at = dpo.batches(sides, labels.labels_of(ROWS, HARD), reference_N2, 4, 1)
    job = Job("align", 1, compute(checkpoint_seconds=0.0), tracking.Run(), folder)
    settings = training(steps, batch_size=4)
    return policy, engine.train(dpo.DpoLoss(policy, 0.5), batch_at, settings, job, after_step=after)


def test_stopped_it_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole, history = trained(tmp_path / "whole", 8)
    with pytest.raises(Stopped):
        trained(tmp_path / "stopped", 8, stop=5)
    again, rows = trained(tmp_path / "stopped", 8)
    for name, weights in whole.state_dict().items():
        assert torch.equal(weights, again.state_dict()[name]), name
    assert [row["loss"] for row in rows] == [row["loss"] for row in history]


def test_it_learns_whom_to_prefer(tmp_path: Path) -> None:
    policy, history = trained(tmp_path, 30)
    assert history[0]["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert history[-1]["loss"] < 0.3
    assert history[-1]["accuracy"] == 1.0
    sides = encoded()
    assert (
        dpo.margins(
            dpo.log_probs_of_all(policy, sides, "fp32"),
            dpo.log_probs_of_all(network(seed=1), sides, "fp32"),
            0.5,
        )
        > 0
    ).all()
