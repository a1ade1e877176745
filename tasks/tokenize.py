"""Learn a tokenizer from the training texts and pack the corpus. `python -m tasks.tokenize`"""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from jokbo.data import shards
from jokbo.data.corpus import corpora, mixing, packing
from jokbo.data.corpus.tokenizer import measure
from jokbo.data.losses import of_tokens
from jokbo.data.outputs import read_batches, shard_files
from jokbo.reporting import data_card as card
from jokbo.runtime.errors import about
from jokbo.runtime.files import read_json, whole_directory, write_text
from tasks.frame.paths import DATA_CARD, DATA_CARD_PAGE, DOCUMENTS, FACTS, TOKENIZER, TOKENS
from tasks.frame.records import say, write_metrics
from tasks.frame.stage import Stage, run_stage

if TYPE_CHECKING:
    from jokbo import params

MEASURED = 1000  # documents of each language, at most, on which the tokenizer is measured


def tokenize(stage: Stage) -> None:
    settings = stage.params
    with shards.processes(stage.compute.workers) as spread:
        encoded, learned = work(settings, stage.checkpoints, spread)
    tokenizer = Tokenizer.from_file(str(learned / "tokenizer.json"))
    epochs = mixing.epochs_of(settings.mix, encoded["train"].count("tokens"))
    metrics: dict[str, Any] = {
        "vocabulary": tokenizer.get_vocab_size(),
        **described(encoded["train"], epochs),
    }
    with whole_directory(TOKENIZER) as place, whole_directory(TOKENS) as tokens:
        shutil.copytree(learned, place, dirs_exist_ok=True)
        laid = corpora.lay_out(encoded, learned, settings.mix, tokens, settings.shard_tokens)
    for split, counts in laid.items():
        metrics |= {f"{name}/{split}": count for name, count in counts.items()}
    held_out = some_texts(shard_files(DOCUMENTS / "validation"), mixing.source_names(settings.mix))
    metrics["held_out"] = {code: measure(tokenizer, texts) for code, texts in held_out.items()}
    say(stage, of_tokens(metrics, sum(encoded["train"].rows)))
    write_metrics(stage, metrics)
    write_card(stage, metrics)


def work(
    settings: params.Tokenize, folder: Path, spread: shards.Spread
) -> tuple[dict[str, packing.Encoded], Path]:
    """All that is done by shards, in `folder`: the encoded documents by split, and the tokenizer."""
    documents = DOCUMENTS.resolve()
    files = {split: shard_files(documents / split) for split in ("train", "validation", "test")}
    with about("tokenize"):
        return corpora.encode(files, settings.tokenizer, settings.mix, folder, spread)


def write_card(stage: Stage, metrics: dict[str, Any]) -> None:
    """The data card, to be read and to be parsed."""
    made = card.card(read_json(DOCUMENTS / FACTS), metrics)
    write_text(DATA_CARD, json.dumps(made, ensure_ascii=False, indent=1) + "\n")
    write_text(DATA_CARD_PAGE, card.text(made))
    stage.run.artifact(DATA_CARD_PAGE)
    stage.run.artifact(DATA_CARD)


def described(encoded: packing.Encoded, epochs: Mapping[str, float]) -> dict[str, Any]:
    """What one pass over each source and language of the training split has, and what the mix makes of it."""
    sizes = encoded.count("tokens")
    whole = sum(epochs[name] * sizes[name] for name in epochs)
    mixed = {name: {"epochs": epochs[name], "share": epochs[name] * sizes[name] / whole} for name in epochs}
    held = encoded.facts["sources"]
    return {
        "sources": {name: {**held[name], **mixed[name]} for name in epochs},
        "languages": encoded.facts["languages"],
        "unused": encoded.facts["unused"],
    }


def some_texts(files: Sequence[Path], names: Sequence[str]) -> dict[str, list[str]]:
    """The first documents of the sources by language, at most MEASURED of each."""
    found: dict[str, list[str]] = defaultdict(list)
    for batch in (batch for file in files for batch in read_batches(file)):
        owned = mixing.owners(batch, names) >= 0
        for text, code, mine in zip(batch["text"], batch["language"], owned, strict=True):
            if mine and len(found[code.as_py()]) < MEASURED:
                found[code.as_py()].append(text.as_py())
    return dict(sorted(found.items()))


if __name__ == "__main__":
    run_stage("tokenize", tokenize)
