"""A tokenizer learned from documents, and the splits of them as corpora in its tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Tokenizer

from jokbo.data import shards
from jokbo.data.corpus import mixing, packing
from jokbo.data.corpus.token_corpus import TokenCorpus
from jokbo.data.corpus.tokenizer import (
    END_OF_TEXT,
    check_unknown,
    encode_texts,
    save_tokenizer,
    train_tokenizer,
)
from jokbo.data.tally import total

if TYPE_CHECKING:
    from jokbo import params


def encode(
    files: Mapping[str, Sequence[Path]],
    settings: params.Tokenizer,
    mix: params.Mix,
    folder: Path,
    spread: shards.Spread,
    more: Sequence[str] = (),
) -> tuple[dict[str, packing.Encoded], Path]:
    """The documents of each split as tokens, and the folder of the tokenizer, learned from `train` and texts `more`.

    files: of each split the files of its documents (outputs.shard_files). Each step's results stay in `folder`, so
    that whoever is stopped goes on with what is done. Raises InputError if too much of `train` or of `more` is unknown
    to the tokenizer.
    """
    work = partial(learn, settings, mix, more)
    shards.run("learn", work, {"tokenizer": files["train"]}, folder)  # with all cores
    learned, names = folder / "learn" / "tokenizer", mixing.source_names(mix)
    encoded = {
        split: packing.encode(f"encode-{split}", found, learned / "tokenizer.json", names, folder, spread)
        for split, found in files.items()
    }
    counted = {kind: encoded["train"].facts[kind] for kind in ("sources", "languages")}
    if more:
        tokenizer = Tokenizer.from_file(str(learned / "tokenizer.json"))
        counted["translations"] = {
            "translations": total([counts for _, counts in encode_texts(tokenizer, more)])
        }
    check_unknown(counted, settings.maximum_unknown)
    return encoded, learned


def learn(
    settings: params.Tokenizer, mix: params.Mix, more: Sequence[str], files: Sequence[Path], path: Path
) -> shards.Facts:
    """Saves a tokenizer learned from a sample of the mix of these files of documents, and from `more`."""
    sample = mixing.Sample(files, mix, settings.sample_bytes, more)
    save_tokenizer(train_tokenizer(sample, settings), path)
    return {}


def lay_out(
    encoded: Mapping[str, packing.Encoded], learned: Path, mix: params.Mix, path: Path, shard_tokens: int
) -> dict[str, dict[str, float]]:
    """Writes each split as a corpus at PATH/SPLIT: of `train` the mix, of the others each document once.

    Returns of each split: documents, tokens, bytes, bytes_per_token.
    """
    end = Tokenizer.from_file(str(learned / "tokenizer.json")).token_to_id(END_OF_TEXT)
    assert end is not None  # every tokenizer of ours has it
    found = {}
    for split, documents in encoded.items():
        epochs = dict.fromkeys(mixing.source_names(mix), 1.0)
        if split == "train":
            epochs = mixing.epochs_of(mix, documents.count("tokens"))
        counts = packing.lay_out(documents, epochs, end, path / split, shard_tokens)
        found[split] = {**counts, "bytes_per_token": counts["bytes"] / counts["tokens"]}
    return found


def unigram_entropy(train: TokenCorpus, held_out: TokenCorpus, vocabulary: int) -> float:
    """Nats a token of predicting `held_out` by how often tokens come in `train`, each counted once more than it does:
    the loss of a network that knows frequencies and nothing else."""
    train_V, held_out_V = (_frequencies(corpus, vocabulary) for corpus in (train, held_out))
    nats_V = np.log(train_V.sum() + vocabulary) - np.log(train_V + 1)
    return float(held_out_V @ nats_V / held_out_V.sum())


def _frequencies(corpus: TokenCorpus, vocabulary: int) -> np.ndarray:
    return reduce(np.add, (np.bincount(shard, minlength=vocabulary) for shard in corpus.shards))
