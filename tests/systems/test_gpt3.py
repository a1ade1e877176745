"""GPT-3: bands of attention; what it shares with GPT is tested there."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM

from jokbo.models import causal
from jokbo.systems import gpt2, gpt3
from tests.systems.running_text import SIZE, SPECIAL_TOKENS, random_tokens, sharpened

BAND = SIZE.context // 8


@pytest.mark.parametrize("name", gpt3.PAPER_SIZES)
def test_parameters_are_twelve_squares_of_the_hidden_size_a_layer_and_what_is_linear_in_it(name: str) -> None:
    size = gpt3.PAPER_SIZES[name].size
    with torch.device("meta"):
        count = gpt3.network(size, SPECIAL_TOKENS, 0).num_parameters()
    layer = 12 * size.hidden_size**2 + 10 * size.hidden_size
    assert (
        count
        == (size.vocabulary + size.context) * size.hidden_size + size.layers * layer + 2 * size.hidden_size
    )


def seen_by_the_last(kinds: list[str]) -> list[int]:
    """How far back the tokens stand of which the last logits of a network with such layers know."""
    config = gpt3.configuration(replace(SIZE, layers=len(kinds)), SPECIAL_TOKENS)
    config.attention_types, config.attention_layers = [[[kind], 1] for kind in kinds], kinds
    network = sharpened(causal.build(config, seed=0))
    tokens_T = random_tokens(1, SIZE.context)[0]
    changed_TT = tokens_T.repeat(SIZE.context, 1)
    changed_TT.diagonal().copy_(6 + (tokens_T - 5) % 42)
    logits_TV = network(torch.cat([tokens_T[None], changed_TT])).logits[:, -1]
    differs = [not torch.equal(logits_V, logits_TV[0]) for logits_V in logits_TV[1:]]
    return [SIZE.context - 1 - position for position, seen in enumerate(differs) if seen][::-1]


def test_a_band_hides_what_is_further_back() -> None:
    assert seen_by_the_last(["local"]) == list(range(BAND))
    assert seen_by_the_last(["local"] * 3) == list(range(3 * (BAND - 1) + 1))  # each layer looks as far again
    assert seen_by_the_last(["global"]) == list(range(SIZE.context))


def test_dense_and_banded_layers_take_turns() -> None:
    network = gpt3.network(replace(SIZE, layers=5), SPECIAL_TOKENS, 0)
    kinds = [block.attn.attention_type for block in network.base_model.h]
    assert kinds == ["global", "local", "global", "local", "global"]
    assert {block.attn.attention.bias[0, 0, -1].sum().item() for block in network.base_model.h[1::2]} == {
        BAND
    }


def test_with_dense_layers_alone_it_is_gpt2() -> None:
    """The same function as GPT-2's network with these weights, the query's scale and its missing biases put right."""
    config = gpt3.configuration(SIZE, SPECIAL_TOKENS)
    config.attention_types, config.attention_layers = [[["global"], SIZE.layers]], ["global"] * SIZE.layers
    ours = sharpened(causal.build(config, seed=0))
    theirs = gpt2.network(SIZE, SPECIAL_TOKENS, 0).eval()
    weights = ours.state_dict()
    for name in list(weights):
        if name.endswith("q_proj.weight"):
            stem = name.removesuffix("attention.q_proj.weight")
            parts = [weights.pop(f"{stem}attention.{part}_proj.weight") for part in "qkv"]
            parts[0] = parts[0] * (SIZE.hidden_size / SIZE.heads) ** 0.5
            weights[f"{stem}c_attn.weight"] = torch.cat(parts).T
            weights[f"{stem}c_attn.bias"] = torch.zeros(3 * SIZE.hidden_size)
            weights[f"{stem}c_proj.weight"] = weights.pop(f"{stem}attention.out_proj.weight").T
            weights[f"{stem}c_proj.bias"] = weights.pop(f"{stem}attention.out_proj.bias")
        elif "mlp" in name and name.endswith("weight"):
            weights[name] = weights[name].T
    theirs.load_state_dict(weights)
    tokens_BT = random_tokens(2, 20)
    torch.testing.assert_close(ours(tokens_BT).logits, theirs(tokens_BT).logits, rtol=1e-4, atol=1e-4)


def test_it_starts_as_gpt2_does() -> None:
    network = gpt3.network(SIZE, SPECIAL_TOKENS, 0)
    head = SIZE.hidden_size // SIZE.heads
    for block in network.base_model.h:
        attention = block.attn.attention
        assert attention.q_proj.weight.std().item() == pytest.approx(0.02 / head**0.5, rel=0.1)
        assert attention.k_proj.weight.std().item() == pytest.approx(0.02, rel=0.1)
        for residual in (attention.out_proj, block.mlp.c_proj):
            assert residual.weight.std().item() == pytest.approx(0.02 / (2 * SIZE.layers) ** 0.5, rel=0.1)


def test_a_saved_network_keeps_its_bands(tmp_path) -> None:
    gpt3.network(SIZE, SPECIAL_TOKENS, 0).save_pretrained(tmp_path)
    opened = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert [block.attn.attention_type for block in opened.base_model.h] == ["global", "local"]
    assert opened.base_model.h[1].attn.attention.bias[0, 0, -1].sum() == BAND
