"""The GPT agrees with its papers' sizes and with transformers' own loss."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM

from jokbo.systems import gpt
from tests.networks import END, PADDING, network, tokens


@pytest.mark.parametrize(
    ("size", "millions"), [("gpt2", 124.44), ("gpt2-xl", 1557.61), ("llama-7b", 6738.42)]
)
def test_parameter_count_at_the_papers_size(size: str, millions: float) -> None:
    paper = dict(gpt.PAPER_SIZES[size])
    vocabulary = paper.pop("vocabulary")
    architecture = size.split("-")[0]
    model = SimpleNamespace(architecture=architecture, dropout=0.1, **paper)
    config = gpt.configuration(model, vocabulary=vocabulary, end_of_text=END, padding=PADDING)
    with torch.device("meta"):
        built = AutoModelForCausalLM.from_config(config)
    untied = (
        vocabulary * paper["width"] if architecture == "llama" else 0
    )  # LLaMA's head has weights of its own
    assert (built.num_parameters() + untied) / 1e6 == pytest.approx(millions, abs=0.01)


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_loss_is_transformers_own(architecture: str) -> None:
    model = network(architecture)
    tokens_BS = tokens(5)
    loss, _ = gpt.NextToken(model)(tokens_BS, torch.ones(5, tokens_BS.shape[1] - 1))
    torch.testing.assert_close(loss, model(input_ids=tokens_BS, labels=tokens_BS).loss)


def test_masked_loss_is_the_mean_over_what_the_mask_names_however_rows_are_shared_out() -> None:
    model, tokens_BS = network(), tokens(6)
    mask_BT = torch.rand(6, tokens_BS.shape[1] - 1) < 0.4
    expected = gpt.token_losses(model, tokens_BS)[mask_BT].mean()
    batch = gpt.training_rows(tokens_BS, mask_BT, torch.arange(6))
    parts = [
        gpt.NextToken(model)(*rows)[0]
        for rows in zip(*(value.split(2) for value in batch.values()), strict=True)
    ]
    torch.testing.assert_close(torch.stack(parts).mean(), expected)


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
    batch = gpt.training_rows(tokens_BS, mask_BT, torch.arange(6))
    everywhere, _ = gpt.NextToken(model)(**batch)
    chosen, _ = gpt.NextTokenWhere(model)(**batch)
    torch.testing.assert_close(chosen, everywhere)
