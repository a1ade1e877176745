"""ELECTRA (Clark et al. 2020): an encoder that finds the tokens which a small language model put in.

New in the paper: instead of predicting masked tokens, the network tells for every token of the input whether it is the
original one ("replaced token detection", section 2). A generator, trained beside it by maximum likelihood on the masked
15%, samples the replacements; a sample that equals the original counts as original. The two losses are added, the
discriminator's 50 times (equation after figure 2); no gradient goes through the samples, so it is no GAN. The generator
has a quarter to a half of the discriminator's hidden size (section 3.2) and shares the embeddings; it is thrown away
after pretraining.

As in the authors' code 15% of the tokens to be predicted are left as they were, and the others [MASK] (the paper says
all): from [MASK] alone the generator learns nothing but frequencies in the time that the comparison has. As in that
code, too, all embeddings are shared: those of tokens, positions and segments, and their norm.

Sampling takes one uniform number for each masked position from the batch and inverts the cumulative distribution with
it. That gives the same distribution as the authors' Gumbel noise, which needs a number for each token of the
vocabulary, and it needs no global state.

Shapes: B sequences of a batch, T tokens of a sequence, K tokens to predict in each, V vocabulary, D numbers of a
state.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import ElectraConfig, ElectraForMaskedLM, ElectraForPreTraining

from jokbo.systems.common import Paper, Size, SpecialTokens, Text, rng_of
from jokbo.systems.masking import (
    Corruption,
    begin_as_sinusoids,
    framed,
    full_sentences,
    gathered,
    masked,
    mean_of_text,
    weighted_mean,
)

TITLE, YEAR, OBJECTIVE = "ELECTRA", 2020, "replaced-token detection"
NATS = "generator_loss"
DISCRIMINATOR = "discriminator"
PAPER_SIZES = {  # table 6; it rounds to millions
    "small": Paper(
        Size(30522, 12, 256, 4, 512, 0.1, {"embedding": 128, "generator": 1 / 4}), 14e6, DISCRIMINATOR, 0.04
    ),
    "base": Paper(Size(30522, 12, 768, 12, 512, 0.1, {"generator": 1 / 3}), 110e6, DISCRIMINATOR),
    "large": Paper(Size(30522, 24, 1024, 16, 512, 0.1, {"generator": 1 / 4}), 335e6, DISCRIMINATOR),
}
WEIGHT = 50.0  # of the discriminator's loss: lambda of section 2, table 6
KEPT = 0.15  # of the tokens to be predicted


class Electra(nn.Module):
    """The two networks; what is kept and counted is the discriminator."""

    def __init__(self, discriminator: ElectraForPreTraining, generator: ElectraForMaskedLM) -> None:
        super().__init__()
        self.discriminator, self.generator = discriminator, generator
        generator.electra.embeddings = discriminator.electra.embeddings
        generator.generator_lm_head.weight = discriminator.electra.embeddings.word_embeddings.weight

    def save_pretrained(self, folder: Path) -> None:
        """Write the discriminator to the folder, and the generator to its folder `generator`.

        `AutoModelForPreTraining` opens the first, `AutoModelForMaskedLM` the second.
        """
        self.discriminator.save_pretrained(folder)
        self.generator.save_pretrained(Path(folder) / "generator")


def network(size: Size, special_tokens: SpecialTokens, seed: int) -> Electra:
    """Return the networks with fresh weights, a function of the arguments alone.

    `size.more` has `generator`, its hidden size as a share of the discriminator's, and may have `embedding`, the size
    of embeddings if it is another than the hidden size.
    """
    torch.manual_seed(seed)
    share = size.more["generator"]
    heads = max(1, round(share * size.heads))  # of the discriminator's size, as in the authors' code
    small = _configuration(size, special_tokens, heads * size.hidden_size // size.heads, heads)
    reader = ElectraForPreTraining(_configuration(size, special_tokens, size.hidden_size, size.heads))
    begin_as_sinusoids(reader.electra.embeddings.position_embeddings)
    return Electra(reader, ElectraForMaskedLM(small))


def _configuration(size: Size, special_tokens: SpecialTokens, hidden_size: int, heads: int) -> ElectraConfig:
    return ElectraConfig(
        vocab_size=size.vocabulary,
        embedding_size=size.more.get("embedding", size.hidden_size),
        hidden_size=hidden_size,
        num_hidden_layers=size.layers,
        num_attention_heads=heads,
        intermediate_size=4 * hidden_size,
        hidden_dropout_prob=size.dropout,
        attention_probs_dropout_prob=size.dropout,
        max_position_embeddings=size.context,
        pad_token_id=special_tokens.padding,
    )


class Objective(nn.Module):
    """The generator's loss plus, 50 times, the discriminator's over all tokens."""

    def __init__(self, network: Electra, special_tokens: SpecialTokens) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        inputs_BT: Tensor,
        positions_BK: Tensor,
        targets_BK: Tensor,
        weights_BK: Tensor,
        uniforms_BK: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of the batch, its two parts, and the share of tokens that were replaced.

        The generator's part is in nats a token.
        """
        writer, reader = self.network.generator, self.network.discriminator
        states_BTD = writer.electra(inputs_BT).last_hidden_state
        logits_BKV = writer.generator_lm_head(
            writer.generator_predictions(gathered(states_BTD, positions_BK))
        )
        generator_loss = weighted_mean(logits_BKV, targets_BK, weights_BK)

        sampled_BK = sampled(logits_BKV.detach().float(), uniforms_BK)
        # a position that only fills up a sequence's K is not masked, and keeps its token
        written_BK = torch.where(weights_BK > 0, sampled_BK, targets_BK)
        corrupted_BT = inputs_BT.scatter(1, positions_BK, written_BK)
        original_BT = inputs_BT.scatter(1, positions_BK, targets_BK)
        replaced_BT = (corrupted_BT != original_BT).float()
        scores_BT = reader(corrupted_BT).logits.float()
        discriminator_loss = nn.functional.binary_cross_entropy_with_logits(scores_BT, replaced_BT)
        return generator_loss + WEIGHT * discriminator_loss, {
            "generator_loss": generator_loss.detach(),
            "discriminator_loss": discriminator_loss.detach(),
            "replaced": replaced_BT.mean(),
        }


