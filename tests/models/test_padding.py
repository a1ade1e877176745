"""Prompts that are padded on the left are read, sampled from and scored as if each stood alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from jokbo.alignment.reward import with_end_of_text
from jokbo.data.prompts import Prompts
from jokbo.evaluation.perplexity import losses
from jokbo.finetuning import continuation
from jokbo.models import causal
from jokbo.sampling import Padded, drawn_from, response_distributions, response_states, sample
from tests.support.networks import END, PADDING, network, tokens

PROMPT, RESPONSE = 6, 5
PADDED = [0, 1, 2, 4]


@pytest.fixture(params=["llama", "gpt2"])
def net(request: pytest.FixtureRequest):
    return network(request.param).eval()


def rows() -> Tensor:
    """Return sequences with padding before their prompts, int64 [N, PROMPT + RESPONSE]."""
    found = tokens(len(PADDED), PROMPT + RESPONSE)
    for row, count in zip(found, PADDED, strict=True):
        row[:count] = PADDING
    return found


def test_positions_begin_after_the_padding() -> None:
    positions = causal.padded_positions(rows(), PADDING)
    assert positions is not None
    assert positions[3].tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6]
    assert positions[0].tolist() == list(range(PROMPT + RESPONSE))
    assert causal.padded_positions(rows()[:1], PADDING) is None


def test_log_probabilities_and_states_of_responses_are_those_of_the_row_alone(net) -> None:
    together = response_distributions(net, rows(), PROMPT, 0.7)
    states = response_states(net, rows(), PROMPT)
    for i, count in enumerate(PADDED):
        alone = rows()[i : i + 1, count:]
        torch.testing.assert_close(
            together[i : i + 1], response_distributions(net, alone, PROMPT - count, 0.7)
        )
        torch.testing.assert_close(states[i : i + 1], response_states(net, alone, PROMPT - count))


def test_losses_are_those_of_the_row_alone(net) -> None:
    together = losses(net, rows())
    for i, count in enumerate(PADDED):
        torch.testing.assert_close(together[i, count:], losses(net, rows()[i : i + 1, count:])[0])


def test_tokens_are_drawn_from_what_the_row_alone_is_followed_by(net) -> None:
    sampled = sample(net, rows()[:, :PROMPT], response_tokens=RESPONSE, temperature=1.0, seed=3)
    again = sample(net, rows()[:, :PROMPT], response_tokens=RESPONSE, temperature=1.0, seed=3)
    assert torch.equal(sampled.tokens_BS, again.tokens_BS)
    cache_of = {"use_cache": True}
    where = Padded.of(rows()[:, :PROMPT], PADDING)
    assert where is not None
    output = net(input_ids=rows()[:, :PROMPT], **cache_of, **where.options())
    cache, given = output.past_key_values, rows()[:, PROMPT : PROMPT + 3]
    logits = [output.logits[:, -1]]
    for position in range(3):  # token by token, after some rows have ended
        if position == 1:
            left = torch.tensor([1, 3])
            cache.batch_select_indices(left)
            where, given, logits = where.of_rows(left), given[left], [each[left] for each in logits]
        where = where.after()
        output = net(input_ids=given[:, position : position + 1], past_key_values=cache, **where.options())
        logits.append(output.logits[:, -1])
    for row, count in ((0, PADDED[1]), (1, PADDED[3])):
        whole = net(input_ids=rows()[(1, 3)[row], count : PROMPT + 3][None]).logits[0, -4:]
        theirs = drawn_from(whole, net.config, 1.0)
        ours = drawn_from(torch.stack([each[row] for each in logits]), net.config, 1.0)
        torch.testing.assert_close(ours, theirs)


def test_the_reward_model_reads_padding_at_the_end() -> None:
    given = rows()
    given[3, -2:] = torch.tensor([END, PADDING])
    found = with_end_of_text(given, END, PADDING)
    assert found[0].tolist() == [*given[0].tolist(), END]
    assert found[2].tolist() == [*given[2, 2:].tolist(), END, PADDING, PADDING]
    assert found[3].tolist() == [*given[3, 4:10].tolist(), *[PADDING] * 6]


def test_what_the_policy_learns_is_packed_without_padding() -> None:
    learned = torch.zeros(len(PADDED), PROMPT + RESPONSE, dtype=torch.bool)
    learned[:, PROMPT:] = True
    learned[0, 2] = True  # an answer before the last
    lengths = torch.tensor([RESPONSE, 3, RESPONSE, 2])
    given = rows()
    for row, length in enumerate(lengths.tolist()):
        given[row, PROMPT + length :] = PADDING
        learned[row, PROMPT + length :] = False
    prompts = Prompts(given, lengths, PROMPT, torch.tensor(PADDED), learned[:, 1:])
    packed = continuation.packed(prompts, prompts.targets_NT, 20, PADDING)
    said = packed.tokens_NS[:, 1:][packed.targets_NT]
    assert sorted(said.tolist()) == sorted(given[learned].tolist())
    assert (packed.positions_NT == 0).sum() >= len(PADDED)
    real = (packed.tokens_NS != PADDING).sum()
    assert real == sum(PROMPT - count for count in PADDED) + lengths.sum()
    assert not (prompts.real_NT & (given[:, 1:] == PADDING)).any()
