"""The memory of trainings that have not begun is what the stages themselves will find."""

from __future__ import annotations

import pytest
import torch

from jokbo import params
from jokbo.models import causal
from jokbo.team import forecast
from jokbo.training import memory
from tests.support import miniature


@pytest.fixture(scope="module")
def settings() -> params.Params:
    return params.checked(miniature.params(), "params.yaml")


def test_pretraining_takes_what_the_stage_finds(settings: params.Params) -> None:
    own, vocabulary = settings.pretrain, settings.tokenize.tokenizer.vocabulary
    config = causal.configuration(own.start, vocabulary=vocabulary, end_of_text=0, padding=1)
    tokens_BS = torch.randint(2, vocabulary, (own.training.batch_size, own.start.context + 1))
    batch = causal.packed_rows(tokens_BS, own.packing, end_of_text=0, padding=1)
    objective = causal.NextToken(causal.build(config, seed=1))
    need = memory.in_process(memory.of_training(objective, batch, own.training, settings.compute))
    assert forecast.needs(settings, ["fetch", "pretrain"], None) == {"pretrain": need}


def test_every_training_of_the_chain_is_foreseen(settings: params.Params) -> None:
    trainings = ["pretrain", "finetune", "distill", "reward", "align"]
    found = forecast.needs(settings, trainings, None)
    assert list(found) == trainings
    # PPO holds four networks, the distillation a teacher beside its student
    weights = {name: need.weights for name, need in found.items()}
    assert weights["align"] > 3.5 * weights["pretrain"]
    assert weights["distill"] > 1.2 * weights["finetune"]
    assert all(need.activations > 0 and need.optimizer > 0 for need in found.values())


def test_it_needs_no_memory_however_large_the_model_is() -> None:
    tree = miniature.params()
    tree["pretrain"]["start"] |= {"hidden_size": 8192, "layers": 80, "heads": 64}
    found = forecast.needs(params.checked(tree, "params.yaml"), ["pretrain"], None)
    assert found["pretrain"].weights > 200e9


def test_several_ranks_and_what_is_not_there_are_not_foreseen(settings: params.Params) -> None:
    compute = settings.compute.model_copy(update={"processes": 2})
    assert forecast.needs(settings.model_copy(update={"compute": compute}), ["pretrain"], None) == {}
