"""PPO-ptx: which text a step has, and what the policy learns of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from jokbo.alignment import mix, ppo
from jokbo.data.corpus.batches import Layout, TokenCorpus, packed_batch
from jokbo.models import causal
from jokbo.runtime.errors import InputError
from jokbo.runtime.tracking import Run
from jokbo.sampling import response_log_probs
from tests.alignment.test_ppo import ANSWER, PROMPT, align, ppo_settings
from tests.alignment.test_trunk import on_one_trunk
from tests.support.corpora import packed, trained
from tests.support.networks import CONTEXT, END, PADDING, VOCABULARY, network, tokens

TEXTS = [f"a b{i % 7} " * (i % 9 + 1) for i in range(60)]
PACKINGS = ["joined", "masked", "padded"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> TokenCorpus:
    """Of tokens that the network of the tests knows, its marks among them."""
    made = packed(tmp_path_factory.mktemp("corpus"), TEXTS, trained(TEXTS, 260))
    known = [np.where(shard == END, END, 2 + shard % (VOCABULARY - 2)) for shard in made.shards]
    return replace(made, shards=tuple(known))


def asked(packing: str = "joined", sequences: int = 3, **changes: object) -> SimpleNamespace:
    own = SimpleNamespace(coefficient=0.5, sequences=sequences, packing=packing)
    return ppo_settings(pretraining_mix=own, minibatch=4, **changes)


def texts_at(corpus: TokenCorpus, settings: SimpleNamespace, step: int) -> mix.Texts:
    return mix.texts_of(corpus, network(), settings.pretraining_mix, settings)(step)


@pytest.mark.parametrize("packing", PACKINGS)
def test_the_text_of_a_step_is_the_corpus_by_seed_and_step(corpus: TokenCorpus, packing: str) -> None:
    settings = asked(packing, seed=5)
    found = texts_at(corpus, settings, 2)["text_tokens_BS"]
    expected = packed_batch(corpus, 2, Layout(12, CONTEXT, 5, packing), PADDING)
    assert found.shape == (4, 3, CONTEXT + 1)
    assert found.flatten(0, 1).tolist() == expected.tolist()
    assert not torch.equal(found, texts_at(corpus, settings, 3)["text_tokens_BS"])
    assert not torch.equal(found, texts_at(corpus, asked(packing, seed=6), 2)["text_tokens_BS"])


@pytest.mark.parametrize("packing", PACKINGS)
@torch.no_grad()
def test_its_loss_is_the_mean_over_its_targets_whole_or_in_parts(corpus: TokenCorpus, packing: str) -> None:
    texts, policy = texts_at(corpus, asked(packing), 1), network().eval()
    losses = []
    for row_S in texts["text_tokens_BS"].flatten(0, 1):
        if packing == "padded":
            row_S = row_S[: int((row_S != PADDING).sum())]
        positions = causal.document_positions(row_S[None, :-1], END) if packing == "masked" else None
        losses.append(causal.token_losses(policy, row_S[None], positions)[0])
    whole = mix.loss(policy, texts)
    torch.testing.assert_close(whole, torch.cat(losses).mean(), rtol=1e-4, atol=1e-5)
    parts = [
        mix.loss(policy, dict(zip(texts, rows, strict=True)))
        for rows in zip(*(value.split(2) for value in texts.values()), strict=True)
    ]
    torch.testing.assert_close(torch.stack(parts).mean(), whole)


def gradient(policy: torch.nn.Module, loss: Tensor) -> Tensor:
    return torch.cat([each.flatten() for each in torch.autograd.grad(loss, list(policy.parameters()))])


def test_the_gradient_is_that_of_ppo_and_gamma_times_that_of_the_text(corpus: TokenCorpus) -> None:
    """Equation 2 of Ouyang et al. 2022."""
    policy, tokens_BS = network().eval(), tokens(4, PROMPT + ANSWER)
    with torch.no_grad():
        now_BR = response_log_probs(policy, tokens_BS, PROMPT, 1.0)
    batch = {
        "tokens_BS": tokens_BS,
        "weights_BR": torch.ones(4, ANSWER),
        "old_log_probs_BR": now_BR + 0.1 * torch.randn_like(now_BR),
        "advantages_BR": torch.randn_like(now_BR),
    }
    settings = asked()
    texts = texts_at(corpus, settings, 0)
    both, metrics = ppo.PolicyLoss(policy, settings, PROMPT)(**batch, **texts)
    alone, _ = ppo.PolicyLoss(policy, ppo_settings(), PROMPT)(**batch)
    of_text = mix.loss(policy, texts)
    assert metrics["surrogate"].item() == pytest.approx(alone.item())
    assert metrics["texts"].item() == pytest.approx(of_text.item())
    expected = gradient(policy, alone) + 0.5 * gradient(policy, of_text)
    torch.testing.assert_close(gradient(policy, both), expected, rtol=1e-4, atol=1e-5)


def test_on_one_trunk_the_policys_adapter_alone_learns_it(tmp_path: Path, corpus: TokenCorpus) -> None:
    texts = texts_at(corpus, asked(), 0)
    with on_one_trunk(tmp_path) as ((policy, value, _, _), _):
        found = mix.loss(policy, texts)
        torch.testing.assert_close(found, mix.loss(network().eval(), texts))
        found.backward()
        learned = [each for each in policy.parameters() if each.requires_grad]
        assert any(each.grad is not None and each.grad.any() for each in learned)
        assert all(each.grad is None for each in value.parameters())


def test_each_step_of_a_training_has_a_text_of_its_own_and_it_is_learned(
    tmp_path: Path, corpus: TokenCorpus
) -> None:
    seen: list[int] = []

    def counted(step: int) -> mix.Texts:
        seen.append(step)
        return at(step)

    settings = asked(iterations=3)
    at = mix.texts_of(corpus, network(), settings.pretraining_mix, settings)
    changes = {"iterations": 3, "minibatch": 4, "pretraining_mix": settings.pretraining_mix}
    history, _ = align(tmp_path, Run(), texts_at=counted, **changes)
    assert seen == list(range(3 * 2 * 4))  # iterations, epochs, minibatches
    assert history[-1]["pretraining_loss"] < 0.9 * history[0]["pretraining_loss"]


def test_a_corpus_too_small_is_refused_before_anything_trains(corpus: TokenCorpus) -> None:
    settings = asked(sequences=10_000)
    with pytest.raises(InputError, match="40000"):
        mix.texts_of(corpus, network(), settings.pretraining_mix, settings)
