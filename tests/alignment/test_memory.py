"""What PPO is told to take: every network once, two optimizers, and the worst of what an iteration holds."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from jokbo.alignment import memory, ppo
from jokbo.alignment.networks import Networks
from jokbo.training import processes
from jokbo.training.memory import Count, held
from tests.alignment.test_ppo import ANSWER, PROMPT, controllers, networks, ppo_settings
from tests.alignment.test_trunk import on_one_trunk
from tests.support.networks import compute, lora, tokens
from tests.training.test_methods import four_bits

FULL = SimpleNamespace(kind="full")


def needed(found: Networks, *, micro_batch: int = 0, **changes: Any) -> Any:
    processes.join()
    settings = ppo_settings(**{"method": FULL, **changes})
    return memory.of_ppo(found, tokens(40, PROMPT), settings, compute(micro_batch=micro_batch))


def test_an_iteration_of_four_networks_holds_what_was_said() -> None:
    own = networks()
    said, settings = needed(own), ppo_settings(epochs=1)
    four = [own.policy, own.value, own.reference, own.reward]
    engines = ppo.start(own, PROMPT, settings, compute())
    ppo.iterate(own, engines, controllers(), ppo.Inputs(tokens(16, PROMPT), 1), settings)
    clients: list[Any] = [each.client_optimizer for each in engines.values()]
    states = [
        value
        for client in clients
        for state in client.state.values()
        for value in state.values()
        if value.numel() > 1
    ]
    assert said.weights == held(four)
    assert said.optimizer == sum(value.nbytes for value in states)
    count = Count(
        [*(each for network in four for each in (*network.parameters(), *network.buffers())), *states]
    )
    with count:
        ppo.iterate(own, engines, controllers(), ppo.Inputs(tokens(16, PROMPT), 2), settings)
    assert said.activations == pytest.approx(count.peak, rel=0.2)


@pytest.mark.parametrize("kind", ["lora", four_bits])
def test_a_trunk_is_counted_once(tmp_path: Path, kind: str) -> None:
    with on_one_trunk(tmp_path, kind=kind) as (found, _):
        whole = Networks(*found, ANSWER, 8)
        shared = needed(whole, method=lora(kind=kind))
        learned = [each for network in found[:2] for each in network.parameters() if each.requires_grad]
        assert shared.optimizer == 2 * sum(each.nbytes for each in learned)
    four = needed(networks())
    assert shared.weights < four.weights / 2
    assert shared.optimizer < four.optimizer


def test_micro_batches_hold_less() -> None:
    own, whole = networks(2), networks(8)
    assert needed(own, micro_batch=2).activations < needed(whole).activations


def test_more_responses_and_a_larger_rollout_hold_more() -> None:
    longer = Networks(**{**vars(networks()), "response_tokens": 2 * ANSWER})
    assert needed(longer).activations > needed(networks()).activations
    with torch.random.fork_rng():
        sampling = needed(networks(1), micro_batch=1, rollout_batch=128).activations
        assert sampling > needed(networks(1), micro_batch=1).activations


def test_layers_that_are_computed_again_hold_less_of_four_networks_and_of_a_trunk(tmp_path: Path) -> None:
    processes.join()

    def said(found: Networks, method: SimpleNamespace, *, again: bool) -> int:
        own = compute(activation_checkpointing=again)
        return memory.of_ppo(found, tokens(40, PROMPT), ppo_settings(method=method), own).activations

    assert said(networks(), FULL, again=True) < said(networks(), FULL, again=False)
    with on_one_trunk(tmp_path) as (found, _):
        whole = Networks(*found, ANSWER, 8)
        assert said(whole, lora(), again=True) < said(whole, lora(), again=False)
