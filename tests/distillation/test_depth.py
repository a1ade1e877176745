"""A network of fewer layers has those of the one that it is made of."""

from __future__ import annotations

import pytest
import torch

from jokbo.alignment import reward
from jokbo.distillation.depth import shallower
from jokbo.runtime.errors import InputError
from tests.support.networks import network, tokens

LAYERS = {"gpt2": "transformer.h.", "llama": "model.layers."}


@pytest.mark.parametrize("scores", [False, True])
@pytest.mark.parametrize("architecture", LAYERS)
def test_it_has_every_other_layer_and_all_else(architecture: str, scores: bool) -> None:
    whole = network(architecture, layers=4)
    if scores:
        whole = reward.on_policy(whole, seed=0)
    half, prefix = shallower(whole, 2), LAYERS[architecture]
    theirs, mine = whole.state_dict(), half.state_dict()
    assert type(half) is type(whole)
    assert half.config.num_hidden_layers == 2
    for name, value in mine.items():
        layer, _, rest = name.removeprefix(prefix).partition(".")
        source = f"{prefix}{2 * int(layer)}.{rest}" if name.startswith(prefix) else name
        assert torch.equal(value, theirs[source])


@pytest.mark.parametrize("tied", [True, False])
def test_one_of_all_the_layers_is_the_same(tied: bool) -> None:
    whole = network("llama", layers=3).eval()
    if not tied:
        whole.config.tie_word_embeddings = False
        whole.lm_head.weight = torch.nn.Parameter(torch.randn_like(whole.lm_head.weight))
    torch.testing.assert_close(shallower(whole, 3).eval()(tokens(2)).logits, whole(tokens(2)).logits)


def test_it_has_no_more_layers_than_there_are() -> None:
    with pytest.raises(InputError, match="3 layers are asked of it, and it has 2"):
        shallower(network(layers=2), 3)
