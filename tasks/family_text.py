"""Make what the systems read: corpora, translations, a lexicon and downstream tasks. `python -m tasks.family_text`"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jokbo.comparison import downstream
from jokbo.comparison.corpora import encoded_texts, lay_out
from jokbo.comparison.lexicon import valences
from jokbo.comparison.texts import COUNTS, LEXICON, TASKS, TRANSLATIONS
from jokbo.comparison.translations import english_korean
from jokbo.data import shards
from jokbo.data.tables import open_splits, shard_files
from jokbo.runtime.errors import about
from jokbo.runtime.files import atomic_write_folder
from tasks.frame.paths import FAMILY_DATA, FAMILY_DOCUMENTS
from tasks.frame.records import write_metrics
from tasks.frame.stage import Stage, run_stage, state


def family_text(stage: Stage) -> None:
    settings, downloads = stage.params, state() / "downloads"
    tasks = downstream.tasks_of(open_splits(FAMILY_DOCUMENTS), settings)
    with about("family_text.translations"):
        pairs = english_korean(settings.translations.requirement, settings.translations.sha256, downloads)
    with about("family_text.lexicon"):
        words = valences(settings.lexicon.requirement, settings.lexicon.sha256, downloads)
    files = {split: shard_files(FAMILY_DOCUMENTS.resolve() / split) for split in ("train", "validation")}
    with shards.processes(stage.compute.workers) as parallel_map:
        texts = encoded_texts(settings, files, pairs, stage.checkpoints, parallel_map)
    with atomic_write_folder(FAMILY_DATA) as folder:
        counts: dict[str, Any] = {"translations": len(pairs), "lexicon": len(words)}
        counts["texts"] = {name: lay_out(text, settings, folder / name) for name, text in texts.items()}
        counts["tasks"] = {
            name: downstream.save(splits, folder / TASKS / name) for name, splits in tasks.items()
        }
        translated = Path(settings.translations.text, TRANSLATIONS)
        for name, found in ((translated, pairs), (LEXICON, words), (COUNTS, counts)):
            (folder / name).write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n")
    write_metrics(stage, counts)


if __name__ == "__main__":
    run_stage("family_text", family_text)
