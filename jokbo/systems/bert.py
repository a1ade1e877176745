"""BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding (Devlin et al. 2019).

New: a transformer that sees both sides of every token, which is possible because the tokens to predict are hidden
from it (masked LM, section 3.1, task 1): 15% are chosen, and of these 80% become [MASK], 10% a random token and 10%
stay, as fine-tuning has no [MASK]. Input is two segments, [CLS] A [SEP] B [SEP], told apart by segment embeddings; in
half of the pairs B is what follows A, in half it comes from another document, and the state of [CLS] has to tell
which (next sentence prediction, task 2). The loss is the sum of the two means (appendix A.2).

Masks are static, as in the released code: ten copies of the data are made, each with its own pairs and masks, and
read again and again. So a sequence is a function of its position in the corpus and of the pass modulo DUPLICATES.

Segments are spans of tokens, as the text of the comparison has no sentences: A and B are cut from a window of running
text inside one document, at any position with equal chance. A document shorter than a sequence leaves padding. Unlike
the released code, this one shortens no sequence at random, and what follows A where B is random waits for another copy.

Shapes: B sequences of a batch, T tokens of a sequence, K tokens to predict in each, 2 start and end, 22 segments of a
pair by start and end, N random numbers.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForPreTraining

from jokbo.data.corpus.batches import TokenCorpus, sample_indices
from jokbo.systems.common import Paper, Size, SpecialTokens, Text, rng_of
from jokbo.systems.masking import Corruption, begin_as_sinusoids, masked, masked_loss, mean_of_text

TITLE, YEAR, OBJECTIVE = "BERT", 2019, "masked tokens (static), next sentence"
NATS = "masked"
PAPER_SIZES = {
    "base": Paper(Size(30522, 12, 768, 12, 512, 0.1), 110e6, "all, both heads"),
    "large": Paper(Size(30522, 24, 1024, 16, 512, 0.1), 340e6, "all, both heads"),
}
DUPLICATES = 10


def configuration(size: Size, special_tokens: SpecialTokens) -> BertConfig:
    """Return transformers' configuration of the network."""
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
    """Return the network with fresh weights, a function of the arguments alone."""
    torch.manual_seed(seed)
    made = BertForPreTraining(configuration(size, special_tokens))
    begin_as_sinusoids(made.bert.embeddings.position_embeddings)
    return made


class Objective(nn.Module):
    """The mean loss over masked tokens plus the mean loss over pairs."""

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
        """Return the loss of the batch in nats, and its two parts."""
        seen_BT = inputs_BT != self.padding
        states = self.network.bert(inputs_BT, attention_mask=seen_BT, token_type_ids=segments_BT)
        heads = self.network.cls
        words = masked_loss(heads.predictions, states.last_hidden_state, positions_BK, targets_BK, weights_BK)
        logits_B2 = heads.seq_relationship(states.pooler_output).float()
        pairs = nn.functional.cross_entropy(logits_B2, unrelated_B)
        return words + pairs, {"masked": words.detach(), "pairs": pairs.detach()}


def batch(text: Text, step: int, batch_size: int, context: int, seed: int) -> dict[str, Tensor]:
    """Return sequences of two segments, of which half are unrelated, with tokens masked."""
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
    tokens_BT, segments_BT = pair_sequences(text, pairs_B22, context)
    return {
        **masked(tokens_BT, tokens_BT > text.special_tokens.mask, rng, Corruption.of(text))._asdict(),
        "segments_BT": segments_BT,
        "unrelated_B": torch.from_numpy(unrelated_B).long(),
    }


class OwnRngs:
    """An rng for many sequences at once, which gives each sequence numbers of its own.

    It takes them in order from the uniforms [B, N] that it is made with.
    """

    def __init__(self, uniforms_BN: np.ndarray) -> None:
        self.uniforms_BN, self.used = uniforms_BN, 0

    def random(self, shape: tuple[int, int]) -> np.ndarray:
        """Return numbers of [0, 1), uniformly distributed."""
        self.used += shape[1]
        return self.uniforms_BN[:, self.used - shape[1] : self.used]

    def standard_exponential(self, shape: tuple[int, int]) -> np.ndarray:
        """Return exponentially distributed numbers of mean 1."""
        return -np.log1p(-self.random(shape))

    def integers(self, low: int, high: int, shape: tuple[int, int]) -> np.ndarray:
        """Return integers from low to high - 1, each as likely."""
        return low + (self.random(shape) * (high - low)).astype(int)


