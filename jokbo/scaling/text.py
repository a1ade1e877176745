"""What a sweep reads: the chain's tokens, or its documents in the tokens of a smaller vocabulary."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from jokbo.data.corpus import corpora
from jokbo.data.tables import shard_files
from jokbo.runtime.errors import InputError, about
from jokbo.runtime.files import atomic_write_folder
from jokbo.scaling.run import Text
from jokbo.scaling.sweep import digest_of

if TYPE_CHECKING:
    from jokbo import params

SPLITS = ("train", "validation")


def digest(text: Text) -> str:
    """Return the hash of a text: of all tokens of its corpora, and of its tokenizer."""
    files = [file for split in SPLITS for file in sorted((text.corpora / split).iterdir())]
    of_corpora, of_tokenizer = (
        digest_of(files, text.corpora),
        digest_of([text.tokenizer], text.tokenizer.parent),
    )
    return hashlib.sha256(f"{of_corpora} {of_tokenizer}".encode()).hexdigest()


def of_chain(tokens: Path, tokenizer: Path) -> Text:
    """Return the chain's own text. InputError if it is not there."""
    text = Text(tokens, tokenizer / "tokenizer.json")
    if not text.tokenizer.is_file():
        raise InputError(f"{text.tokenizer}: not there: run `dvc repro tokenize`")
    return text


def of_documents(
    documents: Path, tokenizer: params.Tokenizer, tokenize: params.Tokenize, folder: Path
) -> Text:
    """Return the text of the chain's documents in the tokens of a tokenizer that is learned from them.

    It is made once, in `folder`, under what it is made of. InputError if there are no documents.
    """
    files = {split: shard_files(documents.resolve() / split) for split in SPLITS}
    made_of = digest_of([file for of_split in files.values() for file in of_split], documents.resolve())
    named = f"{made_of} {tokenizer.model_dump_json()} {tokenize.mix.model_dump_json()}"
    home = folder / hashlib.sha256(named.encode()).hexdigest()[:16]
    whole = home / "corpora"
    if not whole.is_dir():
        with about("scaling.tokenizer"):
            learned = corpora.learned(files["train"], tokenizer, tokenize.mix, home)
            encoded = corpora.encode(files, learned, tokenize.mix, home, map)
            corpora.check_known(encoded["train"], learned, tokenizer.maximum_unknown)
            with atomic_write_folder(whole) as path:
                corpora.lay_out(encoded, learned, tokenize.mix, path, tokenize.shard_tokens)
    return Text(whole, home / "learn" / "tokenizer" / "tokenizer.json")
