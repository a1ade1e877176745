"""The student learns by DistilBERT's three losses."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from jokbo.distillation import distil
from tests.support.networks import network, tokens


def test_the_loss_term_by_term() -> None:
    """Each term a position at a time, from its definition."""
    teacher, student, temperature = network(layers=2, seed=1).eval(), network(layers=1, seed=2).eval(), 2.0
    weights = SimpleNamespace(soft_targets=5.0, language_model=2.0, cosine=1.0)
    tokens_BS = tokens(3, 7)
    weights_BT = torch.rand(3, 6)
    loss, parts = distil.Distil(student, teacher, temperature, weights)(tokens_BS, weights_BT)
    ours, theirs = (model(tokens_BS[:, :-1], output_hidden_states=True) for model in (student, teacher))
    soft = language = cosine = 0.0
    for b in range(3):
        for t in range(6):
            p = (theirs.logits[b, t] / temperature).softmax(-1)
            q = (ours.logits[b, t] / temperature).softmax(-1)
            soft += weights_BT[b, t] * temperature**2 * (p * (p / q).log()).sum()
            language -= weights_BT[b, t] * ours.logits[b, t].log_softmax(-1)[tokens_BS[b, t + 1]]
            x, y = ours.hidden_states[-1][b, t], theirs.hidden_states[-1][b, t]
            cosine += weights_BT[b, t] * (1 - x @ y / (x.norm() * y.norm()))
    torch.testing.assert_close(parts["soft_targets_loss"], (soft / 18).detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(parts["language_model_loss"], (language / 18).detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(parts["cosine_loss"], (cosine / 18).detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(loss, (5 * soft + 2 * language + cosine) / 18, rtol=1e-4, atol=1e-4)


def test_gradients_reach_the_student_alone() -> None:
    teacher, student = network(layers=2), network(layers=1)
    weights = SimpleNamespace(soft_targets=1.0, language_model=0.0, cosine=1.0)
    objective = distil.Distil(student, teacher, 2.0, weights)
    objective(tokens(2), torch.ones(2, 23))[0].backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert {id(parameter) for parameter in objective.parameters()} == {id(p) for p in student.parameters()}
    assert all(parameter.grad is not None for parameter in student.parameters())
