"""A2C's gradient by the letter, A3C's workers, and that one of them is A2C."""

from __future__ import annotations

from math import exp, log
from pathlib import Path

import pytest
import torch

from jokbo.control import a2c, a3c
from jokbo.control.environments import Environments
from jokbo.control.network import Network, flattened, gradient
from jokbo.control.rollouts import collect
from jokbo.control.settings import A2c
from jokbo.runtime.errors import InputError
from tests.control import made


def test_the_loss_is_algorithm_s3_by_the_letter() -> None:
    """Returns backwards from the value after the last step; sums over steps, a mean over copies."""
    own = made.a2c_of().own
    assert isinstance(own, A2c)
    environments, network = Environments("CartPole-v1", 2, [0, 1]), Network(4, 2, [16], 2).double()
    rollout = collect(network.float(), environments, 40, 0)
    network.double()
    total = 0.0

    def at(seen: object) -> tuple[list[float], float]:
        row = torch.as_tensor(seen, dtype=torch.float64)
        log_probs, value = network(row[None])
        return log_probs[0].tolist(), value.item()

    for copy in range(2):
        later = at(rollout.after_TNO[-1, copy])[1]
        for step in reversed(range(40)):
            if rollout.ended_TN[step, copy]:
                later = 0.0 if rollout.terminated_TN[step, copy] else at(rollout.after_TNO[step, copy])[1]
            later = float(rollout.rewards_TN[step, copy]) + own.discount * later
            log_probs, value = at(rollout.seen_TNO[step, copy])
            policy = [*map(exp, log_probs)]
            total -= log(policy[rollout.actions_TN[step, copy]]) * (later - value)
            total += own.value_coefficient * (later - value) ** 2
            total += own.entropy_coefficient * sum(each * log(each) for each in policy)
    assert rollout.ended_TN.any()
    found, _ = a2c.loss(network.float(), rollout, own)
    assert found.item() == pytest.approx(total / 2, rel=1e-4)


def test_the_return_is_no_part_of_the_gradient() -> None:
    """A wrong value after the last step moves the advantage, but nothing learns through it."""
    own, network = made.a2c_of(entropy_coefficient=0.0, value_coefficient=0.0).own, Network(4, 2, [16], 2)
    rollout = collect(network, Environments("CartPole-v1", 2, [0]), 5, 0)
    total, _ = a2c.loss(network, rollout, own)  # pyright: ignore
    grads = torch.autograd.grad(total, [*network.parameters()], materialize_grads=True)
    assert all((of_value == 0).all() and (of_policy != 0).any() for of_policy, of_value in grads)


def test_its_step_is_rmsprop() -> None:
    """torch's adds epsilon after the root, ours below it: with almost none both are the same."""
    own = made.a2c_of(epsilon=1e-20).own
    ours, squares = torch.randn(7), torch.zeros(7)
    theirs = torch.nn.Parameter(ours.clone())
    optimizer = torch.optim.RMSprop([theirs], lr=0.1, alpha=own.decay, eps=1e-10)  # pyright: ignore
    for _ in range(5):
        slope = torch.randn(7)
        a2c.stepped(ours, squares, slope, 0.1, own)  # pyright: ignore
        theirs.grad = slope
        optimizer.step()
    torch.testing.assert_close(ours, theirs.detach())


def test_a_flat_vector_is_the_networks_weights() -> None:
    network = Network(4, 2, [8], 1)
    weights = flattened(network)
    before = network(torch.ones(1, 4))[1].item()
    slope = gradient(network, network(torch.ones(1, 4))[1].sum())
    assert slope.shape == weights.shape
    weights.add_(slope, alpha=0.1)
    assert network(torch.ones(1, 4))[1].item() > before


def test_one_worker_is_a2c_to_the_bit(tmp_path: Path) -> None:
    steps = 1024
    alone = a3c.trained(made.job(made.a3c_of(workers=1), tmp_path / "a3c", steps=steps))
    waited = a2c.trained(made.job(made.a2c_of(workers=1), tmp_path / "a2c", steps=steps))
    assert torch.equal(alone.weights, waited.weights)
    assert alone.record.episodes == waited.record.episodes


def test_workers_learn_together_and_each_has_episodes_of_its_own(tmp_path: Path) -> None:
    """The second action pays twice: 10 an episode, 7.5 at random."""
    found = a3c.trained(made.job(made.a3c_of(workers=3), tmp_path, made.ODD, steps=6144))
    assert found.record.mean_return() > 9  # pyright: ignore
    assert 6144 <= found.record.steps < 6144 + 3 * 16
    kept = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert len(kept["workers"]) == 3
    assert sum(each["update"] for each in kept["workers"]) * 16 == found.record.steps


def test_what_a_worker_cannot_use_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Nan-v0: it gave the reward nan"):
        a3c.trained(made.job(made.a3c_of(), tmp_path, "tests.control.odd:Nan-v0"))
