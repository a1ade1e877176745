from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jokbo.data.batches import epoch_order, packed_batch, sample_indices
from jokbo.data.packing import TokenCorpus, pack
from jokbo.data.tokenizer import train_tokenizer
from jokbo.errors import InputError

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


def test_same_in_another_process():
    program = "from jokbo.data.batches import sample_indices; print(sample_indices(7, 5, 12, 3).tolist())"
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


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus")
    texts = [f"film {i}" for i in range(40)]
    pack(texts, train_tokenizer(texts, 400), 0, path, 37)
    return TokenCorpus.open(path)


@pytest.mark.parametrize("context", [1, 7, 16])
def test_an_epoch_of_windows_has_every_token_as_target_once(corpus, context):
    windows = (corpus.total_tokens - 1) // context
    epoch = np.concatenate([packed_batch(corpus, step, 1, context, seed=5) for step in range(windows)])
    assert epoch.shape == (windows, context + 1)
    assert epoch.dtype == np.int64
    stream = corpus.window(0, windows * context + 1)
    expected = [stream[k * context : (k + 1) * context + 1].tolist() for k in range(windows)]
    assert sorted(epoch.tolist()) == sorted(expected)


def test_a_batch_is_its_samples_in_order(corpus):
    windows = (corpus.total_tokens - 1) // 8
    batch = packed_batch(corpus, 3, 4, 8, seed=1)
    expected = [corpus.window(8 * k, 9).tolist() for k in sample_indices(3, 4, windows, 1)]
    assert batch.tolist() == expected


def test_corpus_too_small_for_one_batch(corpus):
    said = rf"{corpus.name} \({corpus.total_tokens} tokens, context 50\) makes \d samples, too few"
    with pytest.raises(InputError, match=said):
        packed_batch(corpus, 0, 16, 50, seed=1)
    with pytest.raises(InputError, match="makes 0 samples"):
        packed_batch(corpus, 0, 1, corpus.total_tokens, seed=1)
