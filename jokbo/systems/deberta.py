"""DeBERTa (He et al. 2021): attention keeps content and position apart, and absolute positions enter only at the end.

New in the paper: a token's content and its position relative to another are vectors of their own, and the score of two
tokens is the sum of content to content, content to position and position to content (section 3.1, equations 2 to 4),
divided by sqrt(3 d). Absolute positions enter just before the softmax alone, in the enhanced mask decoder (section 3.2,
figure 2b). That is two layers of the same weights. Their queries are, at first, the encoder's states plus the
position's vector, and then the layer's own output; keys and values are always the encoder's states. Tokens are masked
as BERT's. (Virtual adversarial fine-tuning, section 4, is not here.)

transformers has the attention and the head (`legacy=False`: the authors'), not the decoder: its attention takes no
queries of their own, and its z_steps is always 0. So the decoder is here, through scaled_dot_product_attention, over
the masked positions alone: they attend to the encoder's states, never to one another. As in the authors' code it is the
encoder's own last layer, over the states of the one before; without the decoder, in fine-tuning and in `AutoModel`,
that layer is an ordinary one. So a saved checkpoint opens with equal states. The logits of `AutoModelForMaskedLM` are
those without absolute positions: it passes over their vectors, which the checkpoint holds.

A departure of the authors' code, and so of transformers and of this: position to content is looked up at delta(i, j)
as content to position is, not at the delta(j, i) of equation 4.

Shapes: B sequences of a batch, T tokens of a sequence, K tokens to predict in each, Q queries, V vocabulary, D numbers
of a state, H heads, C numbers of a head's state, P relative positions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import DebertaConfig, DebertaForMaskedLM
from transformers.models.deberta.modeling_deberta import DebertaLayer, DisentangledSelfAttention

from jokbo.systems import roberta
from jokbo.systems.common import Paper, Size, SpecialTokens
from jokbo.systems.masking import gathered, mean_of_text, weighted_mean

TITLE, YEAR, OBJECTIVE = "DeBERTa", 2021, "masked tokens"
NATS = "loss"
# What the appendix says relative positions add (2 L d^2 + 2 k d) to RoBERTa's 125M and 355M: 14M and 49M. Exactly, the
# formula gives 14.9M and 51.4M.
PAPER_SIZES = {
    "base": Paper(Size(50265, 12, 768, 12, 512, 0.1), 139e6, "all, head and absolute positions too"),
    "large": Paper(Size(50265, 24, 1024, 16, 512, 0.1), 404e6, "all, head and absolute positions too"),
}
DECODER_LAYERS = 2  # n of section 3.2


class Attention(DisentangledSelfAttention):
    """transformers' attention, computed as the decoder's is.

    Theirs hides padding by a number that is too large for bf16.
    """

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor,
        output_attentions: bool = False,
        query_states: Tensor | None = None,
        relative_pos: Tensor | None = None,
        rel_embeddings: Tensor | None = None,
    ) -> tuple[Tensor, None]:
        """Return what each query takes from the states, [B, Q, D], and None for transformers."""
        assert relative_pos is not None
        assert rel_embeddings is not None
        queries = hidden_states if query_states is None else query_states
        mixed_BTD = attend(self, queries, hidden_states, relative_pos, rel_embeddings, attention_mask.bool())
        return mixed_BTD, None


class Deberta(DebertaForMaskedLM):
    """transformers' network with what its decoder lacks: the vectors of absolute positions."""

    def __init__(self, config: DebertaConfig) -> None:
        super().__init__(config)
        for layer in self.deberta.encoder.layer:
            assert isinstance(layer, DebertaLayer)
            layer.attention.self = Attention(config)
            # the same as theirs, in one kernel instead of ten
            for sums in (layer.attention.output, layer.output):
                sums.add_module("LayerNorm", nn.LayerNorm(config.hidden_size, config.layer_norm_eps))
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.post_init()

    def decode(self, inputs_BT: Tensor, positions_BK: Tensor) -> Tensor:
        """Return the states [B, K, D] that the head reads at the positions, by the enhanced mask decoder."""
        encoder, positions_T = self.deberta.encoder, torch.arange(inputs_BT.shape[1], device=inputs_BT.device)
        states_BTD = self.deberta.embeddings(inputs_BT)
        mask_B1TT = encoder.get_attention_mask(torch.ones_like(inputs_BT))
        relative = {
            "relative_pos": encoder.get_rel_pos(states_BTD),
            "rel_embeddings": encoder.get_rel_embedding(),
        }
        for layer in encoder.layer[:-1]:
            states_BTD, _ = layer(states_BTD, mask_B1TT, **relative)
        queries_BKD = gathered(states_BTD, positions_BK) + self.position_embeddings(positions_BK)
        relative_BKT = positions_BK[:, :, None] - positions_T
        last = encoder.layer[-1]
        assert isinstance(last, DebertaLayer)
        for _ in range(DECODER_LAYERS):
            queries_BKD = cross_layer(last, queries_BKD, states_BTD, relative_BKT, relative["rel_embeddings"])
        return queries_BKD


def cross_layer(
    layer: DebertaLayer, queries_BQD: Tensor, states_BTD: Tensor, relative_BQT: Tensor, positions_PD: Tensor
) -> Tensor:
    """Return the output of an encoder's layer whose queries need not be the states that it attends to."""
    mixed_BQD = attend(layer.attention.self, queries_BQD, states_BTD, relative_BQT, positions_PD)
    states_BQD = layer.attention.output(mixed_BQD, queries_BQD)
    return layer.output(layer.intermediate(states_BQD), states_BQD)