def own_uniforms(seed: int, copies_B: np.ndarray, count: int) -> np.ndarray:
    """Return what `rng_of(seed, copy, "bert").random(count)` gives for each copy, [B, count].

    One rng is given another key each time: making so many would take longer than the rest of a batch.
    """
    rng = rng_of(seed, 0, "bert")
    fresh, found = rng.bit_generator.state, []
    for copy in copies_B.tolist():
        fresh["state"]["key"][1] = copy
        rng.bit_generator.state = fresh
        found.append(rng.random(count))
    return np.stack(found)


def sequence_count(corpus: TokenCorpus, length: int) -> int:
    """Return how many sequences of that length the corpus holds."""
    return corpus.total_tokens // length


def windows(
    corpus: TokenCorpus, step: int, batch_size: int, length: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of each sequence of a step, [B], and its start and end in the corpus, [B, 2].

    Each has at most `length` tokens, of one document. Sequence k starts at token k * length, or so much earlier that it
    fits into its document. So a long document gives full windows only, a short one is read whole, and each is read
    about as often as it is long.
    """
    sequences_B = sample_indices(step, batch_size, sequence_count(corpus, length), seed, corpus.name)
    firsts_B, ends_B = texts_of(corpus, numbers_of(corpus, sequences_B * length))
    starts_B = np.maximum(firsts_B, np.minimum(sequences_B * length, ends_B - length))
    return sequences_B, np.stack([starts_B, np.minimum(starts_B + length, ends_B)], axis=1)


def numbers_of(corpus: TokenCorpus, positions_B: np.ndarray) -> np.ndarray:
    """Return the documents that have these tokens of the corpus, [B].

    The corpus' first token is in no document and counts for the first one.
    """
    return np.maximum(np.searchsorted(corpus.documents, positions_B, side="right") - 1, 0)


def texts_of(corpus: TokenCorpus, numbers_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where the texts of documents start and end, [B] each, without their end-of-text tokens."""
    return corpus.documents[numbers_B], corpus.documents[numbers_B + 1] - 1


def halves(windows_B2: np.ndarray, chances_B: np.ndarray) -> np.ndarray:
    """Return each window cut in two by a number of [0, 1), [B, segment, start and end].

    Neither segment is empty.
    """
    starts_B, ends_B = windows_B2.T
    cuts_B = np.minimum(starts_B + 1 + (chances_B * (ends_B - starts_B - 1)).astype(int), ends_B)
    return np.stack([starts_B, cuts_B, cuts_B, ends_B], axis=1).reshape(-1, 2, 2)


def elsewhere(
    corpus: TokenCorpus, windows_B2: np.ndarray, lengths_B: np.ndarray, chances_2B: np.ndarray
) -> np.ndarray:
    """Return spans of documents other than the windows' own, [B, 2], each of at most so many tokens.

    Each other document is as likely, and each position in it.
    """
    count = len(corpus.documents) - 1
    steps_B = 1 + (chances_2B[0] * (count - 1)).astype(int)
    starts_B, ends_B = texts_of(corpus, (numbers_of(corpus, windows_B2[:, 0]) + steps_B) % count)
    starts_B = starts_B + (chances_2B[1] * np.maximum(ends_B - starts_B - lengths_B + 1, 1)).astype(int)
    return np.stack([starts_B, np.minimum(starts_B + lengths_B, ends_B)], axis=1)


def pair_sequences(text: Text, pairs_B22: np.ndarray, context: int) -> tuple[Tensor, Tensor]:
    """Return [CLS] A [SEP] B [SEP] and padding, and the segment of each token, both [B, T].

    The segment is 1 for B and its [SEP].
    """
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
    """Return the mean of the states of each text, [B, D]."""
    return mean_of_text(network.bert, tokens_BT, special_tokens, network.config.max_position_embeddings)
