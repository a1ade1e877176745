"""The GPT agrees with its papers' sizes and with transformers' own loss."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM

from jokbo.models import causal
from tests.support.networks import END, PADDING, network, tokens


@pytest.mark.parametrize(
    ("size", "millions"), [("gpt2", 124.44), ("gpt2-xl", 1557.61), ("llama-7b", 6738.42)]
)
def test_parameter_count_at_the_papers_size(size: str, millions: float) -> None:
    paper = dict(causal.PAPER_SIZES[size])
    vocabulary = paper.pop("vocabulary")
    architecture = size.split("-")[0]
    model = SimpleNamespace(architecture=architecture, dropout=0.1, **paper)
    config = causal.configuration(model, vocabulary=vocabulary, end_of_text=END, padding=PADDING)
    with torch.device("meta"):
        built = AutoModelForCausalLM.from_config(config)
    untied = (
        vocabulary * paper["hidden_size"] if architecture == "llama" else 0
    )  # LLaMA's head has weights of its own
    assert (built.num_parameters() + untied) / 1e6 == pytest.approx(millions, abs=0.01)


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_loss_is_transformers_own(architecture: str) -> None:
    model = network(architecture)
    tokens_BS = tokens(5)
    loss, _ = causal.NextToken(model)(tokens_BS, torch.ones(5, tokens_BS.shape[1] - 1))
    torch.testing.assert_close(loss, model(input_ids=tokens_BS, labels=tokens_BS).loss)


def test_masked_loss_is_the_mean_over_what_the_mask_names_however_rows_are_shared_out() -> None:
    model, tokens_BS = network(), tokens(6)
    mask_BT = torch.rand(6, tokens_BS.shape[1] - 1) < 0.4
    expected = causal.token_losses(model, tokens_BS)[mask_BT].mean()
    batch = {"tokens_BS": tokens_BS, "weights_BT": causal.mean_one(mask_BT)}
    parts = [
        causal.NextToken(model)(*rows)[0]
        for rows in zip(*(value.split(2) for value in batch.values()), strict=True)
    ]
    torch.testing.assert_close(torch.stack(parts).mean(), expected)


def documents_in_rows() -> tuple[torch.Tensor, list[list[int]]]:
    """Rows of random tokens, and in each the positions of its end-of-text marks: first, last, side by side, none."""
    marks = [[0, 9, 15], [7, 8, 23], [24], []]
    tokens_BS = tokens(len(marks), 25)
    for row, positions in zip(tokens_BS, marks, strict=True):
        row[positions] = END
    return tokens_BS, marks


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
@pytest.mark.parametrize("compiled", [False, True])
def test_masked_documents_are_predicted_as_if_alone(
    architecture: str, attention: str, compiled: bool
) -> None:
    model = network(architecture).eval()
    model.set_attn_implementation(attention)
    losses = torch.compile(causal.token_losses, backend="aot_eager") if compiled else causal.token_losses
    tokens_BS, marks = documents_in_rows()
    positions_BT = causal.document_positions(tokens_BS[:, :-1], END)
    together = losses(model, tokens_BS, positions_BT)
    for row, found, positions in zip(tokens_BS, together, marks, strict=True):
        starts = sorted({0, *positions} - {24})
        for start, end in zip(starts, [*starts[1:], 24], strict=True):
            alone = causal.token_losses(model, row[None, start : end + 1])[0]
            torch.testing.assert_close(found[start:end], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_what_an_earlier_document_says_is_not_seen_by_a_later_one(architecture: str) -> None:
    model = network(architecture).eval()
    tokens_BS, _ = documents_in_rows()
    positions_BT = causal.document_positions(tokens_BS[:, :-1], END)
    changed_BS = tokens_BS.clone()
    changed_BS[0, 4] = 2 + (changed_BS[0, 4] + 3) % 50
    masked, seen = (causal.token_losses(model, rows, positions_BT) for rows in (tokens_BS, changed_BS))
    assert torch.equal(masked[0, 9:], seen[0, 9:])
    assert not torch.equal(masked[0, 4:9], seen[0, 4:9])
    joined, seen = (causal.token_losses(model, rows) for rows in (tokens_BS, changed_BS))
    assert not torch.isclose(joined[0, 9:], seen[0, 9:]).any()


def test_rows_of_each_way_to_pack() -> None:
    tokens_BS = torch.tensor([[END, 5, 6, END, 7], [END, 5, END, PADDING, PADDING]])
    marks = {"end_of_text": END, "padding": PADDING}
    joined = causal.packed_rows(tokens_BS, "joined", **marks)
    assert joined.keys() == {"tokens_BS", "weights_BT"}
    assert torch.equal(joined["weights_BT"], torch.ones(2, 4))
    masked = causal.packed_rows(tokens_BS, "masked", **marks)
    assert masked["positions_BT"].tolist() == [[0, 1, 2, 0], [0, 1, 0, 1]]
    padded = causal.packed_rows(tokens_BS, "padded", **marks)
    assert padded.keys() == {"tokens_BS", "weights_BT"}
    assert (padded["weights_BT"] > 0).tolist() == [[True] * 4, [True, True, False, False]]


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_padding_changes_nothing(architecture: str) -> None:
    model = network(architecture).eval()
    tokens_BS = tokens(3, 20)
    tokens_BS[1, 12:], tokens_BS[2, 7:] = PADDING, PADDING
    loss, _ = causal.NextToken(model)(
        **causal.packed_rows(tokens_BS, "padded", end_of_text=END, padding=PADDING)
    )
    alone = [causal.token_losses(model, row[None, row != PADDING])[0] for row in tokens_BS]
    torch.testing.assert_close(loss, torch.cat(alone).mean())


def test_weights_are_a_function_of_the_seed() -> None:
    same, other = (network(seed=seed).state_dict() for seed in (0, 1))
    assert all(torch.equal(value, same[name]) for name, value in network(seed=0).state_dict().items())
    assert any(not torch.equal(value, same[name]) for name, value in other.items())


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_a_saved_network_opens_with_auto_model(architecture: str, tmp_path: Path) -> None:
    model, tokens_BS = network(architecture), tokens(2)
    model.save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.glob("*.safetensors")] == ["model.safetensors"]
    opened = AutoModelForCausalLM.from_pretrained(tmp_path)
    torch.testing.assert_close(opened(tokens_BS).logits, model.eval()(tokens_BS).logits)


def test_logits_for_the_chosen_targets_alone_change_nothing() -> None:
    model, tokens_BS = network(), tokens(6)
    mask_BT = torch.rand(6, tokens_BS.shape[1] - 1) < 0.3
    batch = {"tokens_BS": tokens_BS, "weights_BT": causal.mean_one(mask_BT)}
    everywhere, _ = causal.NextToken(model)(**batch)
    chosen, _ = causal.NextTokenWhere(model)(**batch)
    torch.testing.assert_close(chosen, everywhere)
