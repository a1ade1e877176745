"""GPT-2: its first values, and fused attention against attention written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from jokbo.systems import gpt2
from tests.systems.running_text import SIZE, SPECIAL_TOKENS, random_tokens, sharpened


def test_residual_projections_start_smaller() -> None:
    network = gpt2.network(SIZE, SPECIAL_TOKENS, 0)
    for block in network.base_model.h:
        for residual in (block.attn.c_proj, block.mlp.c_proj):
            assert residual.weight.std().item() == pytest.approx(0.02 / (2 * SIZE.layers) ** 0.5, rel=0.1)
        assert block.mlp.c_fc.weight.std().item() == pytest.approx(0.02, rel=0.1)


def written_out(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **_: object
) -> tuple[Tensor, None]:
    """Causal attention one head and one position at a time."""
    batch_size, heads, length, head_size = query.shape
    found = [
        torch.softmax(key[b, h, : t + 1] @ query[b, h, t] / head_size**0.5, dim=0) @ value[b, h, : t + 1]
        for b in range(batch_size)
        for t in range(length)
        for h in range(heads)
    ]
    return torch.stack(found).view(batch_size, length, heads, head_size), None


def test_fused_attention_is_attention() -> None:
    """Values and gradients of the whole network: torch's fused kernels, transformers' products, and written out."""
    AttentionInterface.register("written_out", written_out)
    network, tokens_BT = sharpened(gpt2.network(SIZE, SPECIAL_TOKENS, 0)), random_tokens(2, 24)
    found = {}
    for kind in ("sdpa", "eager", "written_out"):
        network.set_attn_implementation(kind)
        network.zero_grad()
        logits_BTV = network(tokens_BT, use_cache=False).logits
        logits_BTV.square().mean().backward()
        found[kind] = [logits_BTV.detach()] + [parameter.grad for parameter in network.parameters()]
    for kind in ("sdpa", "eager"):
        for one, other in zip(found[kind], found["written_out"], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))
