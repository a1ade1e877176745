"""Learn a tokenizer from the training texts and pack the corpus. `python -m tasks.tokenize`"""

from __future__ import annotations

from datasets import load_from_disk

from jokbo.data.outputs import whole_directory
from jokbo.data.packing import pack
from jokbo.data.selection import texts_from
from jokbo.data.tokenizer import END_OF_TEXT, save_tokenizer, train_tokenizer
from tasks.paths import DOCUMENTS, TOKENIZER, TOKENS
from tasks.records import write_metrics
from tasks.stage import Stage, run_stage


def tokenize(stage: Stage) -> None:
    documents = load_from_disk(DOCUMENTS)
    texts = {
        split: texts_from(documents[split], stage.params.sources) for split in ("train", "validation", "test")
    }
    tokenizer = train_tokenizer(texts["train"], stage.params.vocabulary)
    metrics = {"vocabulary": tokenizer.get_vocab_size()}
    with whole_directory(TOKENIZER) as files, whole_directory(TOKENS) as tokens:
        save_tokenizer(tokenizer, files)
        for split in texts:
            end = tokenizer.token_to_id(END_OF_TEXT)
            counts = pack(texts[split], tokenizer, end, tokens / split, stage.params.shard_tokens)
            counts["bytes_per_token"] = counts["bytes"] / counts["tokens"]
            metrics |= {f"{name}/{split}": count for name, count in counts.items()}
    write_metrics(stage, metrics)


if __name__ == "__main__":
    run_stage("tokenize", tokenize)
