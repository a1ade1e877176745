"""Preference pairs to learn from: of simulated raters over the policy's samples, and of people over rated texts.

`python -m tasks.preferences`
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from jokbo.data.prompts import Prompts
from jokbo.data.tables import open_splits
from jokbo.evaluation.results import PreferenceCounts
from jokbo.models import access
from jokbo.preferences import pairs, people, raters, simulated
from jokbo.runtime.files import atomic_write_folder
from tasks.frame.paths import DOCUMENTS, POLICY, PREFERENCES, PROMPTS
from tasks.frame.records import note, note_few, say, write_metrics
from tasks.frame.stage import Stage, run_stage

if TYPE_CHECKING:
    from jokbo.params import Preferences


def preferences(stage: Stage[Preferences]) -> None:
    params = stage.params
    documents = open_splits(DOCUMENTS)
    train, test = (
        [people.rated(documents[split], source) for source in params.human_sources]
        for split in ("train", "test")
    )
    texts = [text for source in train for text in source.texts]
    population = raters.fit(texts, [row for source in train for row in source.ratings], seed=params.seed)

    tokenizer = AutoTokenizer.from_pretrained(POLICY)
    policy = access.accelerated(AutoModelForCausalLM.from_pretrained(POLICY, dtype=torch.float32))
    asked = Prompts.open(PROMPTS / "prompts", limit=params.prompts)
    note_few(stage, "prompts", params.prompts, len(asked))
    say(
        stage, [f"the policy gives {params.responses_per_prompt} responses to each of {len(asked):,} prompts"]
    )
    answered = simulated.pairs(policy, tokenizer, asked, population, params)
    all_pairs = len(asked) * params.responses_per_prompt * (params.responses_per_prompt - 1) // 2
    why = "pairs of responses are alike or have an empty one: not compared"
    note(stage, "alike", all_pairs - len(answered), all_pairs, why)

    chosen = people.pairs_over(train, pairs=params.human_pairs, seed=params.seed, minimum_agreement=0.5)
    unseen = people.pairs_over(
        test, pairs=params.test_pairs, seed=params.seed, minimum_agreement=params.minimum_agreement
    )
    with atomic_write_folder(PREFERENCES) as folder:
        pairs.save({"train": [*answered, *chosen], "test": unseen}, folder)
    disagreement = raters.disagreement(population, test[0], seed=params.seed)
    write_metrics(stage, PreferenceCounts(len(answered), len(chosen), len(unseen), disagreement))


if __name__ == "__main__":
    run_stage("preferences", preferences)
