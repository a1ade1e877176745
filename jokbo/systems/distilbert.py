"""DistilBERT (Sanh et al. 2019): half of BERT's layers, taught by BERT while it is pretrained.

New in the paper: distillation at pretraining time, not for a task (sections 2 and 3). The student has the teacher's
hidden size and half its layers, no segment embeddings and no pooler; it starts from every other layer of the teacher
and learns by three losses: the teacher's distribution at a temperature, masked tokens, and the cosine between the last
hidden states of the two. As for RoBERTa, masks are dynamic and there is no next-sentence loss.

Temperature 2 and the weights 5, 2 and 1 are those of the authors' released command; the paper gives none. The
divergence is that of jokbo.distillation.targets, by which a decoder is distilled too. Soft targets are taken at the
masked tokens alone, an option of the authors' code, whose default is everywhere: logits cost more than anything else.
The cosine is taken everywhere.

A teacher adds the embedding of the first segment to every token. The student's positions begin with it added, so that a
student of all the teacher's layers is the teacher exactly (the authors' code leaves it out).

Shapes: B sequences of a batch, T tokens of a sequence, K tokens to predict in each, V vocabulary, D numbers of a
state.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import BertForPreTraining, DistilBertConfig, DistilBertForMaskedLM

from jokbo.distillation.targets import divergence
from jokbo.models.access import moved
from jokbo.runtime.errors import InputError
from jokbo.systems import roberta
from jokbo.systems.common import Paper, Size, SpecialTokens
from jokbo.systems.masking import gathered, mean_of_text, weighted_mean

TITLE, YEAR, OBJECTIVE = "DistilBERT", 2019, "masked tokens, distillation from BERT"
NATS = "masked_loss"
PAPER_SIZES = {"base": Paper(Size(30522, 6, 768, 12, 512, 0.1), 66e6)}
TEMPERATURE = 2.0
WEIGHTS = {"soft_targets": 5.0, "masked": 2.0, "cosine": 1.0}

# of a layer, of the embeddings and of the head: BERT's names and DistilBERT's
LAYER_NAMES = {
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
}
HEAD_NAMES = {
    "transform.dense": "vocab_transform",
    "transform.LayerNorm": "vocab_layer_norm",
    "decoder": "vocab_projector",
}


def network(size: Size, special_tokens: SpecialTokens, seed: int) -> DistilBertForMaskedLM:
    """Return the network: it begins from the BERT in the folder `size.more["teacher"]`, if that is named.

    The teacher must have the same size but for its layers. Without one, weights are random.
    """
    torch.manual_seed(seed)
    own: dict[str, Any] = {"teacher": size.more.get("teacher")}  # which transformers' class does not declare
    student = DistilBertForMaskedLM(
        DistilBertConfig(
            vocab_size=size.vocabulary,
            dim=size.hidden_size,
            hidden_dim=4 * size.hidden_size,
            n_layers=size.layers,
            n_heads=size.heads,
            max_position_embeddings=size.context,
            dropout=size.dropout,
            attention_dropout=size.dropout,
            pad_token_id=special_tokens.padding,
            **own,
        )
    )
    if student.config.teacher:
        begin_from(teacher_of(student), student)
    return student


def teacher_of(student: DistilBertForMaskedLM) -> BertForPreTraining:
    """Return the BERT in the folder that the student's configuration names.

    Raises InputError if none is named, or one of another size.
    """
    mine = student.config
    if not mine.teacher:
        raise InputError("DistilBERT's `more` names no `teacher`: give the folder of a pretrained BERT")
    teacher = BertForPreTraining.from_pretrained(mine.teacher)
    theirs = teacher.config
    needed = (mine.vocab_size, mine.dim, mine.n_heads, mine.max_position_embeddings)
    found = (
        theirs.vocab_size,
        theirs.hidden_size,
        theirs.num_attention_heads,
        theirs.max_position_embeddings,
    )
    if found != needed:
        raise InputError(
            f"{mine.teacher}: a BERT of (vocabulary, hidden size, heads, context) {found}, but its student DistilBERT "
            f"has {needed}: give both the same size but for layers"
        )
    return teacher


@torch.no_grad()
def begin_from(teacher: BertForPreTraining, student: DistilBertForMaskedLM) -> None:
    """Give the student the teacher's embeddings, its head and evenly spaced ones of its layers.

    The first of the layers is among them.
    """
    mine, given = student.distilbert.embeddings, teacher.bert.embeddings
    mine.word_embeddings.load_state_dict(given.word_embeddings.state_dict())
    mine.LayerNorm.load_state_dict(given.LayerNorm.state_dict())
    positions_TD = given.position_embeddings.weight + given.token_type_embeddings.weight[0]
    mine.position_embeddings.weight.copy_(positions_TD)
    layers, sources = student.distilbert.transformer.layer, teacher.bert.encoder.layer
    for number, layer in enumerate(layers):
        _copy(sources[number * len(sources) // len(layers)], layer, LAYER_NAMES)
    _copy(teacher.cls.predictions, student, HEAD_NAMES)


def _copy(source: nn.Module, target: nn.Module, names: dict[str, str]) -> None:
    for theirs, mine in names.items():
        target.get_submodule(mine).load_state_dict(source.get_submodule(theirs).state_dict())


batch = roberta.batch  # the paper's way; for a seed, sequences and masks are RoBERTa's


class Objective(nn.Module):
    """5 T^2 KL(teacher || student) + 2 masked + 1 (1 - cosine), each a mean; T is the temperature.

    The teacher, which the network's configuration names, is no submodule: the engine neither trains nor saves it.
    """

    def __init__(self, network: DistilBertForMaskedLM, special_tokens: SpecialTokens) -> None:
        super().__init__()
        self.network = network
        self._teacher = (teacher_of(network).eval().requires_grad_(False),)

    def forward(
        self, inputs_BT: Tensor, positions_BK: Tensor, targets_BK: Tensor, weights_BK: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of the batch, and its three parts before they are weighted."""
        student, teacher = self.network, moved(self._teacher[0], inputs_BT.device)
        mine_BTD = student.distilbert(inputs_BT).last_hidden_state
        mine_BKV = head(student, gathered(mine_BTD, positions_BK)).float()
        with torch.no_grad():
            theirs_BTD = teacher.bert(inputs_BT).last_hidden_state
            theirs_BKV = teacher.cls.predictions(gathered(theirs_BTD, positions_BK)).float()
        parts = {
            "soft_targets": (soft_targets(mine_BKV, theirs_BKV) * weights_BK).mean(),
            "masked": weighted_mean(mine_BKV, targets_BK, weights_BK),
            "cosine": 1
            - nn.functional.cosine_similarity(mine_BTD.float(), theirs_BTD.float(), dim=-1).mean(),
        }
        first, *others = (WEIGHTS[name] * part for name, part in parts.items())
        return sum(others, start=first), {f"{name}_loss": part.detach() for name, part in parts.items()}


def head(student: DistilBertForMaskedLM, states: Tensor) -> Tensor:
    """Return the logits of states, as transformers' network computes them of all."""
    return student.vocab_projector(
        student.vocab_layer_norm(student.activation(student.vocab_transform(states)))
    )


def soft_targets(mine_BKV: Tensor, theirs_BKV: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Return T^2 KL(teacher || student) of each distribution at the temperature T, [B, K]."""
    return temperature**2 * divergence(mine_BKV, theirs_BKV, temperature)


def features(network: DistilBertForMaskedLM, tokens_BT: Tensor, special_tokens: SpecialTokens) -> Tensor:
    """Return the mean of the states of each text, [B, D]."""
    return mean_of_text(network.distilbert, tokens_BT, special_tokens, network.config.max_position_embeddings)
