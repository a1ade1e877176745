"""BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding (Devlin et al. 2019).

New: a transformer that sees both sides of every token, which is possible because the tokens to predict are hidden
from it (masked LM, section 3.1, task 1): 15% are chosen, and of these 80% become [MASK], 10% a random token and 10%
stay, as fine-tuning has no [MASK]. Input is two segments, [CLS] A [SEP] B [SEP], told apart by segment embeddings; in
half of the pairs B is what follows A, in half it comes from another document, and the state of [CLS] has to tell
which (next sentence prediction, task 2). The loss is the sum of the two means (appendix A.2).

Masks are static, as in the released code: ten copies of the data are made, each with its own pairs and masks, and
gone through again and again. So a row is a function of its place in the corpus and of the pass modulo DUPLICATES.

Segments are spans of tokens, as text here has no sentences: A and B are cut from a window of running text inside one
document, at a place as likely as any. A document shorter than a row leaves padding. Unlike the released code none of
the rows is shortened at random, and the part of a window that a random B displaces waits for another copy.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForPreTraining

from jokbo.data.corpus.batches import sample_indices
from jokbo.data.corpus.token_corpus import TokenCorpus
from jokbo.systems.common import Paper, Size, SpecialTokens, Text, rng_of
from jokbo.systems.masking import begin_as_sinusoids, masked, masked_loss, mean_of_text

TITLE, YEAR, OBJECTIVE = "BERT", 2019, "masked tokens (static), next sentence"
NATS = "masked"
PAPER_SIZES = {
    "base": Paper(Size(30522, 12, 768, 12, 512, 0.1), 110e6, "all, both heads"),
    "large": Paper(Size(30522, 24, 1024, 16, 512, 0.1), 340e6, "all, both heads"),
}
DUPLICATES = 10


def configuration(size: Size, special_tokens: SpecialTokens) -> BertConfig:
    return BertConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.hidden_size,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        intermediate_size=4 * size.hidden_size,
        hidden_dropout_prob=size.dropout,
        attention_probs_dropout_prob=size.dropout,
        max_position_embeddings=size.context,
        pad_token_id=special_tokens.padding,
    )


def network(size: Size, special_tokens: SpecialTokens, seed: int) -> BertForPreTraining:
    torch.manual_seed(seed)
    made = BertForPreTraining(configuration(size, special_tokens))
    begin_as_sinusoids(made.bert.embeddings.position_embeddings)
    return made


class Objective(nn.Module):
    """The mean loss over masked tokens and the mean loss over pairs, added."""

    def __init__(self, network: BertForPreTraining, special_tokens: SpecialTokens) -> None:
        super().__init__()
        self.network, self.padding = network, special_tokens.padding

    def forward(
        self,
        inputs_BT: Tensor,
        segments_BT: Tensor,
        positions_BK: Tensor,
        targets_BK: Tensor,
        weights_BK: Tensor,
        unrelated_B: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        seen_BT = inputs_BT != self.padding
        states = self.network.bert(inputs_BT, attention_mask=seen_BT, token_type_ids=segments_BT)
        heads = self.network.cls
        words = masked_loss(heads.predictions, states.last_hidden_state, positions_BK, targets_BK, weights_BK)
        logits_B2 = heads.seq_relationship(states.pooler_output).float()
        pairs = nn.functional.cross_entropy(logits_B2, unrelated_B)
        return words + pairs, {"masked": words.detach(), "pairs": pairs.detach()}


def batch(text: Text, step: int, batch_size: int, context: int, seed: int) -> dict[str, Tensor]:
    room = context - 3
    sequences_B, windows_B2 = windows(text.corpus, step, batch_size, room, seed)
    passes_B = np.arange(step * batch_size, (step + 1) * batch_size) // sequence_count(text.corpus, room)
    copies_B = sequences_B * DUPLICATES + passes_B % DUPLICATES
    rng = OwnRngs(own_uniforms(seed, copies_B, 4 + 2 * context))
    chances_4B = rng.random((batch_size, 4)).T
    pairs_B22, unrelated_B = halves(windows_B2, chances_4B[0]), chances_4B[1] < 0.5
    lengths_B = room - (pairs_B22[:, 0, 1] - pairs_B22[:, 0, 0])
    others_B2 = elsewhere(text.corpus, windows_B2, lengths_B, chances_4B[2:])
    pairs_B22[unrelated_B, 1] = others_B2[unrelated_B]
    tokens_BT, segments_BT = pair_rows(text, pairs_B22, context)
    known = {"mask": text.special_tokens.mask, "vocabulary": text.vocabulary}
    return {
        **masked(tokens_BT, tokens_BT > text.special_tokens.mask, rng, **known)._asdict(),
        "segments_BT": segments_BT,
        "unrelated_B": torch.from_numpy(unrelated_B).long(),
    }


class OwnRngs:
    """Random numbers for rows as one generator gives them, but each row's from a generator of its own: uniforms [B, N],
    of which those of each call are taken in order."""

    def __init__(self, uniforms_BN: np.ndarray) -> None:
        self.uniforms_BN, self.used = uniforms_BN, 0

    def random(self, shape: tuple[int, int]) -> np.ndarray:
        self.used += shape[1]
        return self.uniforms_BN[:, self.used - shape[1] : self.used]

    def standard_exponential(self, shape: tuple[int, int]) -> np.ndarray:
        return -np.log1p(-self.random(shape))

    def integers(self, low: int, high: int, shape: tuple[int, int]) -> np.ndarray:
        return low + (self.random(shape) * (high - low)).astype(int)


def own_uniforms(seed: int, copies_B: np.ndarray, count: int) -> np.ndarray:
    """What `rng_of(seed, copy, "bert").random(count)` gives for each copy, [B, count]. It is one generator that is
    given another key each time: making so many would take longer than the rest of a batch."""
    rng = rng_of(seed, 0, "bert")
    fresh, found = rng.bit_generator.state, []
    for copy in copies_B.tolist():
        fresh["state"]["key"][1] = copy
        rng.bit_generator.state = fresh
        found.append(rng.random(count))
    return np.stack(found)


def sequence_count(corpus: TokenCorpus, length: int) -> int:
    return corpus.total_tokens // length


def windows(
    corpus: TokenCorpus, step: int, batch_size: int, length: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Of each row of a step the number of its sequence [B], and where that starts and ends in the corpus [B, 2]: at
    most `length` tokens of one document.

    Sequence k starts at token k * length, or so much earlier that it fits into its document: a long document gives
    full windows only, a short one is read whole, and each about as often as it is long.
    """
    sequences_B = sample_indices(step, batch_size, sequence_count(corpus, length), seed, corpus.name)
    firsts_B, ends_B = texts_of(corpus, numbers_of(corpus, sequences_B * length))
    starts_B = np.maximum(firsts_B, np.minimum(sequences_B * length, ends_B - length))
    return sequences_B, np.stack([starts_B, np.minimum(starts_B + length, ends_B)], axis=1)