def sampled(logits_BKV: Tensor, uniforms_BK: Tensor) -> Tensor:
    """Return a token of each distribution, int64 [B, K].

    It is the first whose cumulative probability is above the uniform number.
    """
    sums_BKV = logits_BKV.softmax(-1).cumsum(-1)
    thresholds_BK1 = uniforms_BK.unsqueeze(-1) * sums_BKV[..., -1:]  # by rounding the last is not quite one
    found_BK = torch.searchsorted(sums_BKV, thresholds_BK1, right=True).squeeze(-1)
    return found_BK.clamp(max=logits_BKV.shape[-1] - 1)


def batch(text: Text, step: int, batch_size: int, context: int, seed: int) -> dict[str, Tensor]:
    """Return full blocks of running text, [SEP] where a document ends, with tokens masked, and numbers to sample by."""
    special_tokens = text.special_tokens
    tokens_BT = framed(full_sentences(text, step, batch_size, context - 2, seed), special_tokens, context)
    rng = rng_of(seed, step, "electra")
    hidden = masked(tokens_BT, tokens_BT > special_tokens.mask, rng, Corruption.of(text, KEPT, random=0))
    uniforms_BK = torch.from_numpy(rng.random(hidden.positions_BK.shape, dtype="float32"))
    return {**hidden._asdict(), "uniforms_BK": uniforms_BK}


def features(network: Electra, tokens_BT: Tensor, special_tokens: SpecialTokens) -> Tensor:
    """Return the mean of the discriminator's states of each text, [B, D]."""
    reader = network.discriminator
    return mean_of_text(reader.electra, tokens_BT, special_tokens, reader.config.max_position_embeddings)
