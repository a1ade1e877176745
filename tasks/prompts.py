"""Cut and tokenize what the policy is asked, once for all stages that ask it. `python -m tasks.prompts`"""

from __future__ import annotations

from transformers import AutoTokenizer

from jokbo.data import prompts as prompts_
from jokbo.data.selection import texts_from
from jokbo.data.tables import open_splits
from jokbo.runtime.files import whole_directory
from tasks.frame.paths import DOCUMENTS, PROMPTS, TOKENIZER
from tasks.frame.records import note, write_metrics
from tasks.frame.stage import Stage, run_stage

SPLITS = ("train", "validation", "prompts", "test")


def prompts(stage: Stage) -> None:
    params = stage.params
    documents, tokenizer = open_splits(DOCUMENTS), AutoTokenizer.from_pretrained(TOKENIZER)
    metrics = {}
    with whole_directory(PROMPTS) as folder:
        for split in SPLITS:
            found = prompts_.cut(tokenizer, texts_from(documents[split], params.sources), params)
            prompts_.save(found, folder / split)
            without = found.without(params.prompts_per_text)
            what = f"texts of {split} give no prompt: no sentence drawn of theirs is long enough and ends within reach"
            note(stage, f"without_prompt/{split}", without, found.texts, what)
            metrics[split] = {"texts": found.texts, "without": without, "prompts": len(found.rows)}
        prompts_.save_shape(params, tokenizer.pad_token_id, folder)
    write_metrics(stage, metrics)


if __name__ == "__main__":
    run_stage("prompts", prompts)
