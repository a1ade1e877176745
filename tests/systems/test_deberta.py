"""DeBERTa: disentangled scores against their definition, the decoder against transformers' layer, training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForMaskedLM, DebertaForMaskedLM
from transformers.models.deberta.modeling_deberta import DisentangledSelfAttention

from jokbo.systems import deberta
from tests.systems.running_text import (
    SIZE,
    SPECIAL_TOKENS,
    random_tokens,
    running_text,
    same,
    sharpened,
    trained,
    unigram_entropy,
)


def network() -> deberta.Deberta:
    return sharpened(deberta.network(SIZE, SPECIAL_TOKENS, 0))


@pytest.mark.parametrize(("name", "millions", "by_formula"), [("base", 14, 14.94), ("large", 49, 51.38)])
def test_what_relative_positions_add(name: str, millions: float, by_formula: float) -> None:
    with torch.device("meta"):
        built = deberta.network(deberta.PAPER_SIZES[name].size, SPECIAL_TOKENS, 0)
    added = sum(
        parameter.numel()
        for key, parameter in built.named_parameters()
        if key.endswith(("pos_proj.weight", "pos_q_proj.weight", "rel_embeddings.weight"))
    )
    assert added / 1e6 == pytest.approx(by_formula, abs=0.01)
    assert added / 1e6 == pytest.approx(millions, rel=0.07)


def naive_scores(attention: nn.Module, states_TD: Tensor, positions_PD: Tensor, head: int) -> Tensor:
    """The sum of equation 4, term by term, for one sequence and head; [T, T]."""
    size, k = attention.attention_head_size, len(positions_PD) // 2
    query_w, key_w, _ = attention.in_proj.weight.view(-1, 3, size, states_TD.shape[1])[head]
    mine = slice(head * size, (head + 1) * size)
    scores = torch.zeros(len(states_TD), len(states_TD))
    for i, state_i in enumerate(states_TD):
        for j, state_j in enumerate(states_TD):
            delta = 0 if i - j <= -k else 2 * k - 1 if i - j >= k else i - j + k
            query_content = query_w @ state_i + attention.q_bias[mine]
            key_content = key_w @ state_j
            key_position = (attention.pos_proj.weight @ positions_PD[delta])[mine]
            query_position = attention.pos_q_proj(positions_PD[delta])[mine]  # delta(i, j): see the docstring
            scores[i, j] = (
                query_content @ key_content + query_content @ key_position + key_content @ query_position
            ) / (3 * size) ** 0.5
    return scores


@pytest.mark.parametrize("reach", [32, 3])
def test_disentangled_scores_are_the_triple_sum(reach: int) -> None:
    model = sharpened(deberta.network(replace(SIZE, context=reach), SPECIAL_TOKENS, 0))
    attention = model.deberta.encoder.layer[0].attention.self
    positions_PD = model.deberta.encoder.rel_embeddings.weight
    assert len(positions_PD) == 2 * reach
    torch.manual_seed(1)
    states_BTD = torch.randn(2, 9, SIZE.hidden_size)
    positions_BQ = torch.tensor([[4, 0, 8], [2, 3, 7]])
    queries_BQD = deberta.gathered(states_BTD, positions_BQ)
    query, key, _ = deberta.projections(attention, queries_BQD, states_BTD)
    relative_BQT = positions_BQ[:, :, None] - torch.arange(9)
    found = deberta.position_scores(attention, query, key, relative_BQT, positions_PD)
    found = found + deberta.scale(attention) * query @ key.transpose(-1, -2)
    for row in range(2):
        for head in range(SIZE.heads):
            expected = naive_scores(attention, states_BTD[row], positions_PD, head)
            torch.testing.assert_close(found[row, head], expected[positions_BQ[row]], rtol=1e-4, atol=1e-4)
    # and transformers' attention is the softmax of the same
    theirs = DisentangledSelfAttention(model.config).eval()
    theirs.load_state_dict(attention.state_dict())
    _, probabilities_BHTT = theirs(
        states_BTD,
        torch.ones(2, 1, 9, 9),
        output_attentions=True,
        relative_pos=(torch.arange(9)[:, None] - torch.arange(9))[None],
        rel_embeddings=positions_PD,
    )
    expected = naive_scores(attention, states_BTD[1], positions_PD, 1).softmax(-1)
    torch.testing.assert_close(probabilities_BHTT[1, 1], expected, rtol=1e-4, atol=1e-5)


def test_a_layer_of_the_decoder_whose_queries_are_the_states_is_transformers_layer() -> None:
    model = network()
    encoder, theirs = model.deberta.encoder, DebertaForMaskedLM(model.config).eval().deberta.encoder
    theirs.load_state_dict(encoder.state_dict())
    states_BTD = torch.randn(2, 11, SIZE.hidden_size)
    relative_BTT = (torch.arange(11)[:, None] - torch.arange(11)).expand(2, -1, -1)
    found = deberta.cross_layer(
        encoder.layer[1], states_BTD, states_BTD, relative_BTT, encoder.rel_embeddings.weight
    )
    expected, _ = theirs.layer[1](
        states_BTD,
        torch.ones(2, 1, 11, 11),
        relative_pos=relative_BTT[:1],
        rel_embeddings=theirs.rel_embeddings.weight,
    )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_decoder_is_two_turns_of_the_last_layer_over_the_states_before_it() -> None:
    model, tokens_BT = network(), random_tokens(2, 13)
    positions_BK = torch.tensor([[5, 1, 12], [0, 7, 3]])
    encoder = model.deberta.encoder
    states_BTD = model.deberta(tokens_BT, output_hidden_states=True).hidden_states[-2]
    queries_BTD = states_BTD + model.position_embeddings.weight[:13]
    relative_BTT = (torch.arange(13)[:, None] - torch.arange(13)).expand(2, -1, -1)
    for _ in range(2):  # everywhere, where `decode` has the positions alone
        queries_BTD = deberta.cross_layer(
            encoder.layer[-1], queries_BTD, states_BTD, relative_BTT, encoder.rel_embeddings.weight
        )
    expected = deberta.gathered(queries_BTD, positions_BK)
    torch.testing.assert_close(model.decode(tokens_BT, positions_BK), expected, rtol=1e-4, atol=1e-5)


def test_absolute_positions_enter_in_the_decoder_alone() -> None:
    model, tokens_BT = network(), random_tokens(2, 20)
    before = model(tokens_BT).logits, model.decode(tokens_BT, torch.tensor([[3], [4]]))
    with torch.no_grad():
        model.position_embeddings.weight[3] += 1
    after = model(tokens_BT).logits, model.decode(tokens_BT, torch.tensor([[3], [4]]))
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[1][1], after[1][1])
    assert not torch.allclose(before[1][0], after[1][0])


def test_loss_against_a_slow_one_however_rows_are_shared_out() -> None:
    model, batch = network(), deberta.batch(running_text(), 0, 6, SIZE.context, 0)
    objective = deberta.Objective(model, SPECIAL_TOKENS)
    loss, _ = objective(**batch)
    nats = []
    for row in range(6):
        for position, target, weight in zip(
            *(batch[key][row] for key in ("positions_BK", "targets_BK", "weights_BK")), strict=True
        ):
            if weight > 0:
                state_11D = model.decode(batch["inputs_BT"][row : row + 1], position.view(1, 1))
                logits_11V = model.lm_predictions(state_11D, model.get_input_embeddings())
                nats.append(nn.functional.cross_entropy(logits_11V[0, 0], target))
    torch.testing.assert_close(loss, torch.stack(nats).mean(), rtol=1e-4, atol=1e-5)
    parts = [objective(*half)[0] for half in zip(*(v.chunk(3) for v in batch.values()), strict=True)]
    torch.testing.assert_close(torch.stack(parts).mean(), loss)


def test_a_saved_network_opens_with_auto_models(tmp_path: Path) -> None:
    model, tokens_BT = network(), random_tokens(3, 20)
    model.save_pretrained(tmp_path)
    opened = AutoModelForMaskedLM.from_pretrained(tmp_path).eval()
    assert type(opened) is DebertaForMaskedLM
    # the same sums in another order
    torch.testing.assert_close(opened(tokens_BT).logits, model(tokens_BT).logits)
    states = AutoModel.from_pretrained(tmp_path).eval()(tokens_BT).last_hidden_state
    torch.testing.assert_close(states, model.deberta(tokens_BT).last_hidden_state)
    again = deberta.Deberta.from_pretrained(tmp_path).eval()
    positions_BK = torch.tensor([[2, 4]] * 3)
    assert torch.equal(again.decode(tokens_BT, positions_BK), model.decode(tokens_BT, positions_BK))


def test_a_short_training() -> None:
    text = running_text()
    model, losses = trained(deberta, text, 120)
    held, _ = deberta.Objective(model.eval(), SPECIAL_TOKENS)(
        **deberta.batch(text, 1000, 64, SIZE.context, 1)
    )
    assert held < 0.8 * losses[0]
    assert held < 0.9 * unigram_entropy(text.corpus.shards[0])


def test_batch_is_a_function_of_seed_and_step() -> None:
    text = running_text()
    first = deberta.batch(text, 3, 8, SIZE.context, 5)
    assert same(first, deberta.batch(text, 3, 8, SIZE.context, 5))
    assert not same(first, deberta.batch(text, 4, 8, SIZE.context, 5))


def test_features_do_not_see_padding() -> None:
    model, tokens_BT = network(), random_tokens(3, 12)
    padded_BT = nn.functional.pad(tokens_BT, (0, 9), value=SPECIAL_TOKENS.padding)
    found = deberta.features(model, padded_BT, SPECIAL_TOKENS)
    assert found.shape == (3, SIZE.hidden_size)
    torch.testing.assert_close(
        found, deberta.features(model, tokens_BT, SPECIAL_TOKENS), rtol=1e-4, atol=1e-5
    )
