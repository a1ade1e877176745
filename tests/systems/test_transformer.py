"""The Transformer is torch's own with other names, and its gradients are as Xiong et al. say."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from jokbo.systems import transformer
from jokbo.systems.common import sinusoids
from tests.systems.encoder_decoders import (
    CONTEXT,
    SPECIAL_TOKENS,
    VOCABULARY,
    check_batches,
    check_features,
    check_shares,
    entropy,
    learn,
    size,
    text,
)


def sequences(count: int, length: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(6, VOCABULARY, (count, length), generator=torch.Generator().manual_seed(seed))


def network(norm: str = "post", seed: int = 0) -> transformer.Transformer:
    return transformer.network(size(norm=norm), SPECIAL_TOKENS, seed)


def reference(own: transformer.Stack, norm: str, *, decodes: bool) -> nn.Module:
    """torch's stack of layers with the weights of ours."""
    layer_class = nn.TransformerDecoderLayer if decodes else nn.TransformerEncoderLayer
    stack_class = nn.TransformerDecoder if decodes else nn.TransformerEncoder
    layer = layer_class(32, 2, 128, dropout=0.0, batch_first=True, norm_first=norm == "pre")
    options = {} if decodes else {"enable_nested_tensor": False}
    stack = stack_class(layer, 2, norm=nn.LayerNorm(32) if norm == "pre" else None, **options)
    for theirs, ours in zip(stack.layers, own.layers, strict=True):
        attentions = [(theirs.self_attn, ours.attention)]
        attentions += [(theirs.multihead_attn, ours.cross)] if decodes else []
        for their, our in attentions:
            weights = [layer.weight for layer in (our.query, our.key, our.value)]
            biases = [layer.bias for layer in (our.query, our.key, our.value)]
            their.in_proj_weight.data, their.in_proj_bias.data = torch.cat(weights), torch.cat(biases)
            their.out_proj.load_state_dict(our.out.state_dict())
        theirs.linear1.load_state_dict(ours.feed[0].state_dict())
        theirs.linear2.load_state_dict(ours.feed[2].state_dict())
        norms = [theirs.norm1, theirs.norm2, theirs.norm3] if decodes else [theirs.norm1, theirs.norm2]
        for their, our in zip(norms, ours.norms, strict=True):
            their.load_state_dict(our.state_dict())
    if norm == "pre":
        stack.norm.load_state_dict(own.norm.state_dict())
    return stack


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_states_are_torchs_own(norm: str) -> None:
    ours = network(norm)
    for parameter in ours.parameters():  # biases and gains too away from where they start
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    source, target, real = sequences(3, 12), sequences(3, 7, seed=1), torch.ones(3, 12, dtype=torch.bool)
    real[1, 8:] = False
    encoder, decoder = (
        reference(stack, norm, decodes=stack is ours.decoder) for stack in (ours.encoder, ours.decoder)
    )
    memory = encoder(ours.embed(source), src_key_padding_mask=~real)
    states = decoder(
        ours.embed(target),
        memory,
        tgt_mask=nn.Transformer.generate_square_subsequent_mask(7),
        tgt_is_causal=True,
        memory_key_padding_mask=~real,
    )
    torch.testing.assert_close(ours.encode(source, real)[real], memory[real])
    torch.testing.assert_close(ours(source, target, real), states @ ours.embedding.weight.T)


def test_embeddings_are_scaled_and_shared() -> None:
    ours = network()
    tokens = sequences(200, CONTEXT)
    embedded = ours.embed(tokens)
    expected = ours.embedding.weight[tokens[0, 3]] * 32**0.5 + sinusoids(CONTEXT, 32)[3]
    torch.testing.assert_close(embedded[0, 3], expected)
    assert [name for name, _ in ours.named_parameters() if "embed" in name] == ["embedding.weight"]


