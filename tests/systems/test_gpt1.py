"""GPT: what a position sees, its loss, its checkpoint; and what GPT-2 and GPT-3 share with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from jokbo.systems import gpt1, gpt2, gpt3
from tests.systems.running_text import (
    SIZE,
    SPECIAL_TOKENS,
    random_tokens,
    running_text,
    same,
    sharpened,
    trained,
    unigram_entropy,
)

SYSTEMS = pytest.mark.parametrize("system", [gpt1, gpt2, gpt3], ids=["gpt1", "gpt2", "gpt3"])


def test_layer_norm_stands_after_each_sum() -> None:
    """So what one block gives the next has mean 0 and variance 1 at every position."""
    network = sharpened(gpt1.network(SIZE, SPECIAL_TOKENS, 0))
    for states_BTD in network.base_model(random_tokens(2, 16), output_hidden_states=True).hidden_states[1:]:
        torch.testing.assert_close(states_BTD.mean(-1), torch.zeros(2, 16), atol=1e-5, rtol=0)
        torch.testing.assert_close(states_BTD.var(-1, correction=0), torch.ones(2, 16), atol=1e-3, rtol=0)


@SYSTEMS
def test_a_position_sees_what_is_before_it_alone(system: ModuleType) -> None:
    network = sharpened(system.network(SIZE, SPECIAL_TOKENS, 0))
    tokens_BT = random_tokens(1, 20)
    changed_BT = tokens_BT.clone()
    changed_BT[0, 11] = 6 + (changed_BT[0, 11] - 5) % 42
    first, second = network(tokens_BT).logits, network(changed_BT).logits
    assert torch.equal(first[0, :11], second[0, :11])
    assert not torch.isclose(first[0, 11:13], second[0, 11:13]).all(-1).any()


@SYSTEMS
def test_loss_is_the_mean_over_all_next_tokens(system: ModuleType) -> None:
    network = sharpened(system.network(SIZE, SPECIAL_TOKENS, 0))
    batch = system.batch(running_text(), 3, 4, 31, 1)
    tokens_BS = batch["tokens_BS"]
    assert tokens_BS.shape == (4, 32)
    losses = []
    for row in tokens_BS:
        for position in range(31):
            logits_V = network(row[None, : position + 1]).logits[0, -1]
            losses.append(-nn.functional.log_softmax(logits_V, dim=-1)[row[position + 1]])
    found, _ = system.Objective(network, SPECIAL_TOKENS)(**batch)
    torch.testing.assert_close(found, torch.stack(losses).mean())
    torch.testing.assert_close(found, network(input_ids=tokens_BS, labels=tokens_BS).loss)


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    text = running_text()
    first = gpt1.batch(text, 5, 4, 32, 1)
    assert same(first, gpt1.batch(text, 5, 4, 32, 1))
    assert not same(first, gpt1.batch(text, 6, 4, 32, 1))
    assert not same(first, gpt1.batch(text, 5, 4, 32, 2))


@SYSTEMS
def test_features_are_the_mean_state_whatever_the_padding(system: ModuleType) -> None:
    network = sharpened(system.network(SIZE, SPECIAL_TOKENS, 0))
    for found_D, row, _ in read(system.features, network):
        torch.testing.assert_close(found_D, network.base_model(row[None]).last_hidden_state[0].mean(dim=0))
    empty_BT = torch.full((1, 4), SPECIAL_TOKENS.padding)
    assert not system.features(network, empty_BT, SPECIAL_TOKENS).any()  # a text of no token


def test_gpt_is_also_read_at_a_mark_after_the_text() -> None:
    network = sharpened(gpt1.network(SIZE, SPECIAL_TOKENS, 0))
    for found_D, _, ended in read(gpt1.last, network):
        torch.testing.assert_close(found_D, network.base_model(ended[None]).last_hidden_state[0, -1])


def read(features: Callable[..., Tensor], network: nn.Module) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield what is read of each of three texts, the text without its padding, and with a mark at its end."""
    tokens_BT = random_tokens(3, 20)
    tokens_BT[1, 9:], tokens_BT[2, 1:] = SPECIAL_TOKENS.padding, SPECIAL_TOKENS.padding
    found_BD = features(network, tokens_BT, SPECIAL_TOKENS)
    assert found_BD.shape == (3, 32)
    more_BT = nn.functional.pad(tokens_BT, (0, 12), value=SPECIAL_TOKENS.padding)
    torch.testing.assert_close(found_BD, features(network, more_BT, SPECIAL_TOKENS))
    for row, length, found_D in zip(tokens_BT, (20, 9, 1), found_BD, strict=True):
        yield found_D, row[:length], torch.cat([row[:length], torch.tensor([SPECIAL_TOKENS.end_of_text])])
    full_BD = features(network, random_tokens(2, 32), SPECIAL_TOKENS)  # as long as the context
    assert full_BD.shape == (2, 32)


@SYSTEMS
def test_a_saved_network_opens_with_auto_model(system: ModuleType, tmp_path: Path) -> None:
    network, tokens_BT = sharpened(system.network(SIZE, SPECIAL_TOKENS, 0)), random_tokens(2, 20)
    network.save_pretrained(tmp_path)
    opened = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(opened) is type(network)
    torch.testing.assert_close(opened(tokens_BT).logits, network(tokens_BT).logits)


@SYSTEMS
def test_weights_are_a_function_of_the_seed_and_dropout_of_the_size(system: ModuleType) -> None:
    first, again, other = (system.network(SIZE, SPECIAL_TOKENS, seed).state_dict() for seed in (0, 0, 1))
    assert same(first, again)
    assert not same(first, other)
    dropping = system.network(replace(SIZE, dropout=0.3), SPECIAL_TOKENS, 0)
    rates = {module.p for module in dropping.modules() if isinstance(module, nn.Dropout)}
    assert rates == {0.3}


@SYSTEMS
def test_a_short_training_learns_more_than_how_often_each_token_comes(system: ModuleType) -> None:
    text = running_text()
    _, losses = trained(system, text, 80)
    entropy = unigram_entropy(text.corpus.shards[0])
    print(f"{system.TITLE}: {losses[0]:.2f} to {losses[-1]:.2f}, unigram entropy {entropy:.2f}")
    assert losses[-1] < 0.6 * entropy < 0.6 * losses[0]