def numbers_of(corpus: TokenCorpus, positions_B: np.ndarray) -> np.ndarray:
    """The documents that have these tokens of the corpus; its first token is of none and counts for the first."""
    return np.maximum(np.searchsorted(corpus.documents, positions_B, side="right") - 1, 0)


def texts_of(corpus: TokenCorpus, numbers_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the texts of documents start and end, their end-of-text tokens left out."""
    return corpus.documents[numbers_B], corpus.documents[numbers_B + 1] - 1


def halves(windows_B2: np.ndarray, chances_B: np.ndarray) -> np.ndarray:
    """Each window cut in two by a number of [0, 1), [B, segment, start and end]; neither is empty."""
    starts_B, ends_B = windows_B2.T
    cuts_B = np.minimum(starts_B + 1 + (chances_B * (ends_B - starts_B - 1)).astype(int), ends_B)
    return np.stack([starts_B, cuts_B, cuts_B, ends_B], axis=1).reshape(-1, 2, 2)


def elsewhere(
    corpus: TokenCorpus, windows_B2: np.ndarray, lengths_B: np.ndarray, chances_2B: np.ndarray
) -> np.ndarray:
    """Of any document but the window's own, each as likely, at most so many tokens from anywhere in it: [B, 2]."""
    count = len(corpus.documents) - 1
    steps_B = 1 + (chances_2B[0] * (count - 1)).astype(int)
    starts_B, ends_B = texts_of(corpus, (numbers_of(corpus, windows_B2[:, 0]) + steps_B) % count)
    starts_B = starts_B + (chances_2B[1] * np.maximum(ends_B - starts_B - lengths_B + 1, 1)).astype(int)
    return np.stack([starts_B, np.minimum(starts_B + lengths_B, ends_B)], axis=1)


def pair_rows(text: Text, pairs_B22: np.ndarray, context: int) -> tuple[Tensor, Tensor]:
    """[CLS] A [SEP] B [SEP] and padding, and the segment of each token, 1 for B and its [SEP]: both [B, T]."""
    tokens_BT = np.full((len(pairs_B22), context), text.special_tokens.padding)
    segments_BT = np.zeros_like(tokens_BT)
    tokens_BT[:, 0] = text.special_tokens.cls
    for row, ((start_a, end_a), (start_b, end_b)) in enumerate(pairs_B22.tolist()):
        middle = 1 + end_a - start_a
        last = middle + 1 + end_b - start_b
        tokens_BT[row, 1:middle] = text.corpus.window(start_a, end_a - start_a)
        tokens_BT[row, middle + 1 : last] = text.corpus.window(start_b, end_b - start_b)
        tokens_BT[row, middle] = tokens_BT[row, last] = text.special_tokens.sep
        segments_BT[row, middle + 1 : last + 1] = 1
    return torch.from_numpy(tokens_BT), torch.from_numpy(segments_BT)


def features(network: BertForPreTraining, tokens_BT: Tensor, special_tokens: SpecialTokens) -> Tensor:
    """The mean of the states."""
    return mean_of_text(network.bert, tokens_BT, special_tokens, network.config.max_position_embeddings)
