"""`python -m tests.support.trainings FOLDER` says what every training of the comparison comes to, in minutes.

Each system of family/params.yaml, at its size there, is pretrained and fine-tuned for a few steps on made-up text, and
so are the baselines. FOLDER/trainings.txt then has the sha256 of the weights that each training left, and of the
metrics of each stage. Two commits that train alike, on one machine, write the same file: compare them with `diff`.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict
from torch import nn

from jokbo import params
from jokbo.comparison.texts import COUNTS, LEXICON, TASKS, TRANSLATIONS
from jokbo.data.corpus import packing
from jokbo.data.corpus.tokenizer import END_OF_TEXT, save_tokenizer
from jokbo.params import FamilyParams
from jokbo.runtime.tracking import Run
from jokbo.training import engine
from tasks.family import family
from tasks.family_baselines import family_baselines
from tasks.frame.paths import FAMILY, FAMILY_DATA, METRICS
from tasks.frame.stage import Stage
from tests.support import corpora, miniature

TOKENS = 16_384  # of a pretraining
VOCABULARY = {"wordpiece": 220, "byte_bpe": 258}


def made_up(settings: FamilyParams, data: Path) -> None:
    """Write what the stage family_text leaves: the corpora of all texts, translations, a lexicon, one task."""
    rng, rows = random.Random(1), miniature.rows(random.Random(7))
    rng.shuffle(rows)
    reviews = [row["text"] for row in rows if row["source"] == "imdb"]
    for name, text in settings.family_text.texts.items():
        changes = {"normalisation": text.normalisation, "lowercase": text.lowercase}
        tokenizer = corpora.trained(reviews, VOCABULARY[text.kind], text.kind, **changes)
        save_tokenizer(tokenizer, data / name / "tokenizer")
        for split, some in (("train", reviews[:160]), ("validation", reviews[160:])):
            encoded = corpora.encoded(data / "made" / name / split, [*map(corpora.document, some)], tokenizer)
            end_of_text = tokenizer.token_to_id(END_OF_TEXT)
            packing.lay_out(encoded, {"a": 1.0}, end_of_text, data / name / split, 100_000)
    sentences = [(row["text"], row["label"]) for row in rows if row["source"] == "rotten_tomatoes"]
    parts = {"train": sentences[:80], "validation": sentences[80:120], "test": sentences[120:]}
    splits = {
        split: Dataset.from_dict({"text": [text for text, _ in some], "label": [label for _, label in some]})
        for split, some in parts.items()
    }
    DatasetDict(splits).save_to_disk(str(data / TASKS / "reviews"))
    words = dict.fromkeys(miniature.GOOD, 1.0) | dict.fromkeys(miniature.BAD, -1.0)
    pairs = [(text, text[::-1]) for text, _ in sentences]
    entropies = {"texts": {name: {"unigram_entropy": 3.5} for name in settings.family_text.texts}}
    translated = Path(settings.family_text.translations.text, TRANSLATIONS)
    for path, found in ((Path(LEXICON), words), (translated, pairs), (Path(COUNTS), entropies)):
        (data / path).write_text(json.dumps(found))


def small(settings: FamilyParams) -> FamilyParams:
    """Return the settings with short trainings."""
    search = settings.family.finetune
    finetune = search.model_copy(
        update={
            "seeds": search.seeds[:2],
            "learning_rates": search.learning_rates[:1],
            "labels": [search.labels[0].model_copy(update={"count": "all", "steps": 4})],
            "batch_size": 8,
        }
    )
    budget = settings.family.budget.model_copy(update={"by": "tokens", "amount": TOKENS})
    changes = {"budget": budget, "finetune": finetune, "held_out_batches": 2}
    return settings.model_copy(
        update={
            "compute": settings.compute.model_copy(update={"compile": False}),
            "family": settings.family.model_copy(update=changes),
            "family_baselines": settings.family_baselines.model_copy(update={"finetune": finetune}),
        }
    )


def recorded(lines: list[str], name: str) -> Callable[..., Any]:
    """Return `engine.train` that adds to the lines what each training leaves, after the name of its stage."""
    train, count = engine.train, 0

    def recording(objective: nn.Module, *arguments: Any, **more: Any) -> Any:
        nonlocal count
        count += 1
        history = train(objective, *arguments, **more)
        weights = hashlib.sha256()
        for key, value in sorted(objective.state_dict().items()):
            weights.update(key.encode() + value.detach().contiguous().numpy().tobytes())
        lines.append(f"{weights.hexdigest()} {name} training {count}")
        return history

    return recording


def run(name: str, section: Any, body: Callable[[Stage], None], settings: FamilyParams) -> list[str]:
    """Run a stage; return a line for each of its trainings and one for its metrics."""
    lines: list[str] = []
    train, engine.train = engine.train, recorded(lines, name)
    try:
        body(Stage(name, section, settings.compute, "key", Run(), Path("checkpoints") / name))
    finally:
        engine.train = train
    metrics = json.loads((METRICS / f"{name.replace('@', '/')}.json").read_text())
    shown = json.dumps(without_seconds(metrics), sort_keys=True)
    return [*lines, f"{hashlib.sha256(shown.encode()).hexdigest()} {name} metrics"]


def without_seconds(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    return {key: without_seconds(value) for key, value in node.items() if key != "seconds"}


def main() -> None:
    folder = Path(sys.argv[1]).absolute()
    os.chdir(FAMILY)
    settings = params.load_family()
    folder.mkdir(parents=True)
    os.chdir(folder)
    made_up(settings, FAMILY_DATA)
    settings = small(settings)
    stages = {
        f"family@{name}": partial(run, section=settings.family, body=family)
        for name in settings.family.systems
    }
    stages["family_baselines"] = partial(run, section=settings.family_baselines, body=family_baselines)
    with open("trainings.txt", "w") as file:
        for name, ran in stages.items():
            for line in ran(name, settings=settings):
                print(line, file=file, flush=True)


if __name__ == "__main__":
    main()
