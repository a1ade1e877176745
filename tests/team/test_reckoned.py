"""The memory of a pretraining without its data: what the stage itself finds."""

from __future__ import annotations

import torch

from jokbo.models import causal
from jokbo.params import Params
from jokbo.team import reckoned
from jokbo.training import memory
from tests.support import miniature


def test_it_is_what_the_stage_finds() -> None:
    settings = Params.model_validate(miniature.params())
    own, tokenizer = settings.pretrain, settings.tokenize.tokenizer
    assert own.training is not None
    config = causal.configuration(own.start, vocabulary=tokenizer.vocabulary, end_of_text=0, padding=1)
    objective = causal.NextToken(causal.build(config, seed=1))
    tokens_BS = torch.full((own.training.batch_size, own.start.context + 1), 2)
    batch = causal.packed_rows(tokens_BS, own.packing, end_of_text=0, padding=1)
    expected = memory.in_process(memory.of_training(objective, batch, own.training, settings.compute))
    assert reckoned.pretraining(settings) == expected


def test_it_needs_no_memory_however_large_the_model_is() -> None:
    tree = miniature.params()
    tree["pretrain"]["start"] |= {"hidden_size": 8192, "layers": 80, "heads": 64}
    settings = Params.model_validate(tree)
    need = reckoned.pretraining(settings)
    assert need is not None
    assert need.weights > 200e9
