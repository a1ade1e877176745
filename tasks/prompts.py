"""Make the prompts of the documents, or of a file of own ones, once for all stages. `python -m tasks.prompts`"""

from __future__ import annotations

from transformers import AutoTokenizer

from jokbo.data.continuations import Continuations
from jokbo.data.conversations.prompting import Conversations
from jokbo.data.counts import PromptCounts, SplitPrompts
from jokbo.data.exclusions import reasons
from jokbo.data.prompts import SHAPE, TEMPLATE, Kind, Shape, save
from jokbo.data.tables import open_splits
from jokbo.params import load
from jokbo.runtime.files import atomic_write_folder, write_text
from tasks.frame.paths import DOCUMENTS, PROMPTS, TOKENIZER
from tasks.frame.records import note, write_metrics
from tasks.frame.stage import Stage, run_stage

SPLITS = ("train", "validation", "prompts", "test")


def prompts(stage: Stage) -> None:
    params = stage.params
    documents, tokenizer = open_splits(DOCUMENTS), AutoTokenizer.from_pretrained(TOKENIZER)
    kind: Kind = (
        Continuations(tokenizer, documents, params)
        if params.kind == "continuation"
        else Conversations(tokenizer, documents, params, load().prepare)
    )
    counts: dict[str, SplitPrompts] = {}
    with atomic_write_folder(PROMPTS) as folder:
        for split in SPLITS:
            selection = kind.selected(split)
            save(selection, folder / split)
            without = selection.without(params.prompts_per_text)
            what = f"texts of {split} give no prompt: {reasons(selection.left_out) or kind.why_none}"
            note(stage, f"without_prompt/{split}", without, selection.texts, what)
            counts[split] = SplitPrompts(
                selection.texts, without, len(selection.rows), dict(selection.left_out), selection.shortened
            )
        Shape(params.prompt_tokens, params.response_tokens, tokenizer.pad_token_id).save(folder / SHAPE)
        if kind.template is not None:
            write_text(folder / TEMPLATE, kind.template)
    write_metrics(stage, PromptCounts(**counts))


if __name__ == "__main__":
    run_stage("prompts", prompts)
