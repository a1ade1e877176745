"""The memory that the pretraining of params.yaml will take, reckoned before there are data, as the stage will do it.

It needs torch, and so some seconds; no memory, however large the model is.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from jokbo.models import causal
from jokbo.params import Params
from jokbo.training.memory import Need, Passes, held, in_process, of_engine

END_OF_TEXT, PADDING, TOKEN = range(3)  # of a batch whose texts are as long as its rows


def pretraining(settings: Params) -> Need | None:
    """Return what a process takes that trains the base model from scratch; None if nothing is trained so."""
    own, tokenizer, compute = settings.pretrain, settings.tokenize.tokenizer, settings.compute
    if own.training is None or own.start.kind != "scratch" or tokenizer.kind == "model":
        return None
    special_tokens = {"end_of_text": END_OF_TEXT, "padding": PADDING}
    config = causal.configuration(own.start, vocabulary=tokenizer.vocabulary, **special_tokens)
    rows = own.training.batch_size // compute.processes
    tokens_BS = torch.full((compute.micro_batch or rows, own.start.context + 1), TOKEN)
    batch = causal.packed_rows(tokens_BS, own.packing, **special_tokens)
    with FakeTensorMode(allow_non_fake_inputs=True):
        network = causal.build(config, seed=own.seed)
    objective = causal.NextToken(network)
    used = Passes(own.training.precision, [objective]).peak(lambda: objective(**batch)[0])
    several = 0 < compute.micro_batch < rows
    need = of_engine(objective, own.training.optimizer, used, compute, several=several)
    return in_process(replace(need, weights=need.weights + held([objective])))
