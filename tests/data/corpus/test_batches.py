from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jokbo.data.corpus.batches import (
    GROUPED,
    Layout,
    dealt_by_length,
    documents_at,
    efficiency,
    epoch_order,
    packed_batch,
    sample_indices,
)
from jokbo.runtime.errors import InputError
from tests.support.corpora import packed, trained

seeds = st.integers(0, 2**32 - 1)
sizes = st.tuples(st.integers(1, 50), st.integers(0, 50)).map(lambda pair: (pair[0] + pair[1], pair[0]))


@given(sizes, seeds)
def test_each_epoch_visits_every_sample_once(size, seed):
    n, batch = size
    steps = 3 * n  # a whole number of epochs: 3 * batch of them
    visited = np.concatenate([sample_indices(step, batch, n, seed) for step in range(steps)])
    for epoch in visited.reshape(-1, n):
        assert sorted(epoch) == list(range(n))


@given(sizes, seeds, st.lists(st.integers(0, 200), min_size=2, max_size=8))
def test_no_step_depends_on_those_before(size, seed, steps):
    n, batch = size
    first = {step: sample_indices(step, batch, n, seed).tolist() for step in steps}
    epoch_order.cache_clear()
    assert {step: sample_indices(step, batch, n, seed).tolist() for step in reversed(steps)} == first


@given(sizes, seeds)
def test_dealing_by_length_changes_no_groups_samples(size, seed):
    n, batch = size
    lengths = np.arange(n) % 7
    at = dealt_by_length(lengths, batch, seed, "texts")
    for group in range(3):
        steps = range(group * GROUPED, (group + 1) * GROUPED)
        dealt = [at(step) for step in steps]
        plain = np.concatenate([sample_indices(step, batch, n, seed) for step in steps])
        assert sorted(np.concatenate(dealt)) == sorted(plain)
        by_length = sorted(dealt, key=lambda samples: lengths[samples].mean())
        for shorter, longer in pairwise(by_length):
            assert lengths[shorter].max() <= lengths[longer].min()


def test_same_in_another_process():
    program = (
        "from jokbo.data.corpus.batches import sample_indices; print(sample_indices(7, 5, 12, 3).tolist())"
    )
    result = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert result.stdout.strip() == str(sample_indices(7, 5, 12, 3).tolist())


def test_seeds_and_epochs_have_orders_of_their_own():
    orders = {tuple(epoch_order(50, seed, epoch)) for seed in range(10) for epoch in range(10)}
    assert len(orders) == 100


def test_the_cached_order_cannot_be_spoilt():
    with pytest.raises(ValueError, match="read-only"):
        epoch_order(5, 0, 0)[0] = 1


def test_a_batch_may_cross_epochs():
    crossing = sample_indices(1, 4, 6, 0)
    assert crossing.tolist() == [*epoch_order(6, 0, 0)[4:], *epoch_order(6, 0, 1)[:2]]


def test_too_few_samples_for_a_batch():
    with pytest.raises(
        InputError, match="data/mine makes 3 samples, too few for one batch of 4: give it more"
    ):
        sample_indices(0, 4, 3, 0, "data/mine")


TEXTS = [f"film {i} " + "of the year " * (i % 5) for i in range(40)]
TOKENIZER = trained(TEXTS, 400)
PADDING = 1


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return packed(tmp_path_factory.mktemp("corpus"), TEXTS, TOKENIZER, 37)


def batch_of(corpus, step, batch, context, seed, packing="joined"):
    return packed_batch(corpus, step, Layout(batch, context, seed, packing), PADDING)


@pytest.mark.parametrize("packing", ["joined", "masked"])
@pytest.mark.parametrize("context", [1, 7, 16])
def test_an_epoch_of_windows_has_every_token_as_target_once(corpus, context, packing):
    windows = (corpus.total_tokens - 1) // context
    epoch = np.concatenate([batch_of(corpus, step, 1, context, 5, packing) for step in range(windows)])
    assert epoch.shape == (windows, context + 1)
    assert epoch.dtype == np.int64
    stream = corpus.window(0, windows * context + 1)
    expected = [stream[k * context : (k + 1) * context + 1].tolist() for k in range(windows)]
    assert sorted(epoch.tolist()) == sorted(expected)


def test_a_batch_is_its_samples_in_order(corpus):
    windows = (corpus.total_tokens - 1) // 8
    expected = [corpus.window(8 * k, 9).tolist() for k in sample_indices(3, 4, windows, 1)]
    assert batch_of(corpus, 3, 4, 8, 1).tolist() == expected


@pytest.mark.parametrize("context", [3, 9, 50])
def test_padded_rows_are_the_documents_from_mark_to_mark(corpus, context):
    rows = np.concatenate([batch_of(corpus, step, 4, context, 5, "padded") for step in range(10)])
    expected = []
    for text in TEXTS:
        row = [0, *TOKENIZER.encode(text).ids, 0][: context + 1]
        expected.append(row + [PADDING] * (context + 1 - len(row)))
    assert sorted(rows.tolist()) == sorted(expected)


@pytest.mark.parametrize("context", [1, 4, 9, 50])
def test_efficiency_is_counted_over_an_epoch(corpus, context):
    found = efficiency(corpus, context)
    rows = np.concatenate([batch_of(corpus, step, 4, context, 5, "padded") for step in range(10)])
    targets = int((rows[:, 1:] != PADDING).sum())
    assert found["padded"]["filled"] == targets / rows[:, 1:].size
    assert found["padded"]["kept"] == targets / (corpus.total_tokens - 1)
    blocks = (corpus.total_tokens - 1) // context * context
    assert found["joined"] == found["masked"] == {"filled": 1, "kept": blocks / (corpus.total_tokens - 1)}


@pytest.mark.parametrize("packing", ["joined", "masked", "padded"])
@pytest.mark.parametrize("context", [2, 9, 30])
@pytest.mark.parametrize("step", [0, 3])
def test_documents_of_a_step_are_those_whose_text_stands_in_its_batch(corpus, context, packing, step):
    layout = Layout(batch=5, context=context, seed=2, packing=packing)
    rows = packed_batch(corpus, step, layout, PADDING)
    for row, found in zip(rows.tolist(), documents_at(corpus, step, layout), strict=True):
        assert (
            row[: found["end"] - found["start"]]
            == corpus.window(found["start"], found["end"] - found["start"]).tolist()
        )
        rest = list(row)
        for part in found["documents"]:
            piece = row[part["start"] : part["end"]]
            assert piece
            whole = TOKENIZER.encode(TEXTS[part["row"]]).ids
            assert any(whole[i : i + len(piece)] == piece for i in range(len(whole)))
            assert part["end"] == found["end"] - found["start"] or row[part["end"]] == 0
            assert part["start"] == 0 or row[part["start"] - 1] == 0
            rest[part["start"] : part["end"]] = [PADDING] * len(piece)
        assert set(rest) <= {0, PADDING}, "every token is a document's, a mark or padding"


def test_corpus_too_small_for_one_batch(corpus):
    said = rf"{corpus.name} \({corpus.total_tokens} tokens, context 50, joined\) makes \d+ samples, too few"
    with pytest.raises(InputError, match=said):
        batch_of(corpus, 0, 64, 50, seed=1)
    with pytest.raises(InputError, match="makes 0 samples"):
        batch_of(corpus, 0, 1, corpus.total_tokens, seed=1)
    with pytest.raises(InputError, match=r"padded.* makes 40 samples, too few for one batch of 41"):
        batch_of(corpus, 0, 41, 50, seed=1, packing="padded")
