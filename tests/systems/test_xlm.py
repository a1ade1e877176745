"""XLM: its pairs, how sequences of translations are laid out, and that translations are made use of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForMaskedLM

from jokbo.systems import xlm
from jokbo.systems.common import Text, encoded
from tests.support.corpora import trained as tokenizer_of
from tests.systems.running_text import (
    ORDINARY,
    SIZE,
    SPECIAL_TOKENS,
    WORDS,
    random_tokens,
    running_text,
    same,
    sharpened,
    trained,
    unigram_entropy,
)


def halves(number: int = 300, longest: int = 12) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of random words of the vocabulary's first half, and those that stand for them in the second."""
    rng = np.random.default_rng(1)
    firsts = [rng.integers(WORDS // 2, size=rng.integers(2, longest)) for _ in range(number)]
    return [(ORDINARY + first, ORDINARY + WORDS // 2 + (first * 5) % (WORDS // 2)) for first in firsts]


def text() -> Text:
    return replace(running_text(), pairs=halves())


def test_pairs_as_tokens() -> None:
    pairs = [("save the file", "파일 저장"), ("delete it", "지우기")]
    tokenizer = tokenizer_of([side for pair in pairs for side in pair] * 3, 80, "wordpiece")
    found = encoded(pairs, tokenizer)
    decoded = [[tokenizer.decode(side.tolist()) for side in pair] for pair in found]
    assert decoded == [list(pair) for pair in pairs]


def test_all_tokens_but_marks_may_be_predicted() -> None:
    chances_V = xlm.chances(replace(text(), vocabulary=SIZE.vocabulary + 1))  # one that never comes
    assert (chances_V[: SPECIAL_TOKENS.mask + 1] == 0).all()
    assert (chances_V[SPECIAL_TOKENS.mask + 1 :] > 0).all()


def test_rare_tokens_are_predicted_more_often_by_the_square_root() -> None:
    """Of two tokens, one four times as frequent as the other, each position is predicted half as often."""
    rng = np.random.default_rng(0)
    first = ORDINARY + (rng.random(4000) < 0.2)  # 80% and 20%
    pairs = [(piece, piece) for piece in first.reshape(-1, 10)]
    held = replace(running_text(1), pairs=pairs)
    chances_V = xlm.chances(held)
    assert chances_V[ORDINARY + 1] / chances_V[ORDINARY] == pytest.approx(2, rel=0.05)
    predicted, all_tokens = np.zeros(2), np.zeros(2)
    for step in range(1, 60, 2):
        batch = xlm.batch(held, step, 64, 128, 0)
        original_BT = batch["inputs_BT"].scatter(1, batch["positions_BK"], batch["targets_BK"])
        for kind in (0, 1):
            predicted[kind] += ((batch["targets_BK"] == ORDINARY + kind) & (batch["weights_BK"] > 0)).sum()
            all_tokens[kind] += (original_BT == ORDINARY + kind).sum()
    assert predicted.sum() / all_tokens.sum() == pytest.approx(
        0.15, abs=0.005
    )  # a sequence's number is rounded
    # chosen are those of the least times, exponential ones whose rate is the weight
    rates = chances_V[ORDINARY : ORDINARY + 2].numpy() * 50
    times = np.linspace(0, 1, 10001)[:, None]
    until = times[np.abs((1 - np.exp(-rates * times)) @ all_tokens - predicted.sum()).argmin()]
    expected = 1 - np.exp(-rates * until)
    assert expected[0] / expected[1] == pytest.approx(0.54, abs=0.02)  # without replacement, not quite a half
    assert (predicted / all_tokens).tolist() == pytest.approx(expected.tolist(), rel=0.04)


def texts(tokens_T: Tensor) -> list[list[int]]:
    """What stands between special tokens."""
    tokens = tokens_T.numpy()
    between = np.split(tokens, np.flatnonzero(tokens == SPECIAL_TOKENS.sep))
    return [part[1:].tolist() for part in between if len(part) > 1]


def test_a_row_of_translations() -> None:
    held = text()
    known = {tuple(first.tolist()): second.tolist() for first, second in held.pairs}
    batch = xlm.translations(held, 3, 32, 64, 0)
    number, filled = 0, 0
    for tokens_T, languages_T, positions_T in zip(*batch.values(), strict=True):
        real_T = positions_T >= 0
        length = int(real_T.sum())
        assert real_T[:length].all()
        assert (tokens_T[length:] == SPECIAL_TOKENS.padding).all()
        half = length // 2  # the two languages' texts are equally long here
        firsts, seconds = texts(tokens_T[:half]), texts(tokens_T[half:length])
        assert [known[tuple(first)] for first in firsts] == seconds
        assert languages_T[:length].tolist() == [0] * half + [1] * half
        assert positions_T[:length].tolist() == [*range(half), *range(half)]
        assert tokens_T[[0, half - 1, half, length - 1]].tolist() == [SPECIAL_TOKENS.sep] * 4
        number, filled = number + len(firsts), filled + length
    assert number > 3 * 32  # as many as fit
    assert filled > 0.7 * 32 * 64


def test_a_pair_too_long_for_a_row_is_cut() -> None:
    first, second = np.arange(50) % WORDS + ORDINARY, np.arange(9) + ORDINARY
    batch = xlm.translations(replace(running_text(), pairs=[(first, second)]), 0, 1, 32, 0)
    assert batch["tokens_BT"][0, 1:16].tolist() == first[:15].tolist()
    assert batch["tokens_BT"][0, 16:27].tolist() == [SPECIAL_TOKENS.sep, *second, SPECIAL_TOKENS.sep]
    assert (batch["positions_BT"] >= 0).sum() == 27


def test_a_row_of_text_follows_the_corpus() -> None:
    held = text()
    batch = xlm.batch(held, 4, 8, 32, 0)
    original_BT = batch["inputs_BT"].scatter(1, batch["positions_BK"], batch["targets_BK"])
    assert torch.equal(original_BT[:, 1:], held.blocks(2, 8, 31, 0))  # every other step is one of text
    assert (original_BT[:, 0] == SPECIAL_TOKENS.sep).all()
    assert not batch["languages_BT"].any()
    assert (batch["positions_BT"] >= 0).all()
    assert (batch["targets_BK"][batch["weights_BK"] > 0] > SPECIAL_TOKENS.mask).all()


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    held = text()
    for step in (4, 5):
        first = xlm.batch(held, step, 4, 32, 1)
        assert same(first, xlm.batch(held, step, 4, 32, 1))
        for changed in (xlm.batch(held, step + 2, 4, 32, 1), xlm.batch(held, step, 4, 32, 2)):
            assert not torch.equal(first["inputs_BT"], changed["inputs_BT"])
            assert {key: value.shape for key, value in first.items()} == {
                key: value.shape for key, value in changed.items()
            }
    shapes = [{key: value.shape for key, value in xlm.batch(held, step, 4, 32, 1).items()} for step in (4, 5)]
    assert shapes[0] == shapes[1]


def tiny() -> nn.Module:
    return sharpened(xlm.network(SIZE, SPECIAL_TOKENS, 0))


@pytest.mark.parametrize("step", [0, 1])
def test_loss_is_the_mean_over_the_chosen_tokens(step: int) -> None:
    network, batch = tiny(), xlm.batch(text(), step, 4, 32, 0)
    losses, labels_BT = [], torch.full((4, 32), -100)
    for row in range(4):
        length = int((batch["positions_BT"][row] >= 0).sum())
        logits_TV = network(
            batch["inputs_BT"][row : row + 1, :length],
            langs=batch["languages_BT"][row : row + 1, :length],
            position_ids=batch["positions_BT"][row : row + 1, :length],
        ).logits[0]
        for k, position in enumerate(batch["positions_BK"][row]):
            if batch["weights_BK"][row, k] > 0:
                target = batch["targets_BK"][row, k]
                losses.append(-nn.functional.log_softmax(logits_TV[position], dim=-1)[target])
                labels_BT[row, position] = target
    found, _ = xlm.Objective(network, SPECIAL_TOKENS)(**batch)
    torch.testing.assert_close(found, torch.stack(losses).mean())
    theirs = network(
        batch["inputs_BT"],
        langs=batch["languages_BT"],
        position_ids=batch["positions_BT"].clamp(min=0),
        attention_mask=batch["positions_BT"] >= 0,
        labels=labels_BT,
    ).loss
    torch.testing.assert_close(found, theirs)


def test_language_and_position_are_part_of_the_input() -> None:
    network, batch = tiny(), xlm.batch(text(), 1, 4, 32, 0)
    objective = xlm.Objective(network, SPECIAL_TOKENS)
    first, _ = objective(**batch)
    for name, changed in [
        ("languages_BT", 1 - batch["languages_BT"]),
        ("positions_BT", batch["positions_BT"] + 1),
    ]:
        assert not torch.isclose(first, objective(**{**batch, name: changed.clamp(max=31)})[0])


def test_features_are_the_mean_state_of_a_mark_and_the_text() -> None:
    network, tokens_BT = tiny(), random_tokens(3, 16)
    tokens_BT[1, 9:], tokens_BT[2, 1:] = SPECIAL_TOKENS.padding, SPECIAL_TOKENS.padding
    found_BD = xlm.features(network, tokens_BT, SPECIAL_TOKENS)
    more_BD = xlm.features(
        network, nn.functional.pad(tokens_BT, (0, 9), value=SPECIAL_TOKENS.padding), SPECIAL_TOKENS
    )
    torch.testing.assert_close(found_BD, more_BD, rtol=1e-4, atol=1e-5)
    for row, length, found_D in zip(tokens_BT, (16, 9, 1), found_BD, strict=True):
        alone = torch.cat([torch.tensor([SPECIAL_TOKENS.sep]), row[:length]])[None]
        expected_D = network.base_model(alone, langs=torch.zeros_like(alone)).last_hidden_state[0].mean(0)
        torch.testing.assert_close(found_D, expected_D, rtol=1e-4, atol=1e-5)
    assert xlm.features(network, random_tokens(2, 32), SPECIAL_TOKENS).shape == (
        2,
        32,
    )  # as long as the context


def test_a_saved_network_opens_with_auto_model(tmp_path: Path) -> None:
    network, tokens_BT = tiny(), random_tokens(2, 20)
    network.save_pretrained(tmp_path)
    opened = AutoModelForMaskedLM.from_pretrained(tmp_path)
    languages_BT = torch.arange(20).expand(2, 20) // 10
    torch.testing.assert_close(
        opened(tokens_BT, langs=languages_BT).logits, network(tokens_BT, langs=languages_BT).logits
    )


def test_a_short_training_learns_from_the_text_and_from_the_other_language() -> None:
    """Words of the pairs are drawn at random: only their translation tells which they are."""
    held = text()
    entropy = unigram_entropy(held.corpus.shards[0])
    _, losses = trained(xlm, held, 1000, rate=0.008)
    of_text, of_translations = np.mean(losses[-40::2]), np.mean(losses[-39::2])
    print(f"XLM: {losses[0]:.2f} to {of_text:.2f} and {of_translations:.2f}, unigram entropy {entropy:.2f}")
    assert of_text < 0.8 * entropy < 0.8 * losses[0]
    assert of_translations < 0.6 * np.log(WORDS / 2)
