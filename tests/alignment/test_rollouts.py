"""Sampling: what comes out is what the policy says, once, and ends where it ends."""

from __future__ import annotations

import torch

from jokbo.alignment.rollouts import Rollout, answer_log_probs, sample, sequence_kl
from tests.networks import END, PADDING, network, tokens

PROMPT, ANSWER = 4, 8


def draw(seed: int = 1, rows: int = 64, **changes: float) -> Rollout:
    settings = {"response_tokens": ANSWER, "temperature": 1.0, **changes}
    return sample(network(), tokens(1, PROMPT).repeat(rows, 1), seed=seed, **settings)


def test_an_answer_is_masked_to_its_end_and_padded_after_it() -> None:
    rollout = draw(rows=256)
    assert rollout.tokens_BS.shape == (256, PROMPT + ANSWER)
    ended = rollout.ended_B(END)
    assert 0 < ended.sum() < 256
    for row, mask in zip(rollout.tokens_BS[:, PROMPT:].tolist(), rollout.mask_BR.tolist(), strict=True):
        length = row.index(END) + 1 if END in row else ANSWER
        assert mask == [position < length for position in range(ANSWER)]
        assert set(row[length:]) <= {PADDING}


def test_a_function_of_the_seed_that_leaves_the_global_state_alone() -> None:
    assert torch.equal(draw(1).tokens_BS, draw(1).tokens_BS)
    assert not torch.equal(draw(1).tokens_BS, draw(2).tokens_BS)
    policy = network()
    before = torch.get_rng_state()
    sample(policy, tokens(2, PROMPT), response_tokens=ANSWER, temperature=1.0, seed=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_first_tokens_are_drawn_with_the_policys_probabilities_at_the_temperature() -> None:
    policy = network().eval()
    for temperature in (1.0, 2.0):
        logits_V = policy(tokens(1, PROMPT)).logits[0, -1] / temperature
        logits_V[PADDING] = -torch.inf
        probabilities = logits_V.softmax(-1)
        first = draw(rows=4096, response_tokens=1, temperature=temperature).tokens_BS[:, PROMPT]
        shares = torch.bincount(first, minlength=len(probabilities)) / 4096
        assert (shares - probabilities).abs().max() < 4 * 0.5 / 4096**0.5


def test_log_probs_a_token_at_a_time() -> None:
    policy, rollout = network().eval(), draw(rows=3)
    log_probs_BR = answer_log_probs(policy, rollout.tokens_BS, PROMPT, 1.0)
    for b in range(3):
        for r in range(ANSWER):
            seen = rollout.tokens_BS[b : b + 1, : PROMPT + r]
            logits_V = policy(seen).logits[0, -1]
            logits_V[PADDING] = -torch.inf
            token = rollout.tokens_BS[b, PROMPT + r]
            if token == PADDING:
                continue
            expected = logits_V.log_softmax(-1)[token]
            torch.testing.assert_close(log_probs_BR[b, r], expected, rtol=1e-3, atol=1e-4)


def test_kl_is_zero_from_oneself_and_estimates_it_from_another() -> None:
    """For answers of one token the divergence is a sum over the vocabulary."""
    policy, other = network(seed=0).eval(), network(seed=7).eval()
    rollout = draw(rows=8192, response_tokens=1)
    assert sequence_kl(policy, policy, rollout).abs().max() < 1e-4
    p, q = (
        model(tokens(1, PROMPT)).logits[0, -1].index_fill(0, torch.tensor([PADDING]), -1e30).log_softmax(-1)
        for model in (policy, other)
    )
    expected = (p.exp() * (p - q)).sum().item()
    spread = (p.exp() * (p - q - expected) ** 2).sum().sqrt().item()
    estimate = sequence_kl(policy, other, rollout).mean().item()
    assert abs(estimate - expected) < 5 * spread / 8192**0.5
