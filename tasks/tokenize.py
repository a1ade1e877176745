"""Learn a tokenizer from the training texts and pack the corpus. `python -m tasks.tokenize`"""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers import Tokenizer
from transformers import AutoTokenizer

from jokbo.data import shards
from jokbo.data.corpus import corpora, mixing, packing
from jokbo.data.counts import KNOWN, Counts, StartingModel, Tokenized
from jokbo.data.exclusions import of_tokens
from jokbo.data.tables import shard_files
from jokbo.reporting import data_card
from jokbo.runtime.errors import about
from jokbo.runtime.files import atomic_write_folder, write_text
from tasks.frame.paths import COUNTS, DATA_CARD, DATA_CARD_PAGE, DOCUMENTS, START, TOKENIZER, TOKENS
from tasks.frame.records import say, write_metrics
from tasks.frame.stage import Stage, run_stage

if TYPE_CHECKING:
    from jokbo import params


def tokenize(stage: Stage) -> None:
    settings = stage.params
    with shards.processes(stage.compute.workers) as parallel_map:
        encoded, path = work(settings, stage.checkpoints, parallel_map)
    with atomic_write_folder(TOKENIZER) as folder, atomic_write_folder(TOKENS) as tokens:
        shutil.copytree(path, folder, dirs_exist_ok=True)
        laid = corpora.lay_out(encoded, path, settings.mix, tokens, settings.shard_tokens)
    held_out = corpora.some_texts(shard_files(DOCUMENTS / "validation"), mixing.source_names(settings.mix))
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    tokenized = corpora.described(encoded["train"], settings.mix, tokenizer, held_out)
    say(stage, of_tokens(tokenized, sum(encoded["train"].rows)))
    by_split = {f"{name}/{split}": count for split, counts in laid.items() for name, count in counts.items()}
    write_metrics(stage, {**asdict(tokenized), **by_split})
    write_card(stage, tokenized)


def work(
    settings: params.Tokenize, folder: Path, parallel_map: shards.ParallelMap
) -> tuple[dict[str, packing.Encoded], Path]:
    """Do all that is done by shards, in `folder`. Return the encoded documents by split, and the tokenizer's folder."""
    documents = DOCUMENTS.resolve()
    files = {split: shard_files(documents / split) for split in ("train", "validation", "test")}
    with about("tokenize"):
        if settings.tokenizer.kind == "model":
            path = folder / "tokenizer"
            AutoTokenizer.from_pretrained(START).save_pretrained(path)
        else:
            path = corpora.learned(files["train"], settings.tokenizer, settings.mix, folder)
        encoded = corpora.encode(files, path, settings.mix, folder, parallel_map)
        corpora.check_known(encoded["train"], path, settings.tokenizer.maximum_unknown)
        return encoded, path


def write_card(stage: Stage, tokenized: Tokenized) -> None:
    """Write the data card, as JSON and as a page."""
    card = data_card.card(StartingModel.load(START / KNOWN), Counts.load(DOCUMENTS / COUNTS), tokenized)
    card.save(DATA_CARD)
    write_text(DATA_CARD_PAGE, data_card.text(card))
    stage.run.artifact(DATA_CARD_PAGE)
    stage.run.artifact(DATA_CARD)


if __name__ == "__main__":
    run_stage("tokenize", tokenize)
