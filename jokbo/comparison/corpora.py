"""The corpora that the systems read: the chain's documents in the tokens of each text of family_text."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from jokbo.data import shards
from jokbo.data.corpus import corpora, packing
from jokbo.data.corpus.batches import TokenCorpus
from jokbo.runtime.errors import about

if TYPE_CHECKING:
    from jokbo import params

Text = tuple[
    dict[str, packing.Encoded], Path
]  # encoded documents by split, and the folder of their tokenizer


def encoded_texts(
    settings: params.FamilyText,
    files: Mapping[str, Sequence[Path]],
    pairs: Sequence[tuple[str, str]],
    folder: Path,
    parallel_map: shards.ParallelMap,
) -> dict[str, Text]:
    """Return the encoded documents and the tokenizer of each text, by name; all is made in `folder`.

    files: of each split the files of its documents. pairs: the translations, English and Korean. Their text's tokenizer
    learns from them, and from as many bytes of documents as are in Korean.
    """
    found = {}
    for name, tokenizer in settings.texts.items():
        more: list[str] = []
        if name == settings.translations.text:
            korean = sum(len(korean.encode()) for _, korean in pairs)
            tokenizer = tokenizer.model_copy(update={"sample_bytes": min(korean, tokenizer.sample_bytes)})
            more = [text for pair in pairs for text in pair]
        with about(f"family_text.texts.{name}"):
            path = corpora.learned(files["train"], tokenizer, settings.mix, folder / name, more)
            encoded = corpora.encode(files, path, settings.mix, folder / name, parallel_map)
            corpora.check_known(encoded["train"], path, tokenizer.maximum_unknown, more)
            found[name] = encoded, path
    return found


def lay_out(text: Text, settings: params.FamilyText, path: Path) -> dict[str, Any]:
    """Write the corpora and the tokenizer of a text.

    Returns `vocabulary` (tokens), `unigram_entropy` (nats a token), and what corpora.lay_out counts of each split.
    """
    encoded, learned = text
    with about("family_text.mix"):
        counts = corpora.lay_out(encoded, learned, settings.mix, path, settings.shard_tokens)
    shutil.copytree(learned, path / "tokenizer")
    vocabulary = Tokenizer.from_file(str(learned / "tokenizer.json")).get_vocab_size()
    train, held_out = (TokenCorpus.open(path / split) for split in ("train", "validation"))
    entropy = corpora.unigram_entropy(train, held_out, vocabulary)
    return {"vocabulary": vocabulary, "unigram_entropy": entropy, **counts}