def attend(
    attention: DisentangledSelfAttention,
    queries_BQD: Tensor,
    states_BTD: Tensor,
    relative_BQT: Tensor,
    positions_PD: Tensor,
    seen_B1QT: Tensor | None = None,
) -> Tensor:
    """Return what the queries take from the states that they see, [B, Q, D] (equation 4).

    Without `seen_B1QT` they see all of them.
    """
    query_BHQC, key_BHTC, value_BHTC = projections(attention, queries_BQD, states_BTD)
    scores_BHQT = position_scores(attention, query_BHQC, key_BHTC, relative_BQT, positions_PD)
    if seen_B1QT is not None:
        scores_BHQT = scores_BHQT.masked_fill(~seen_B1QT, torch.finfo(scores_BHQT.dtype).min)
    mixed_BHQC = nn.functional.scaled_dot_product_attention(
        query_BHQC,
        key_BHTC,
        value_BHTC,
        attn_mask=scores_BHQT,
        dropout_p=attention.dropout.p if attention.training else 0.0,
        scale=scale(attention),
    )
    return mixed_BHQC.transpose(1, 2).flatten(2)


def projections(
    attention: DisentangledSelfAttention, queries_BQD: Tensor, states_BTD: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries, keys and values of each head, [B, H, Q or T, C].

    transformers has one matrix for all three.
    """
    heads = attention.num_attention_heads
    query_w, key_w, value_w = attention.in_proj.weight.unflatten(0, (heads, 3, -1)).unbind(1)
    query_HC, value_HC = (bias.unflatten(0, (heads, -1)) for bias in (attention.q_bias, attention.v_bias))

    def project(states: Tensor, weight_HCD: Tensor) -> Tensor:
        return (
            nn.functional.linear(states, weight_HCD.flatten(0, 1)).unflatten(-1, (heads, -1)).transpose(1, 2)
        )

    return (
        project(queries_BQD, query_w) + query_HC[:, None],
        project(states_BTD, key_w),
        project(states_BTD, value_w) + value_HC[:, None],
    )


def position_scores(
    attention: DisentangledSelfAttention,
    query_BHQC: Tensor,
    key_BHTC: Tensor,
    relative_BQT: Tensor,
    positions_PD: Tensor,
) -> Tensor:
    """Return the scores of content to position plus position to content, [B, H, Q, T].

    They are the second and third summand of equation 4.
    """
    heads, farthest = attention.num_attention_heads, len(positions_PD) // 2
    positions_PD = attention.pos_dropout(positions_PD)
    keys_HPC, queries_HPC = (
        project(positions_PD).unflatten(-1, (heads, -1)).transpose(0, 1)
        for project in (attention.pos_proj, attention.pos_q_proj)
    )
    delta_BQT = (relative_BQT + farthest).clamp(0, 2 * farthest - 1)
    delta_BHQT = delta_BQT[:, None].expand(len(query_BHQC), heads, -1, -1)
    to_position_BHQP = query_BHQC @ keys_HPC.transpose(1, 2)
    from_position_BHTP = key_BHTC @ queries_HPC.transpose(1, 2)
    return scale(attention) * (
        to_position_BHQP.gather(-1, delta_BHQT)
        + from_position_BHTP.gather(-1, delta_BHQT.transpose(2, 3)).transpose(2, 3)
    )


def scale(attention: DisentangledSelfAttention) -> float:
    """Return what scores are multiplied with: there are three summands (section 3.1)."""
    return (3 * attention.attention_head_size) ** -0.5


def network(size: Size, special_tokens: SpecialTokens, seed: int) -> Deberta:
    """Return the network with fresh weights, a function of the arguments alone."""
    torch.manual_seed(seed)
    return Deberta(
        DebertaConfig(
            vocab_size=size.vocabulary,
            hidden_size=size.hidden_size,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            intermediate_size=4 * size.hidden_size,
            hidden_dropout_prob=size.dropout,
            attention_probs_dropout_prob=size.dropout,
            max_position_embeddings=size.context,
            max_relative_positions=size.context,
            relative_attention=True,
            position_biased_input=False,
            pos_att_type=["c2p", "p2c"],
            pad_token_id=special_tokens.padding,
            legacy=False,
        )
    )


batch = roberta.batch  # the paper's way; for a seed, sequences and masks are RoBERTa's


class Objective(nn.Module):
    """The mean loss of the masked tokens."""

    def __init__(self, network: Deberta, special_tokens: SpecialTokens) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, inputs_BT: Tensor, positions_BK: Tensor, targets_BK: Tensor, weights_BK: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of the batch in nats a token, and no metrics."""
        states_BKD = self.network.decode(inputs_BT, positions_BK)
        logits_BKV = self.network.lm_predictions(states_BKD, self.network.get_input_embeddings())
        return weighted_mean(logits_BKV, targets_BK, weights_BK), {}


def features(network: Deberta, tokens_BT: Tensor, special_tokens: SpecialTokens) -> Tensor:
    """Return the mean of the encoder's last states of each text, [B, D].

    The decoder is for pretraining alone, as in the authors' code.
    """
    return mean_of_text(network.deberta, tokens_BT, special_tokens, network.config.max_position_embeddings)
