"""Fast weights: chunks read what steps read, the delta rule corrects, the network is causal and learns."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from jokbo.systems import fast_weights
from jokbo.systems.fast_weights import memory
from tests.systems.encoder_decoders import learn
from tests.systems.running_text import (
    SIZE,
    SPECIAL_TOKENS,
    random_tokens,
    running_text,
    same,
    sharpened,
    unigram_entropy,
)

RULES = pytest.mark.parametrize("rule", ["delta", "sum"])


def tiny(rule: str) -> fast_weights.FastWeights:
    return fast_weights.network(replace(SIZE, more={"rule": rule, "feed_forward": 64}), SPECIAL_TOKENS, 0)


def inputs(length: int, seed: int = 0) -> list[Tensor]:
    """Queries, keys, values and rates as the network makes them, in double precision."""
    rng = torch.Generator().manual_seed(seed)
    q, k = (torch.rand(2, 3, length, 8, generator=rng, dtype=torch.double) for _ in range(2))
    v = torch.randn(2, 3, length, 5, generator=rng, dtype=torch.double)
    rates = torch.rand(2, 3, length, generator=rng, dtype=torch.double)
    return [q / q.sum(-1, keepdim=True), k / k.sum(-1, keepdim=True), v, rates]


def memory_by_steps(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTE: Tensor, rates_BHT: Tensor, delta: bool) -> Tensor:
    """What `memory` gives, a token at a time."""
    weights_BHDE = q_BHTD.new_zeros(*q_BHTD.shape[:2], q_BHTD.shape[-1], v_BHTE.shape[-1])
    read = []
    for t in range(q_BHTD.shape[2]):
        k_BHD, v_BHE = k_BHTD[:, :, t], v_BHTE[:, :, t]
        if delta:
            v_BHE = v_BHE - torch.einsum("bhd,bhde->bhe", k_BHD, weights_BHDE)
        written_BHE = rates_BHT[:, :, t, None] * v_BHE
        weights_BHDE = weights_BHDE + k_BHD[..., :, None] * written_BHE[..., None, :]
        read.append(torch.einsum("bhd,bhde->bhe", q_BHTD[:, :, t], weights_BHDE))
    return torch.stack(read, dim=2)


@pytest.mark.parametrize("chunk", [1, 7, 16, 64])
@pytest.mark.parametrize("delta", [True, False])
def test_chunks_read_and_learn_what_steps_do(delta: bool, chunk: int) -> None:
    first, second = (
        [each.requires_grad_() for each in inputs(37)],
        [each.requires_grad_() for each in inputs(37)],
    )
    found, expected = memory(*first, delta, chunk), memory_by_steps(*second, delta)
    assert found.shape == (2, 3, 37, 5)
    torch.testing.assert_close(found, expected)
    for loss in (found, expected):
        loss.square().sum().backward()
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_the_delta_rule_overwrites_where_the_sum_adds_up() -> None:
    key_D, first_E, second_E = torch.tensor([0.0, 1, 0]), torch.randn(4), torch.randn(4)
    k_BHTD, v_BHTE = key_D.expand(1, 1, 2, 3), torch.stack([first_E, second_E])[None, None]
    for read in (memory, memory_by_steps):
        torch.testing.assert_close(read(k_BHTD, k_BHTD, v_BHTE, torch.ones(1, 1, 2), True)[0, 0, 1], second_E)
        both_E = read(k_BHTD, k_BHTD, v_BHTE, torch.ones(1, 1, 2), False)[0, 0, 1]
        torch.testing.assert_close(both_E, first_E + second_E)


def test_the_sum_rule_is_attention_without_softmax() -> None:
    """Section 3: the mean of the values so far under phi(k) . phi(q), by loops."""
    layer = sharpened(tiny("sum")).layers[0]
    states_TD = torch.randn(9, 32)
    seen = []
    hook = layer.out.register_forward_hook(lambda module, given, made: seen.append(given[0]))
    layer(states_TD[None])
    hook.remove()
    for t in range(9):
        q, k, v = (states_TD[: t + 1] @ layer.slow.weight.T).split(32, dim=-1)
        heads = []
        for head in (slice(0, 16), slice(16, 32)):
            query, keys = nn.functional.elu(q[t, head]) + 1, nn.functional.elu(k[:, head]) + 1
            weights = torch.stack([key / key.sum() @ query for key in keys])
            heads.append((weights / weights.sum()) @ v[:, head])
        torch.testing.assert_close(seen[0][0, t], torch.cat(heads), rtol=1e-4, atol=1e-5)


@RULES
def test_a_position_sees_what_is_before_it_alone(rule: str) -> None:
    network = sharpened(tiny(rule))
    tokens_BT = random_tokens(1, 140)
    for position in (11, 63, 64, 100):  # chunks meet at 64
        changed_BT = tokens_BT.clone()
        changed_BT[0, position] = 6 + (changed_BT[0, position] - 5) % 42
        first, second = network(tokens_BT), network(changed_BT)
        assert torch.equal(first[0, :position], second[0, :position])
        assert (
            not torch.isclose(first[0, position : position + 2], second[0, position : position + 2])
            .all(-1)
            .any()
        )


@RULES
def test_loss_is_the_mean_over_all_next_tokens(rule: str) -> None:
    network = sharpened(tiny(rule))
    batch = fast_weights.batch(running_text(), 3, 2, 32, 1)
    assert batch["tokens_BS"].shape == (2, 33)
    losses = []
    for row in batch["tokens_BS"]:
        for position in range(32):
            logits_V = network(row[None, : position + 1])[0, -1]
            losses.append(-logits_V.log_softmax(-1)[row[position + 1]])
    torch.testing.assert_close(
        fast_weights.Objective(network, SPECIAL_TOKENS)(**batch)[0], torch.stack(losses).mean()
    )


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    text = running_text()
    first = fast_weights.batch(text, 5, 4, 32, 1)
    assert same(first, fast_weights.batch(text, 5, 4, 32, 1))
    assert not same(first, fast_weights.batch(text, 6, 4, 32, 1))


@RULES
def test_features_are_the_mean_state_whatever_the_padding(rule: str) -> None:
    network = sharpened(tiny(rule))
    tokens_BT = random_tokens(3, 20)
    tokens_BT[1, 9:], tokens_BT[2, 1:] = SPECIAL_TOKENS.padding, SPECIAL_TOKENS.padding
    found_BD = fast_weights.features(network, tokens_BT, SPECIAL_TOKENS)
    more_BT = nn.functional.pad(tokens_BT, (0, 60), value=SPECIAL_TOKENS.padding)
    torch.testing.assert_close(found_BD, fast_weights.features(network, more_BT, SPECIAL_TOKENS))
    for row, length, found_D in zip(tokens_BT, (20, 9, 1), found_BD, strict=True):
        torch.testing.assert_close(found_D, network.states(row[None, :length])[0].mean(dim=0))


def test_weights_are_a_function_of_the_seed() -> None:
    size = replace(SIZE, more={"rule": "delta", "feed_forward": 64})
    first, again, other = (
        fast_weights.network(size, SPECIAL_TOKENS, seed).state_dict() for seed in (0, 0, 1)
    )
    assert same(first, again)
    assert not same(first, other)


def test_memory_is_kept_in_full_precision_under_autocast() -> None:
    network, tokens_BT = tiny("delta"), random_tokens(2, 20)
    with torch.autocast("cpu", torch.bfloat16):
        found = network(tokens_BT)
    torch.testing.assert_close(found.float(), network(tokens_BT), rtol=0.1, atol=0.02)


def test_compiled_it_learns_the_same() -> None:
    """The gradient of the triangular system is not compiled: torch 2.13 fails on its strides."""
    objective, batch = (
        fast_weights.Objective(tiny("delta"), SPECIAL_TOKENS),
        {"tokens_BS": random_tokens(4, 33)},
    )
    gradients = []
    for each in (objective, torch.compile(objective, backend="aot_eager")):
        objective.zero_grad()
        each(**batch)[0].backward()
        gradients.append({name: weight.grad.clone() for name, weight in objective.named_parameters()})
    torch.testing.assert_close(gradients[0], gradients[1])


@RULES
def test_a_short_training_learns_more_than_how_often_each_token_comes(rule: str) -> None:
    text = running_text()
    objective = fast_weights.Objective(tiny(rule), SPECIAL_TOKENS)
    losses = learn(objective, lambda step: fast_weights.batch(text, step, 16, 32, 0), 80)
    entropy = unigram_entropy(text.corpus.shards[0])
    print(f"{fast_weights.TITLE}, {rule}: {losses[0]:.2f} to {losses[-1]:.2f}, unigram entropy {entropy:.2f}")
    assert losses[-1] < 0.6 * entropy < 0.6 * losses[0]
