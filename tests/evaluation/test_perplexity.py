"""Language and the mark that ends it are told apart."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from jokbo.data.prompts import Prompts
from jokbo.evaluation.perplexity import check_length, corpus_perplexity, response_perplexity
from jokbo.runtime.errors import InputError
from tests.support.networks import END, PADDING, network, tokens

PROMPT = 4


def responses(padding: int = PADDING) -> Prompts:
    tokens_NS = tokens(6, 12)
    lengths = [2, 3, 5, 8, 8, 4]
    for row, length in zip(tokens_NS, lengths, strict=True):
        row[PROMPT + length - 1] = END
        row[PROMPT + length :] = padding
    return Prompts(tokens_NS, torch.tensor(lengths), PROMPT)


@pytest.mark.parametrize("padding", [PADDING, END])
def test_of_responses_words_and_end_are_apart(padding: int) -> None:
    net, held_out = network().eval(), responses(padding)
    words, ends = [], []
    for row, length in zip(held_out.tokens_NS, held_out.lengths_N.tolist(), strict=True):
        log_probs = net(row[None]).logits[0].log_softmax(-1)
        nats = [-log_probs[position - 1, row[position]].item() for position in range(PROMPT, PROMPT + length)]
        words += nats[:-1]
        ends.append(nats[-1])
    found = response_perplexity(net, held_out)
    assert found.perplexity == pytest.approx(np.exp(np.mean(words)), rel=1e-4)
    assert found.end_nats == pytest.approx(np.mean(ends), rel=1e-4)


class Decoder:
    eos_token_id = END

    def decode(self, tokens_N: torch.Tensor, **_: object) -> str:
        return "ab" * int((tokens_N != END).sum())


def test_a_corpus_without_one_block_is_refused() -> None:
    check_length(SimpleNamespace(total_tokens=21), 20)
    with pytest.raises(
        InputError, match=r"the held-out text has 20 tokens, and one block takes .* 21: give it"
    ):
        check_length(SimpleNamespace(total_tokens=20), 20)


@pytest.mark.parametrize("ends", [True, False])
def test_of_a_corpus_too(ends: bool) -> None:
    row = tokens(1, 101)[0]
    if ends:
        row[::7] = END
    corpus = SimpleNamespace(
        total_tokens=101, window=lambda start, length: row[start : start + length].numpy()
    )
    net = network().eval()
    nats = torch.cat(
        [
            torch.nn.functional.cross_entropy(
                net(block[None, :-1]).logits[0], block[1:], reduction="none"
            ).detach()
            for block in (row[i * 20 : i * 20 + 21] for i in range(5))
        ]
    )
    mark = row[1:] == END
    found = corpus_perplexity(net, Decoder(), corpus, 20)
    assert found.nats_per_token == pytest.approx(nats[~mark].mean().item(), rel=1e-4)
    assert found.perplexity == pytest.approx(nats[~mark].mean().exp().item(), rel=1e-4)
    assert found.bits_per_byte == pytest.approx(nats[~mark].mean().item() / np.log(2) / 2, rel=1e-4)
    assert found.end_nats == (pytest.approx(nats[mark].mean().item(), rel=1e-4) if ends else None)
