"""Comparisons to learn from: simulated raters over the policy's samples, and people over rated snippets.

`python -m tasks.preferences`
"""

from __future__ import annotations

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from jokbo.data.prompts import Prompts
from jokbo.data.tables import open_splits
from jokbo.evaluation.intervals import by_unit
from jokbo.models.sampling import sample
from jokbo.preferences import raters as raters_
from jokbo.preferences.comparisons import (
    human_comparisons,
    rated_snippets,
    save_comparisons,
    simulated_comparisons,
)
from jokbo.runtime.files import whole_directory
from tasks.frame.paths import DOCUMENTS, POLICY, PREFERENCES, PROMPTS
from tasks.frame.records import note, note_few, say, write_metrics
from tasks.frame.stage import Stage, run_stage


def preferences(stage: Stage) -> None:
    params = stage.params
    documents = open_splits(DOCUMENTS)
    tokenizer = AutoTokenizer.from_pretrained(POLICY)
    policy = AutoModelForCausalLM.from_pretrained(POLICY, dtype=torch.float32)

    snippets = {
        split: {source: rated_snippets(documents[split], source) for source in params.human_sources}
        for split in ("train", "test")
    }
    texts = [text for source_texts, _ in snippets["train"].values() for text in source_texts]
    ratings = [row for _, source_ratings in snippets["train"].values() for row in source_ratings]
    raters = raters_.fit(texts, ratings, seed=params.seed)

    asked = Prompts.open(PROMPTS / "prompts", limit=params.prompts)
    note_few(stage, "prompts", params.prompts, len(asked))
    say(
        stage, [f"the policy gives {params.responses_per_prompt} responses to each of {len(asked):,} prompts"]
    )
    rollout = sample(
        policy,
        asked.prompts_NP.repeat_interleave(params.responses_per_prompt, dim=0),
        response_tokens=asked.response_tokens,
        temperature=params.temperature,
        seed=params.seed,
    )
    answers, each = rollout.texts(tokenizer), params.responses_per_prompt
    simulated = simulated_comparisons(
        rollout.prompts(tokenizer)[::each],
        [answers[i : i + each] for i in range(0, len(answers), each)],
        raters,
        seed=params.seed,
    )
    pairs = len(asked) * each * (each - 1) // 2
    note(
        stage,
        "alike",
        pairs - len(simulated),
        pairs,
        "pairs of answers are alike or have an empty one: not compared",
    )

    def human(split: str, pairs: int, minimum_agreement: float) -> list:
        return [
            row
            for source, (source_texts, source_ratings) in snippets[split].items()
            for row in human_comparisons(
                source_texts,
                source_ratings,
                pairs=pairs // len(params.human_sources),
                seed=params.seed,
                minimum_agreement=minimum_agreement,
                source=source,
            )
        ]

    table = {
        "train": [*simulated, *human("train", params.human_pairs, 0.5)],
        "test": human("test", params.test_pairs, params.minimum_agreement),
    }
    with whole_directory(PREFERENCES) as folder:
        save_comparisons(table, folder)
    test_texts, test_ratings = snippets["test"][params.human_sources[0]]
    half = len(test_texts) // 2
    pairs = (test_texts[:half], test_texts[half : 2 * half])
    votes = raters.compare(*pairs, seed=params.seed, raters=2)
    differ = {
        "human": raters_.disagreements(test_ratings[:half], test_ratings[half : 2 * half]),
        "simulated": votes[:, 0] != votes[:, 1],
    }
    write_metrics(
        stage,
        {
            "simulated": len(simulated),
            "human": len(table["train"]) - len(simulated),
            "test": len(table["test"]),
            # two raters of the same held-out pair choose differently: people, and those that stand in for them. No
            # text is of two pairs
            "disagreement": {
                name: by_unit(values, list(zip(*pairs, strict=True)))._asdict()
                for name, values in differ.items()
            },
        },
    )


if __name__ == "__main__":
    run_stage("preferences", preferences)