def test_loss_is_cross_entropy_with_smoothed_labels() -> None:
    ours = network()
    batch = {"source_BS": sequences(3, 9), "target_BT": sequences(3, 5, seed=1)}
    loss, metrics = transformer.Objective(ours, SPECIAL_TOKENS)(**batch)
    total, plain = 0.0, 0.0
    for source, target in zip(*batch.values(), strict=True):
        inputs = torch.tensor([SPECIAL_TOKENS.end_of_text, *target[:-1]])
        logits = ours(source[None], inputs[None])[0]
        for position, token in enumerate(target):
            wanted = torch.full((VOCABULARY,), 0.1 / VOCABULARY)
            wanted[token] += 0.9
            log_probabilities = logits[position].detach().log_softmax(0)
            total -= float(wanted @ log_probabilities) / 15
            plain -= float(log_probabilities[token]) / 15
    assert loss.item() == pytest.approx(total, rel=1e-5)
    assert metrics["nll"].item() == pytest.approx(plain, rel=1e-5)


def test_a_target_does_not_see_itself_nor_what_follows() -> None:
    ours, source, inputs = network().eval(), sequences(2, 9), sequences(2, 6, seed=1)
    changed = inputs.clone()
    changed[:, 4] = 6 + (changed[:, 4] - 5) % 20
    before, after = ours(source, inputs), ours(source, changed)
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.isclose(before[:, 4:], after[:, 4:]).all(dim=2).any()
    assert torch.equal(transformer.shifted(inputs, 0)[:, 1:], inputs[:, :-1])


def test_schedule_rises_and_falls() -> None:
    rates = [transformer.noam(step, 512, 4000) for step in range(1, 16001)]
    assert max(rates) == rates[3999] == pytest.approx(512**-0.5 * 4000**-0.5)
    assert rates[1999] == pytest.approx(rates[3999] / 2)
    assert rates[15999] == pytest.approx(rates[3999] / 2)


def test_gradients_by_depth_at_initialisation() -> None:
    """Xiong et al. 2020, figure 3 and theorem 1: the last layer's gradient falls with the root of the number of layers
    if norms come before, stays if they come after, where all layers below have less."""

    def norms(norm: str, layers: int) -> list[float]:
        total = torch.zeros(layers)
        for seed in range(6):
            shape = transformer.Size(VOCABULARY, layers, 64, 2, CONTEXT, more={"norm": norm})
            objective = transformer.Objective(
                transformer.network(shape, SPECIAL_TOKENS, seed), SPECIAL_TOKENS
            )
            batch = {"source_BS": sequences(16, 12, seed), "target_BT": sequences(16, 12, seed + 9)}
            found = transformer.gradient_norms(objective, batch)
            assert [len(values) for values in found.values()] == [layers, layers]
            total += torch.tensor(found["decoder"])
        return (total / 6).tolist()

    shallow, deep = {}, {}
    for norm in ("post", "pre"):
        shallow[norm], deep[norm] = norms(norm, 3), norms(norm, 12)
    assert shallow["pre"][-1] / deep["pre"][-1] == pytest.approx(2, rel=0.3)
    assert shallow["post"][-1] / deep["post"][-1] == pytest.approx(1, rel=0.3)
    assert deep["post"][-1] > 4 * deep["pre"][-1]
    assert deep["post"][-1] > 5 * deep["post"][0]
    assert max(deep["pre"]) < 3 * min(deep["pre"])


def test_second_half_from_the_first() -> None:
    source = text()
    block = source.blocks(5, 8, CONTEXT, seed=1)
    batch = transformer.batch(source, 5, 8, CONTEXT, seed=1)
    assert torch.equal(torch.cat([batch["source_BS"], batch["target_BT"]], dim=1), block)
    check_batches(transformer.batch)
    check_shares(transformer.Objective(network(), SPECIAL_TOKENS), batch)


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_features(norm: str) -> None:
    check_features(transformer.features, network(norm), 32)
    assert transformer.features(network(norm), sequences(2, CONTEXT + 5), SPECIAL_TOKENS).shape == (2, 32)


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_it_learns(norm: str) -> None:
    source = text()
    objective = transformer.Objective(network(norm), SPECIAL_TOKENS)
    losses = learn(objective, lambda step: transformer.batch(source, step, 16, CONTEXT, 0), 120)
    assert losses[0] > 2.8
    assert sum(losses[-5:]) / 5 < entropy(source.corpus) / 2


def test_weights_are_a_function_of_the_seed() -> None:
    first, same, other = (network(seed=seed).embedding.weight for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
