"""What benchmarks of the chain's own network read of params.yaml."""

from __future__ import annotations

from jokbo import params
from jokbo.runtime.errors import InputError


def parts(settings: params.Params) -> tuple[params.Scratch, params.Training, params.Tokenizer]:
    """Return the network from scratch, how it is trained, and its tokenizer. InputError for an adopted model."""
    pretrain, tokenizer = settings.pretrain, settings.tokenize.tokenizer
    if pretrain.start.kind != "scratch" or tokenizer.kind == "model" or pretrain.training is None:
        raise InputError("params.yaml: pretrain.start.kind: this benchmark is of a network from scratch")
    return pretrain.start, pretrain.training, tokenizer
