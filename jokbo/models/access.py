"""What is read off networks and tokenizers, by the type that it has here: transformers leaves it open."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

Network = TypeVar("Network", bound=nn.Module)
KEPT_TO = "training_context"  # in a network's config.json


def moved(network: Network, device: torch.device) -> Network:
    """Return the network itself, with its weights on the device."""
    return network.to(device)


def accelerated(network: Network) -> Network:
    """Return the network itself, with its weights on the accelerator if there is one.

    A torch that is built for a GPU names one also where there is none.
    """
    there = torch.accelerator.current_accelerator(check_available=True)
    return moved(network, there or torch.device("cpu"))


def context(network: PreTrainedModel) -> int:
    """Return the most tokens of a sequence that stages give the network: all that it reads, or what an adopted model
    is kept to (pretrain.start.context)."""
    most = getattr(network.config, KEPT_TO, None) or network.config.max_position_embeddings
    assert isinstance(most, int)
    return most


def keep_to(network: PreTrainedModel, tokens: int) -> None:
    """Have `context` return so many tokens of the network, and of those that are made from it."""
    setattr(network.config, KEPT_TO, tokens)


def embeddings(network: PreTrainedModel) -> Tensor:
    """Return the weights [V, D] by which tokens become states."""
    weights_VD = network.get_input_embeddings().weight
    assert isinstance(weights_VD, Tensor)
    return weights_VD


def language_head(network: PreTrainedModel) -> nn.Module:
    """Return the layer that maps states to logits of tokens."""
    head = network.get_output_embeddings()
    assert head is not None
    return head


def untied_head(network: PreTrainedModel) -> nn.Module | None:
    """Return the layer that maps states to logits of tokens where its weights are its own, not the embeddings'."""
    head = language_head(network)
    return None if head.weight is network.get_input_embeddings().weight else head


def score(network: PreTrainedModel) -> nn.Linear:
    """Return the linear layer that a network for classes or scores ends in."""
    layer = getattr(network, "score", None) or network.classifier  # GPT-2's for classes of tokens
    assert isinstance(layer, nn.Linear)
    return layer


def continued(network: PreTrainedModel, tokens_BT: Tensor, **options: Any) -> Tensor:
    """Return the tokens and what the network writes after them, by its `generate` with these options."""
    generate = cast(Callable[..., Tensor], network.generate)
    return generate(tokens_BT, **options)


def end_of_text(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the number of the mark that ends a text."""
    number = tokenizer.eos_token_id
    assert isinstance(number, int)
    return number


def padding(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the number of the mark that fills a row up."""
    number = tokenizer.pad_token_id
    assert isinstance(number, int)
    return number
