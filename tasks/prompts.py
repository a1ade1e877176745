"""Take prompts from the documents and tokenize them, once for all stages that read them. `python -m tasks.prompts`"""

from __future__ import annotations

from transformers import AutoTokenizer

from jokbo.data.counts import PromptCounts, SplitPrompts
from jokbo.data.prompts import SHAPE, Shape, save, selected
from jokbo.data.selection import texts_from
from jokbo.data.tables import open_splits
from jokbo.runtime.files import atomic_write_folder
from tasks.frame.paths import DOCUMENTS, PROMPTS, TOKENIZER
from tasks.frame.records import note, write_metrics
from tasks.frame.stage import Stage, run_stage

SPLITS = ("train", "validation", "prompts", "test")


def prompts(stage: Stage) -> None:
    params = stage.params
    documents, tokenizer = open_splits(DOCUMENTS), AutoTokenizer.from_pretrained(TOKENIZER)
    counts: dict[str, SplitPrompts] = {}
    with atomic_write_folder(PROMPTS) as folder:
        for split in SPLITS:
            selection = selected(tokenizer, texts_from(documents[split], params.sources), params)
            save(selection, folder / split)
            without = selection.without(params.prompts_per_text)
            why = "no sentence that was tried is long enough and ends within reach"
            what = f"texts of {split} give no prompt: {why}"
            note(stage, f"without_prompt/{split}", without, selection.texts, what)
            counts[split] = SplitPrompts(selection.texts, without, len(selection.rows))
        Shape(params.prompt_tokens, params.response_tokens, tokenizer.pad_token_id).save(folder / SHAPE)
    write_metrics(stage, PromptCounts(**counts))


if __name__ == "__main__":
    run_stage("prompts", prompts)
