"""Muon has the hidden matrices of every system, AdamW all else."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

from jokbo.comparison.search import Classifier
from jokbo.models import causal
from jokbo.runtime.tracking import Run
from jokbo.training import engine
from jokbo.training.job import Job
from jokbo.training.optimizers import optimizer_for
from tests.support.networks import compute, network, optimizer, training
from tests.systems import all_systems

# of each system the weights of more than one axis that are AdamW's, and why; the others are Muon's
EMBEDDINGS = {
    "albert": ["*.embeddings.*_embeddings.weight"],
    "bahdanau": ["network.source.weight", "network.target.weight"],
    "bart": ["network.model.shared.weight", "*.embed_positions.weight"],
    "bert": ["*.embeddings.*_embeddings.weight"],
    "cramming": ["network.embedding.weight"],
    "deberta": [
        "*.embeddings.word_embeddings.weight",
        "*.encoder.rel_embeddings.weight",
        "network.position_embeddings.weight",
    ],
    "distilbert": ["*.embeddings.*_embeddings.weight"],
    "electra": ["*.embeddings.*_embeddings.weight"],
    "elmo": ["network.vectors.embedding.weight"],
    "fast_weights": ["network.embedding.weight"],
    "gpt1": ["*.tokens_embed.weight", "*.positions_embed.weight"],
    "gpt2": ["*.wte.weight", "*.wpe.weight"],
    "gpt3": ["*.wte.weight", "*.wpe.weight"],
    "mass": ["network.embedding.weight"],
    "roberta": ["*.embeddings.*_embeddings.weight"],
    "sentiment_neuron": ["network.embedding.weight"],
    "spanbert": ["*.embeddings.*_embeddings.weight", "network.boundary.positions.weight"],
    "t5": ["network.shared.weight", "*.relative_attention_bias.weight"],
    "transformer": ["network.embedding.weight"],
    "ulmfit": ["network.embedding.weight"],
    "xlm": ["*.position_embeddings.weight", "*.lang_embeddings.weight", "*.transformer.embeddings.weight"],
    "xlnet": ["*.mask_emb", "*.word_embedding.weight", "*.seg_embed"],
}
HEADS = {
    "albert": ["network.sop_classifier.classifier.weight"],
    "bahdanau": ["network.words.weight"],
    "bert": ["network.cls.seq_relationship.weight"],
    "electra": ["network.discriminator.discriminator_predictions.dense_prediction.weight"],
    "elmo": ["network.softmax.weight"],
    "sentiment_neuron": ["network.bytes.weight"],
}
BIASES_GAINS_VECTORS = {
    "bahdanau": ["network.score.weight"],  # v of equation 6
    "sentiment_neuron": ["*.parametrizations.weight.original0"],  # weight norm's gains
    "xlnet": ["*.r_r_bias", "*.r_s_bias", "*.r_w_bias"],
}


def muons(objective: nn.Module) -> set[str]:
    """The names of the parameters in Muon's group, which is the one that ZeRO is told of."""
    made = optimizer_for(objective, optimizer("muon"))
    (group,) = (group for group in made.param_groups if group["use_muon"])
    ids = {id(parameter) for parameter in group["params"]}
    names = {name for name, parameter in objective.named_parameters() if id(parameter) in ids}
    assert names == {name for name, parameter in objective.named_parameters() if parameter.use_muon}
    assert sum(len(each["params"]) for each in made.param_groups) == len(list(objective.parameters()))
    return names


@pytest.mark.parametrize("name", all_systems.NAMES)
def test_muon_has_the_hidden_matrices_of_a_system(name: str, tmp_path: Path, record_property) -> None:
    module = all_systems.module_of(name)
    made = module.network(all_systems.size_of(name, tmp_path / "teacher"), all_systems.SPECIAL_TOKENS, 1)
    objective = module.Objective(made, all_systems.SPECIAL_TOKENS)
    found, expected, table = muons(objective), set(), {}
    patterns = [each for kind in (EMBEDDINGS, HEADS, BIASES_GAINS_VECTORS) for each in kind.get(name, [])]
    for each, parameter in objective.named_parameters():
        if parameter.ndim > 1 and not any(fnmatch(each, pattern) for pattern in patterns):
            expected.add(each)
        if parameter.ndim > 1:
            table[re.sub(r"\d+", "*", each)] = "Muon" if each in found else "AdamW"
    for pattern in patterns:
        assert any(fnmatch(each, pattern) for each, _ in objective.named_parameters()), pattern
    record_property(f"optimizer of {name}", "\n".join(f"{of:5}  {each}" for each, of in table.items()))
    assert found == expected


LLAMA = {
    f"layers.{layer}.{part}.weight"
    for layer in (0, 1)
    for part in (
        *(f"self_attn.{each}_proj" for each in "qkvo"),
        *(f"mlp.{each}_proj" for each in ("gate", "up", "down")),
    )
}


def short(names: set[str]) -> set[str]:
    return {name[name.index("layers.") :] if "layers." in name else name for name in names}


def test_muon_has_the_hidden_matrices_of_the_chain() -> None:
    """Tied or not, with a score for each class or a classifier upon it."""
    llama = network()
    assert short(muons(causal.NextToken(llama))) == LLAMA
    config = AutoConfig.for_model(**{**llama.config.to_dict(), "tie_word_embeddings": False})
    assert short(muons(AutoModelForCausalLM.from_config(config))) == LLAMA
    for labels in (1, 3):
        config.num_labels = labels
        assert short(muons(AutoModelForSequenceClassification.from_config(config))) == LLAMA
    assert short(muons(Classifier(llama, lambda network, tokens_BT: tokens_BT, 16))) == LLAMA


class Kernel(nn.Module):
    """A convolution over the whole of its input, and the same as one matrix."""

    def __init__(self, flat: bool) -> None:
        super().__init__()
        weight = torch.randn(6, 4, 2, generator=torch.Generator().manual_seed(1))
        self.layer = nn.Linear(8, 6) if flat else nn.Conv1d(4, 6, 2)
        with torch.no_grad():
            self.layer.weight.copy_(weight.flatten(1) if flat else weight)
            self.layer.bias.zero_()

    def forward(self, states_BCT: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        flat = isinstance(self.layer, nn.Linear)
        return self.layer(states_BCT.flatten(1) if flat else states_BCT).square().mean(), {}


@pytest.mark.parametrize("zero_stage", [0, 2, 3])
def test_a_weight_of_three_axes_is_one_matrix_for_muon(zero_stage: int) -> None:
    found = []
    for flat in (True, False):
        kernel = Kernel(flat)
        engine.train(
            kernel,
            lambda step: {"states_BCT": torch.randn(8, 4, 2, generator=torch.Generator().manual_seed(step))},
            training(4, optimizer=optimizer("muon"), warmup_steps=0),
            Job("kernel", 1, compute(zero_stage=zero_stage), Run(), None),
        )
        found.append(kernel.layer.weight.detach().flatten(1))
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-4)
