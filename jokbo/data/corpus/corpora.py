"""A tokenizer learned from documents, and the splits of the documents as corpora in its tokens.

Shape letter: V tokens of the vocabulary.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Tokenizer

from jokbo.data import shards
from jokbo.data.corpus import mixing, packing
from jokbo.data.corpus.batches import TokenCorpus
from jokbo.data.corpus.tokenizer import (
    RARE_LANGUAGE,
    check_unknown,
    counted,
    end_of_text,
    measure,
    save_tokenizer,
    train_tokenizer,
)
from jokbo.data.counts import MixedCounts, Tokenized
from jokbo.data.tables import read_batches

if TYPE_CHECKING:
    from jokbo import params


def learned(
    files: Sequence[Path], settings: params.Tokenizer, mix: params.Mix, folder: Path, more: Sequence[str] = ()
) -> Path:
    """Return the folder of a tokenizer that is learned from files of documents (tables.shard_files) and from `more`.

    The result stays in `folder`: a process that was stopped goes on with it.
    """
    work = partial(learn, settings, mix, more)
    shards.run("learn", work, {"tokenizer": files}, folder)  # one call, which uses all cores
    return folder / "learn" / "tokenizer"


def encode(
    files: Mapping[str, Sequence[Path]],
    tokenizer: Path,
    mix: params.Mix,
    folder: Path,
    parallel_map: shards.ParallelMap,
) -> dict[str, packing.Encoded]:
    """Return the documents of each split as tokens of the tokenizer in a folder.

    files: of each split the files of its documents (tables.shard_files). The results of each step stay in `folder`: a
    process that was stopped goes on with them.
    """
    names = mixing.source_names(mix)
    return {
        split: packing.encode(
            f"encode-{split}", found, tokenizer / "tokenizer.json", names, folder, parallel_map
        )
        for split, found in files.items()
    }


def check_known(
    train: packing.Encoded, tokenizer: Path, maximum_unknown: float, more: Sequence[str] = ()
) -> None:
    """Raise InputError if too much of a source, of a language or of the texts `more` is unknown to the tokenizer."""
    check_unknown(train.by_source, maximum_unknown)
    check_unknown(train.by_language, maximum_unknown, at_least=RARE_LANGUAGE)
    if more:
        opened = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
        check_unknown({"translations": counted(opened, more)}, maximum_unknown)


MEASURED = 1000  # documents of each language, at most, on which a tokenizer is measured


def learn(
    settings: params.Tokenizer, mix: params.Mix, more: Sequence[str], files: Sequence[Path], path: Path
) -> shards.Counted:
    """Save a tokenizer learned from a sample of the mix of these files of documents, and from `more`."""
    sample = mixing.Sample(files, mix, settings.sample_bytes, more)
    save_tokenizer(train_tokenizer(sample, settings), path)
    return {}


def lay_out(
    encoded: Mapping[str, packing.Encoded], tokenizer: Path, mix: params.Mix, path: Path, shard_tokens: int
) -> dict[str, dict[str, float]]:
    """Write each split as a corpus at PATH/SPLIT: of `train` the mix, of the others each document once.

    Returns `documents`, `tokens`, `bytes` and `bytes_per_token` of each split.
    """
    end = end_of_text(tokenizer / "tokenizer.json")
    found = {}
    for split, documents in encoded.items():
        epochs = dict.fromkeys(mixing.source_names(mix), 1.0)
        if split == "train":
            epochs = mixing.epochs_of(mix, documents.count("tokens"))
        counts = packing.lay_out(documents, epochs, end, path / split, shard_tokens)
        found[split] = {**counts, "bytes_per_token": counts["bytes"] / counts["tokens"]}
    return found


def described(
    train: packing.Encoded, mix: params.Mix, tokenizer: Tokenizer, held_out: Mapping[str, Sequence[str]]
) -> Tokenized:
    """Return what the training split has in tokens, what the mix makes of it, and how the tokenizer does.

    held_out: texts by language, on which the tokenizer is measured.
    """
    sizes = train.count("tokens")
    epochs = mixing.epochs_of(mix, sizes)
    whole = sum(epochs[name] * sizes[name] for name in epochs)
    return Tokenized(
        vocabulary=tokenizer.get_vocab_size(),
        sources={
            name: MixedCounts(
                **asdict(train.by_source[name]), epochs=epochs[name], share=epochs[name] * sizes[name] / whole
            )
            for name in epochs
        },
        languages=train.by_language,
        unused=train.unused,
        held_out={language: measure(tokenizer, texts) for language, texts in held_out.items()},
    )


def some_texts(files: Sequence[Path], names: Sequence[str]) -> dict[str, list[str]]:
    """Return the first documents of the sources by language, at most MEASURED of each. files: files of documents."""
    found: dict[str, list[str]] = defaultdict(list)
    for batch in (batch for file in files for batch in read_batches(file)):
        of_sources = mixing.source_indices(batch, names) >= 0
        for text, code, wanted in zip(batch["text"], batch["language"], of_sources, strict=True):
            if wanted and len(found[code.as_py()]) < MEASURED:
                found[code.as_py()].append(text.as_py())
    return dict(sorted(found.items()))


def unigram_entropy(train: TokenCorpus, held_out: TokenCorpus, vocabulary: int) -> float:
    """Return the loss on `held_out`, in nats a token, of a model that knows only how often each token is in `train`.

    Each token is counted once more than it occurs.
    """
    train_V, held_out_V = (_frequencies(corpus, vocabulary) for corpus in (train, held_out))
    nats_V = np.log(train_V.sum() + vocabulary) - np.log(train_V + 1)
    return float(held_out_V @ nats_V / held_out_V.sum())


def _frequencies(corpus: TokenCorpus, vocabulary: int) -> np.ndarray:
    """Return how often each token is in the corpus: int64 [V]."""
    return reduce(np.add, (np.bincount(shard, minlength=vocabulary) for shard in corpus.shards))
