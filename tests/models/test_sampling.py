"""Sampling: what comes out is what the policy says, once, and ends where it ends."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from jokbo.sampling import Rollout, response_log_probs, sample, sequence_kl, up_to_end
from tests.support.networks import END, PADDING, network, tokens

PROMPT, ANSWER = 4, 8


def draw(seed: int = 1, rows: int = 64, **changes: float) -> Rollout:
    settings = {"response_tokens": ANSWER, "temperature": 1.0, **changes}
    return sample(network(), tokens(1, PROMPT).repeat(rows, 1), seed=seed, **settings)


def test_an_response_is_masked_to_its_end_and_padded_after_it() -> None:
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
    log_probs_BR = response_log_probs(policy, rollout.tokens_BS, PROMPT, 1.0)
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
    """For responses of one token the divergence is a sum over the vocabulary."""
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


def every_response(
    policy: PreTrainedModel, prompt: Tensor, temperature: float, count: int
) -> tuple[Tensor, Tensor]:
    """All responses of `count` tokens to one prompt and their probabilities, a token at a time from the logits."""
    rows, log_p_N = prompt, torch.zeros(1)
    ended_N = torch.zeros(1, dtype=torch.bool)
    end, padding = policy.config.eos_token_id, policy.config.pad_token_id
    for _ in range(count):
        logits_NV = policy(rows).logits[:, -1] / temperature
        if padding != end:
            logits_NV[:, padding] = -torch.inf
        log_p_NV = logits_NV.log_softmax(-1)
        only_padding_V = torch.full((logits_NV.shape[1],), -torch.inf)
        only_padding_V[padding] = 0.0
        log_p_NV = torch.where(ended_N[:, None], only_padding_V, log_p_NV)
        tokens_V = torch.arange(logits_NV.shape[1])
        rows = torch.cat(
            [rows.repeat_interleave(len(tokens_V), 0), tokens_V.repeat(len(rows))[:, None]], dim=1
        )
        ended_N = ended_N.repeat_interleave(len(tokens_V)) | (rows[:, -1] == end)
        log_p_N = (log_p_N[:, None] + log_p_NV).flatten()
        kept = log_p_N > -torch.inf
        rows, log_p_N, ended_N = rows[kept], log_p_N[kept], ended_N[kept]
    return rows[:, prompt.shape[1] :], log_p_N


@pytest.mark.parametrize("padding", [PADDING, END])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
@torch.no_grad()
def test_kl_of_responses_is_that_of_all_responses_there_are(temperature: float, padding: int) -> None:
    """Two tokens, at a temperature, padding not drawn or the end of text itself: the sum over every response."""
    policy, other = network(seed=0).eval(), network(seed=7).eval()
    for each in (policy, other):
        each.config.pad_token_id = padding
        each.get_output_embeddings().weight[END] += 1.0  # some responses end
    responses_NR, log_p_N = every_response(policy, tokens(1, PROMPT), temperature, 2)
    same_NR, log_q_N = every_response(other, tokens(1, PROMPT), temperature, 2)
    assert torch.equal(responses_NR, same_NR)
    assert log_p_N.exp().sum().item() == pytest.approx(1, abs=1e-5)
    rows_NS = torch.cat([tokens(1, PROMPT).repeat(len(responses_NR), 1), responses_NR], dim=1)
    told_NR = response_log_probs(policy, rows_NS, PROMPT, temperature) * up_to_end(responses_NR, END)
    torch.testing.assert_close(told_NR.sum(1), log_p_N, rtol=1e-4, atol=1e-4)
    gaps_N = log_p_N - log_q_N
    expected = (log_p_N.exp() * gaps_N).sum()
    spread = (log_p_N.exp() * (gaps_N - expected) ** 2).sum().sqrt()
    rollout = sample(
        policy, tokens(1, PROMPT).repeat(4096, 1), response_tokens=2, temperature=temperature, seed=3
    )
    assert 0 < rollout.ended_B(END).sum() < 4096
    estimate = sequence_kl(policy, other, rollout).mean()
    assert abs(estimate - expected) < 4 * spread / 4096**0.5
    shares = (rollout.tokens_BS[:, None, PROMPT:] == responses_NR).all(-1).float().mean(0)
    assert (shares - log_p_N.exp()).abs().max() < 4 * 0.5 / 4096**0.5


def test_an_response_ends_at_its_first_end_of_text_where_that_is_padding_too() -> None:
    policy = network()
    policy.config.pad_token_id = END
    with torch.no_grad():
        policy.get_output_embeddings().weight[END] += 1.0
    rollout = sample(policy, tokens(64, PROMPT), response_tokens=ANSWER, temperature=1.0, seed=1)
    ended = rollout.ended_B(END)
    assert 0 < ended.sum() < 64
    for row, mask in zip(rollout.tokens_BS[:, PROMPT:].tolist(), rollout.mask_BR.tolist(), strict=True):
        length = row.index(END) + 1 if END in row else ANSWER
        assert mask == [position < length for position in range(ANSWER)]
        assert set(row[length:]) <= {END}


def test_a_models_own_settings_for_generation_do_not_change_what_is_drawn() -> None:
    plain, penalised = network(), network()
    penalised.generation_config.update(repetition_penalty=5.0, top_k=2, min_new_tokens=ANSWER)
    settings = {"response_tokens": ANSWER, "temperature": 1.0, "seed": 1}
    one, other = (sample(policy, tokens(16, PROMPT), **settings) for policy in (plain, penalised))
    assert torch.equal(one.tokens_BS, other.tokens_BS)
