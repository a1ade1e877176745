"""What the family's systems read: the corpora, translations, a lexicon and tasks. `python -m tasks.family_text`"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from datasets import Dataset, concatenate_datasets
from tokenizers import Tokenizer

from jokbo.comparison.lexicon import valences
from jokbo.comparison.texts import FACTS, LEXICON, TASKS, TRANSLATIONS
from jokbo.comparison.translations import english_korean
from jokbo.data import shards
from jokbo.data.corpus import corpora, packing
from jokbo.data.corpus.token_corpus import TokenCorpus
from jokbo.data.outputs import save_tables, shard_files
from jokbo.data.selection import check_sources, labelled_from
from jokbo.data.tables import open_splits
from jokbo.runtime.errors import InputError, about
from jokbo.runtime.files import whole_directory
from tasks.frame.paths import FAMILY_DATA, FAMILY_DOCUMENTS
from tasks.frame.records import write_metrics
from tasks.frame.stage import Stage, run_stage, state

if TYPE_CHECKING:
    from jokbo import params

Rows = tuple[list[str], list[int]]  # texts and labels


def family_text(stage: Stage) -> None:
    settings, downloads = stage.params, state() / "downloads"
    tasks = tasks_of(settings)
    with about("family_text.translations"):
        pairs = english_korean(settings.translations.requirement, settings.translations.sha256, downloads)
    with about("family_text.lexicon"):
        words = valences(settings.lexicon.requirement, settings.lexicon.sha256, downloads)
    with shards.processes(stage.compute.workers) as spread:
        texts = encoded_texts(settings, pairs, stage.checkpoints, spread)
    with whole_directory(FAMILY_DATA) as place:
        facts: dict[str, Any] = {"translations": len(pairs), "lexicon": len(words)}
        facts["texts"] = {name: laid_out(text, settings, place / name) for name, text in texts.items()}
        facts["tasks"] = {name: saved(splits, place / TASKS / name) for name, splits in tasks.items()}
        translated = Path(settings.translations.text, TRANSLATIONS)
        for name, found in ((translated, pairs), (LEXICON, words), (FACTS, facts)):
            (place / name).write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n")
    write_metrics(stage, facts)


def encoded_texts(
    settings: params.FamilyText, pairs: Sequence[tuple[str, str]], folder: Path, spread: shards.Spread
) -> dict[str, tuple[dict[str, packing.Encoded], Path]]:
    """By text: its documents by split, and its tokenizer's folder; all is made in `folder`.

    The tokenizer of the translations learns from them, and of the documents from as many bytes as are in Korean.
    """
    files = {split: shard_files(FAMILY_DOCUMENTS.resolve() / split) for split in ("train", "validation")}
    found = {}
    for name, tokenizer in settings.texts.items():
        more: list[str] = []
        if name == settings.translations.text:
            korean = sum(len(korean.encode()) for _, korean in pairs)
            tokenizer = tokenizer.model_copy(update={"sample_bytes": min(korean, tokenizer.sample_bytes)})
            more = [text for pair in pairs for text in pair]
        with about(f"family_text.texts.{name}"):
            found[name] = corpora.encode(files, tokenizer, settings.mix, folder / name, spread, more)
    return found


def laid_out(
    text: tuple[dict[str, packing.Encoded], Path], settings: params.FamilyText, path: Path
) -> dict[str, Any]:
    """Writes the corpora and the tokenizer of a text; returns what they have in numbers."""
    encoded, learned = text
    with about("family_text.mix"):
        counts = corpora.lay_out(encoded, learned, settings.mix, path, settings.shard_tokens)
    shutil.copytree(learned, path / "tokenizer")
    vocabulary = Tokenizer.from_file(str(learned / "tokenizer.json")).get_vocab_size()
    train, held_out = (TokenCorpus.open(path / split) for split in ("train", "validation"))
    entropy = corpora.unigram_entropy(train, held_out, vocabulary)
    return {"vocabulary": vocabulary, "unigram_entropy": entropy, **counts}


def tasks_of(settings: params.FamilyText) -> dict[str, dict[str, Rows]]:
    """Texts and labels by task and split, texts of no two splits alike.

    Raises InputError for a source without documents, and for a split whose rows are not of two classes.
    """
    documents = open_splits(FAMILY_DOCUMENTS)
    splits = {
        "train": documents["train"],
        "validation": documents["validation"],
        "test": concatenate_datasets([documents[split] for split in settings.test_splits]),
    }
    found: dict[str, dict[str, Rows]] = {}
    for name, task in settings.tasks.items():
        with about(f"family_text.tasks.{name}"):
            check_sources(splits["train"], task.sources)
            found[name] = {split: rows_of(held, task, settings.seed, split) for split, held in splits.items()}
    return found


def rows_of(documents: Dataset, task: params.Task, seed: int, split: str) -> Rows:
    """The rows of a split, in an order of chance: the first so many are as good as any."""
    with about(split):
        texts, labels = labelled_from(documents, *task.sources, neutral=task.neutral)
        order = np.random.default_rng(seed).permutation(len(texts))
        texts, labels = [texts[row] for row in order], [labels[row] for row in order]
        if len(classes := set(labels)) < 2:
            raise InputError(
                f"all {len(labels)} rows are of class {classes.pop()}: name sources with both classes"
            )
    return texts, labels


def saved(splits: Mapping[str, Rows], path: Path) -> dict[str, dict[str, float]]:
    """Writes a task for `load_from_disk`; returns of each split its rows and the share of those with label 1."""
    save_tables(
        {split: pa.table({"text": texts, "label": labels}) for split, (texts, labels) in splits.items()}, path
    )
    return {
        split: {"rows": len(labels), "positive": sum(labels) / len(labels)}
        for split, (_, labels) in splits.items()
    }


if __name__ == "__main__":
    run_stage("family_text", family_text)
