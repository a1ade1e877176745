"""AdamW, or Muon with AdamW beside it: which parameter is whose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.parametrize import ParametrizationList
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from jokbo.models.heads import Head

if TYPE_CHECKING:
    from jokbo.params import Optimizer

WEIGHTED = (nn.Linear, Conv1D, _ConvNd, nn.RNNBase, nn.RNNCellBase)  # what they call weight is a matrix
BARE = {"XLNetRelativeAttention": ("q", "k", "v", "o", "r")}  # matrices that no module of their own holds


def optimizer_for(objective: nn.Module, settings: Optimizer) -> torch.optim.Optimizer:
    """Return AdamW, or Muon on the hidden matrices with AdamW on all else."""
    adam = {"betas": tuple(settings.betas), "fused": True}
    if settings.name == "adamw":
        learns = [parameter for parameter in objective.parameters() if parameter.requires_grad]
        return torch.optim.AdamW(
            learns, lr=settings.learning_rate, weight_decay=settings.weight_decay, **adam
        )
    from jokbo.training.muon import Muon  # it imports torch's compiler, which takes seconds

    hidden = hidden_matrices(objective)
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for parameter in objective.parameters():
        muon = id(parameter) in hidden
        parameter.use_muon = muon  # pyright: ignore[reportAttributeAccessIssue]  # DeepSpeed's ZeRO reads it
        groups[muon].append(parameter)
    return Muon(
        [
            {
                "params": groups[True],
                "use_muon": True,
                "lr": settings.learning_rate,
                "weight_decay": settings.weight_decay,
                "ns_method": "standard",  # bf16; the "gram" one computes in fp16, which CPUs emulate
            },
            {
                "params": groups[False],
                "use_muon": False,
                "lr": settings.adam_learning_rate,
                "weight_decay": 0.0,
                "betas": tuple(settings.betas),
            },
        ],
        adam_optimizer=torch.optim.AdamW,
        adam_optimizer_kwargs=adam,
    )


def is_muon(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether it is what `optimizer_for` makes of muon."""
    return any("use_muon" in group for group in optimizer.param_groups)


def hidden_matrices(objective: nn.Module) -> set[int]:
    """Return the ids of the parameters that map one hidden space to another: Muon's (Jordan et al. 2024).

    Those are the weights of linear, recurrent and convolutional layers. Not among them are embeddings of tokens,
    positions and kinds, what is tied to one, heads (their classes and tokens are no hidden space), gains and biases,
    whatever their shape, and weights of a single row or column, which are vectors. ELMo's kernels are hidden: they
    read the vectors of characters, which are the embedding.
    """
    found: set[int] = set()
    for module in objective.modules():
        bare = BARE.get(type(module).__name__, ())
        for name, parameter in module.named_parameters(recurse=False):
            weight = isinstance(module, WEIGHTED) and name.startswith("weight")
            factor = isinstance(
                module, ParametrizationList
            )  # weight norm's directions, and its gains, of one column
            matrix = parameter.ndim >= 2 and len(parameter) > 1 and parameter[0].numel() > 1
            if matrix and (weight or factor or name in bare):
                found.add(id(parameter))
    embeddings = (module for module in objective.modules() if isinstance(module, nn.Embedding))
    return found - {id(module.weight) for module in (*embeddings, *heads(objective))}


def heads(objective: nn.Module) -> Iterator[nn.Module]:
    """Yield the layers that map hidden states to classes, tokens or scores: those that say so, and in a network of
    transformers what comes after its base model and maps neither to its hidden states nor to its embeddings.
    """
    for module in objective.modules():
        if isinstance(module, Head):
            yield module
        if not isinstance(module, PreTrainedModel):
            continue
        tokens = module.get_output_embeddings()
        if (
            tokens is not None and len(tokens.weight) == module.config.vocab_size
        ):  # DeBERTa names a layer before it
            yield tokens
        inside = {id(parameter) for parameter in module.base_model.parameters()}
        widths = {getattr(module.config, name, None) for name in ("hidden_size", "embedding_size")}
        for each in module.modules():
            if (
                isinstance(each, nn.Linear)
                and id(each.weight) not in inside
                and each.out_features not in widths
            ):
                yield each
